//! Which hardware has the key that a certificate is to be issued for, where the tenant's policy wants to know before it is.
//!
//! Whoever needs it shows its TPM first (`attestation::introduction`, or an activation with a certified key). What is
//! decided is in `core::attestation::issuance`; here it is looked up, before the certificate is signed and again in the
//! transaction that keeps it.

use fleetward_base::{DeviceId, Timestamp};
use fleetward_core::attestation::issuance::{Shown, may_issue};
use fleetward_core::identity_policy::AttestationPolicy;
use fleetward_core::registry::Class;
use fleetward_store::TenantTx;

use super::refusal::{Fault, Refusal};
use super::usable;
use crate::deny_list::key_hash;
use crate::error::Error;

/// Whose key is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whoever comes anew may have got another board since.
    Newcomer,
    /// A device that goes on is the hardware that it was.
    Device,
}

/// Looks before a certificate is signed. The same request that got one before gets it again, however long ago its key was
/// vouched for.
pub(super) async fn check_first(
    tx: &mut TenantTx,
    policy: &AttestationPolicy,
    class: Class,
    device: &DeviceId,
    (request, spki): (&[u8], &[u8]),
    asker: Asker,
    now: Timestamp,
) -> Result<(), Fault> {
    if !policy.rule(class).certifies_first() {
        return Ok(());
    }
    let before = tx.certificate_by_request(device, request).await?;
    if before.is_some_and(|row| usable(&row, now)) {
        return Ok(());
    }
    check(tx, policy, class, device, spki, asker, now).await
}

/// Refuses a certificate for a key that no TPM vouched for, where a device of the class needs that.
pub(super) async fn check(
    tx: &mut TenantTx,
    policy: &AttestationPolicy,
    class: Class,
    device: &DeviceId,
    spki: &[u8],
    asker: Asker,
    now: Timestamp,
) -> Result<(), Fault> {
    let rule = policy.rule(class);
    // Most classes need nothing: no statement for them.
    if !rule.certifies_first() {
        return Ok(());
    }
    let row = tx.vouched_key(device).await?.filter(|row| row.until.is_some_and(|until| now <= until));
    let identity = row.as_ref().and_then(|row| row.identity.clone());
    let (elsewhere, other_hardware) = match &identity {
        None => (false, false),
        Some(identity) => {
            let proven = tx.attestation(device).await?.and_then(|row| row.identity);
            let elsewhere = !tx.devices_with_hardware(identity, device, 1).await?.is_empty();
            (elsewhere, asker == Asker::Device && proven.is_some_and(|proven| proven != *identity))
        }
    };
    let same_key = row.as_ref().is_some_and(|row| row.key.as_deref() == Some(key_hash(spki).as_str()));
    let shown = Shown { certified: identity.is_some(), same_key, elsewhere, other_hardware };
    may_issue(&rule, shown).map_err(|no| {
        let error = Error::conflict(no.code(), no.to_string());
        Fault::Refused(Refusal { cause: no.code(), error })
    })
}
