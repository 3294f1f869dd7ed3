//! A newcomer shows its TPM before it has a certificate: the credential that it will enrol with says who it is, its TPM opens
//! a secret, and vouches for the key that the certificate is to be about.
//!
//! Nothing is used up by it, and nothing that the device of that name has proven so far is touched: what is kept is one row
//! that says for which key a certificate may be issued, and for how long. Whether a certificate needs that is asked when one
//! is issued (`enroll::hardware`).

use fleetward_attest::evidence::CertifiedKey;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_store::{TenantTx, VouchedKeyRow};
use serde_json::json;

use super::activate::{self, Activation, Endorsement, Pending};
use crate::App;
use crate::enroll::{Attempt, Credentials, Fault, Refusal, Whose, holder, settle};
use crate::error::{Error, Result};
use crate::journal::record;

/// Wraps a secret for the TPM of whoever shows the credential of a device.
///
/// # Errors
/// `Unauthenticated` for a credential that does not count; what [`super::begin_activation`] refuses.
pub async fn begin_introduction(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    shown: Endorsement,
) -> Result<Activation> {
    let (tenant, device) = holder(app, attempt, label, credentials).await?;
    let (made, pending) = match activate::wrap(app, &tenant, &device, shown).await {
        Ok(wrapped) => wrapped,
        Err(error) => return Err(refused(app, attempt, &tenant, &device, error).await),
    };
    let pending = serde_json::to_string(&pending).map_err(Error::internal)?;
    let now = app.now();
    app.write(&tenant, "begin introduction", move |tx| {
        Box::pin(async move {
            let mut row = row_for_update(tx, &device, now).await?;
            row.pending = Some(pending);
            row.updated_at = now;
            Ok(tx.put_vouched_key(&row).await?)
        })
    })
    .await?;
    Ok(made)
}

/// Takes the secret back, and remembers the key that the TPM vouches for; until when a certificate is issued for it. A wrong
/// secret uses the introduction up.
///
/// # Errors
/// `Conflict` (`no-activation`) where none waits; `Untrusted` for a wrong secret, or a statement that proves nothing.
pub async fn prove_introduction(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    secret: Secret<Vec<u8>>,
    certified: &CertifiedKey,
) -> Result<Timestamp> {
    let (tenant, device) = holder(app, attempt, label, credentials).await?;
    let (now, id) = (app.now(), device.clone());
    let pending = app
        .write(&tenant, "take introduction", move |tx| {
            Box::pin(async move {
                let mut row = row_for_update(tx, &id, now).await?;
                let pending = row.pending.take();
                row.updated_at = now;
                tx.put_vouched_key(&row).await?;
                Ok(pending)
            })
        })
        .await?;
    let proven = Pending::open(pending, &secret, now)
        .and_then(|pending| pending.vouches_for(&secret, certified).map(|key| (pending, key)));
    let (pending, key) = match proven {
        Ok(proven) => proven,
        Err(error) => return Err(refused(app, attempt, &tenant, &device, error).await),
    };
    let actor = Actor::anonymous(attempt.address.to_string());
    let entry = Entry::done(now, actor, Action::KeyCertified).device(&device).request(Some(attempt.request_id));
    app.write(&tenant, "prove introduction", move |tx| {
        Box::pin(async move { keep(tx, &device, pending.identity, key, entry, now).await })
    })
    .await
}

/// Remembers that the TPM with this `identity` vouches for a key of the device; until when.
pub(super) async fn keep(
    tx: &mut TenantTx,
    device: &DeviceId,
    identity: String,
    key: String,
    entry: Entry,
    now: Timestamp,
) -> Result<Timestamp> {
    let mut row = row_for_update(tx, device, now).await?;
    let until = now.plus(limits::CERTIFIED_KEY_TTL);
    let detail = json!({ "hardware": identity, "key": key });
    (row.key, row.identity, row.until, row.updated_at) = (Some(key), Some(identity), Some(until), now);
    tx.put_vouched_key(&row).await?;
    record(tx, &entry.detail(detail)).await?;
    Ok(until)
}

async fn row_for_update(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<VouchedKeyRow> {
    let row = tx.vouched_key_for_update(device).await?;
    Ok(row.unwrap_or_else(|| VouchedKeyRow::new(device.clone(), now)))
}

/// What is not believed is a refused enrolment, and costs the address a part of its allowance.
async fn refused(app: &App, attempt: &Attempt, tenant: &TenantId, device: &DeviceId, error: Error) -> Error {
    let code = match &error {
        Error::Untrusted { code, .. } => *code,
        _ => return error,
    };
    let whose = Whose { tenant: Some(tenant.clone()), device: Some(device.clone()), ..Whose::default() };
    let fault = Fault::Refused(Refusal { cause: code, error });
    settle(app, attempt, Action::EnrollmentRefused, whose, fault).await
}
