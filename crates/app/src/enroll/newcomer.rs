//! The one path on which a device that has no certificate gets its first.
//!
//! A way in (a token, a factory's certificate, a claim ...) finds out who asks and what vouches for it, and comes here with a
//! [`Newcomer`]. What is decided here is the same for all ways: the request must name the device and nobody else, the
//! manufacturing database ([`provenance`]) and a person ([`approval`]) must let it in where policy asks for that, the
//! device must be where it may enrol, and certificate, device, journal and whatever the credential has to remember
//! ([`Consume`]) are one transaction. The same request again gets the same certificate.

use std::sync::Arc;

use async_trait::async_trait;
use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::lifecycle;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::Csr;
use fleetward_store::{CertificateRow, StoreError, TenantTx};
use serde_json::{Value, json};

use super::approval::Leave;
use super::hardware::Asker;
use super::intake::{Intake, take_in};
use super::issue::{self, Origin};
use super::refusal::{Fault, Refusal};
use super::{Attempt, approval, hardware, provenance, usable};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::{App, deny_list, detection};

/// Somebody who is to get its first certificate, known by what it showed.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
    pub(crate) way: Way,
    /// What was shown: the id of a token, of a claim, of a factory's authority. Kept with the certificate.
    pub(crate) source: Option<String>,
    /// What is known of the device from elsewhere and goes into its record.
    pub(crate) facts: DeviceFields,
    pub(crate) csr: Csr,
}

/// What a credential says when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It counts, and was used up for this request.
    First,
    /// It was used up before, for the same request: the answer was lost, and is given again.
    Again,
}

/// What is remembered of a credential in the transaction that keeps the certificate.
#[async_trait]
pub(crate) trait Consume: Send + 'static {
    /// Looks once more whether the credential counts, under the lock of its row, and uses it up for `request`.
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault>;
}

/// Gives the newcomer its certificate.
///
/// # Errors
/// `Pending` while a person is to look at it; a refusal where a rule says no: the request names another, the device may not enrol, the credential does not count.
pub(crate) async fn enter(
    app: &App,
    attempt: &Attempt,
    newcomer: Newcomer,
    credential: impl Consume,
) -> Result<CertificateRow, Fault> {
    newcomer.csr.check_identity(&newcomer.tenant, &newcomer.device)?;
    // Asked before anything is signed and anybody looks at it.
    if deny_list::is_denied_key(app, &newcomer.tenant, newcomer.csr.spki()) {
        return Err(Refusal::credential("denied", "the key is on the deny list"));
    }
    let policy = identity_policy(app, &newcomer.tenant).await?;
    // Nobody is asked about a device that is not let in anyway.
    if policy.enrolment.asks_inventory() || policy.attestation.certifies_first() {
        check_first(app, &newcomer, &policy).await?;
    }
    let leave = approval::leave(app, attempt, &newcomer, &policy.enrolment).await?;
    let Newcomer { tenant, device, way, source, facts, csr } = newcomer;
    // Signed before the transaction; one that the transaction then does not keep was never seen by anybody.
    let signed = issue::sign(app, &tenant, &device, &csr, Origin { way, source: source.clone() }).await?;
    let (app_in, request_id) = (app.clone(), attempt.request_id);
    let (leave_in, policy_in) = (leave.clone(), Arc::clone(&policy));
    let kept = app
        .store()
        .write(&tenant, "enrol newcomer", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let now = signed.issued_at;
                if credential.consume(tx, &signed.request, now).await? == Use::Again {
                    return Ok((issued_before(tx, &device, &signed.request, now).await?, false));
                }
                if !approval::take(tx, &leave_in, now).await? {
                    return Err(Stop::Ask);
                }
                let intake = Intake {
                    certificate: &signed,
                    way,
                    signed_here: true,
                    fields: facts,
                    hardware: &[],
                    policy: &policy_in,
                    detail: origin_of(&signed),
                    request_id,
                };
                let returning = take_in(&app_in, tx, intake, now).await?;
                Ok((signed, returning))
            })
        })
        .await;
    let (row, returning) = match (kept, leave) {
        (Ok(kept), _) => kept,
        (Err(Stop::Fault(fault)), _) => return Err(fault),
        (Err(Stop::Ask), Leave::Given(asking)) => {
            return Err(approval::ask_for(app, attempt, &tenant, &policy.enrolment, *asking).await);
        }
        (Err(Stop::Ask), Leave::Free) => return Err(Error::internal("nobody is to be asked").into()),
    };
    detection::enrolled(app, &tenant, way, source.as_deref(), returning).await;
    Ok(row)
}

/// Why nothing was kept.
enum Stop {
    Fault(Fault),
    /// The leave that was given is used up: a person is asked once more.
    Ask,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Fault(error.into())
    }
}

/// What the manufacturing database says of it, and which hardware has its key.
async fn check_first(app: &App, newcomer: &Newcomer, policy: &Arc<IdentityPolicy>) -> Result<(), Fault> {
    let (policy, newcomer, app_in) = (Arc::clone(policy), newcomer.clone(), app.clone());
    let (tenant, now) = (newcomer.tenant.clone(), app.now());
    app.store()
        .read(&tenant, "provenance", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let Newcomer { tenant, device, facts, csr, .. } = &newcomer;
                let made = provenance::admit(tx, &policy.enrolment, device, facts).await?;
                provenance::check_hardware(&app_in, tenant, tx, device, facts, &[]).await?;
                let class = provenance::class_for(tx, made.as_ref(), device, facts).await?;
                let request = csr.request_hash(tenant);
                let asked = (&request[..], csr.spki());
                hardware::check_first(tx, &policy.attestation, class, device, asked, Asker::Newcomer, now).await
            })
        })
        .await
}

fn origin_of(row: &CertificateRow) -> Value {
    json!({ "way": row.way, "source": row.source })
}

/// What the same request got before.
async fn issued_before(
    tx: &mut TenantTx,
    device: &DeviceId,
    request: &[u8],
    now: Timestamp,
) -> Result<CertificateRow, Fault> {
    let known = tx.device(device).await?;
    let status = known.as_ref().and_then(|device| device.status.parse().ok());
    let row = tx.certificate_by_request(device, request).await?;
    row.filter(|row| usable(row, now) && status.is_some_and(lifecycle::may_connect))
        .ok_or_else(|| Refusal::credential("used-credential", "the credential was used before"))
}
