//! Enrolment with a symmetric key: a device shows the key itself (HTTP Basic, at EST) or a signature made with it (a shared
//! access signature, at Azure's provisioning messages).
//!
//! The key is looked for among the enrolments of single devices and then of the groups, all of which are bounded. It is a
//! standing credential: a device may come again with another request, but not in a circle, and not after somebody has
//! suspended it. Comparisons take the same time wherever the difference is.

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_core::enrolment::Way;
use fleetward_core::registry::{Class, DeviceFields};
use fleetward_pki::Csr;
use fleetward_store::{CertificateRow, EnrollmentRow, TenantTx};
use fleetward_wire::azure::SasToken;

use super::channel::Request;
use super::newcomer::{self, Consume, Newcomer, Use};
use super::refusal::{Fault, Refusal};
use super::{Attempt, Credentials, Enrolled, renewal, usable};
use crate::App;
use crate::enrollment_keys::{Kind, keys_for};
use crate::error::Error;
use crate::identity_policy::identity_policy;

/// What a device shows of its key.
pub(crate) enum Shown<'a> {
    Key(&'a [u8]),
    Signature(&'a SasToken),
}

/// The enrolment that vouches for a device.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) facts: DeviceFields,
    pub(crate) payload: Option<String>,
}

impl Vouched {
    /// How certificates and journals name it.
    pub(crate) fn source(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.name)
    }
}

/// The bytes of a password that may be such a key.
pub(super) fn key_of(credentials: &Credentials) -> Option<Secret<Vec<u8>>> {
    let key = Secret::new(STANDARD.decode(credentials.token.expose()).ok()?);
    (16..=64).contains(&key.expose().len()).then_some(key)
}

/// Issues a certificate to the device that showed its key.
pub(super) async fn enroll(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    device: DeviceId,
    key: &Secret<Vec<u8>>,
    request: Request<'_>,
) -> Result<Enrolled, Fault> {
    let vouched = find(app, tenant, &device, &Shown::Key(key.expose())).await?;
    let policy = identity_policy(app, tenant).await?;
    let csr = request.read(&policy.est)?;
    let row = enter(app, attempt, tenant, device, vouched, csr).await?;
    Ok(Enrolled::of(tenant, row))
}

/// As [`enroll`], for a device that was vouched for before.
pub(crate) async fn enter(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    device: DeviceId,
    vouched: Vouched,
    csr: Csr,
) -> Result<CertificateRow, Fault> {
    let newcomer = Newcomer {
        tenant: tenant.clone(),
        device: device.clone(),
        way: Way::SymmetricKey,
        source: Some(vouched.source()),
        facts: vouched.facts,
        csr,
    };
    newcomer::enter(app, attempt, newcomer, StandingKey { device, kind: vouched.kind, name: vouched.name }).await
}

/// The enrolment whose key the device showed.
pub(crate) async fn find(app: &App, tenant: &TenantId, device: &DeviceId, shown: &Shown<'_>) -> Result<Vouched, Fault> {
    let id = device.clone();
    let (own, groups) = app
        .store()
        .read(tenant, "enrolment keys", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let own = tx.enrollment(Kind::Individual.as_str(), id.as_str()).await?;
                let groups = match own {
                    // Whoever has an enrolment of its own comes by nothing else.
                    Some(_) => Vec::new(),
                    None => tx.enrollments(Kind::Group.as_str(), None, limits::PAGE_ROWS).await?,
                };
                Ok::<_, Fault>((own, groups))
            })
        })
        .await?;
    let rows =
        own.map(|row| (Kind::Individual, row)).into_iter().chain(groups.into_iter().map(|row| (Kind::Group, row)));
    let mut revoked = false;
    let mut found = None;
    for (kind, row) in rows {
        let counts = keys_for(app, tenant, kind, &row, device)?.iter().any(|key| fits(key.expose(), shown));
        match (counts, row.revoked_at) {
            (false, _) => {}
            (true, Some(_)) => revoked = true,
            (true, None) => found = found.or(Some(vouched(kind, row)?)),
        }
    }
    found.ok_or_else(|| {
        let cause = if revoked { "revoked-enrollment" } else { "wrong-key" };
        Refusal::credential(cause, "the key is not that of an enrolment for this device")
    })
}

fn fits(key: &[u8], shown: &Shown<'_>) -> bool {
    match shown {
        Shown::Key(theirs) => verify_slices_are_equal(key, theirs).is_ok(),
        Shown::Signature(token) => {
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), token.signed(), &token.signature).is_ok()
        }
    }
}

fn vouched(kind: Kind, row: EnrollmentRow) -> Result<Vouched, Fault> {
    let class: Option<Class> = row.class.map(|class| class.parse()).transpose().map_err(Error::internal)?;
    let facts = DeviceFields { class, hardware: row.hardware, ..DeviceFields::default() };
    Ok(Vouched { kind, name: row.name, facts, payload: row.payload })
}

/// A key is not used up; it must still count when the certificate is kept.
struct StandingKey {
    device: DeviceId,
    kind: Kind,
    name: String,
}

#[async_trait]
impl Consume for StandingKey {
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault> {
        let row = tx.enrollment(self.kind.as_str(), &self.name).await?;
        if row.is_none_or(|row| row.revoked_at.is_some()) {
            return Err(Refusal::credential("revoked-enrollment", "the enrolment was revoked"));
        }
        let before = tx.certificate_by_request(&self.device, request).await?;
        if before.is_some_and(|row| usable(&row, now)) {
            return Ok(Use::Again);
        }
        renewal::check_pace(tx, &self.device, now).await?;
        Ok(Use::First)
    }
}
