//! Attestation: challenges, activation of TPM keys, evidence and its verdict, and what a device may do until then.
//!
//! A device asks for a [`challenge`], answers it with [`submit_evidence`], and gets a verdict. One that has a TPM first shows
//! whose it is and which key it attests with ([`begin_activation`], [`prove_activation`]): the server is the attestation
//! CA. A newcomer shows its TPM the same way before it has a certificate ([`begin_introduction`],
//! [`prove_introduction`]), where policy wants to know which hardware has the key first. What is proven is found out by
//! `fleetward_attest`, what that is worth by `core::attestation`; here it is loaded,
//! kept and acted upon. [`rights_of`] is what admission asks.
//!
//! A challenge is used up by the first answer, whatever that is worth. Evidence that proves nothing changes no verdict.

mod activate;
mod anchors;
mod evidence;
mod introduction;
mod overdue;
mod read;
mod references;
mod tally;
mod vouched;

use std::time::Duration;

use fleetward_attest::Evidence;
use fleetward_attest::tpm::Hash;
use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::DeviceRights;
use fleetward_core::attestation::{Last, Standing, Verdict, standing};
use fleetward_core::identity_policy::AttestationPolicy;
use fleetward_core::registry::Class;
use fleetward_store::{AttestationRow, TenantTx};

use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Ctx};

pub use activate::{Activation, Endorsement, Proved, begin_activation, prove_activation};
pub use anchors::{Anchor, AnchorKind, NewAnchor, add_anchor, anchors, remove_anchor};
pub use evidence::{Outcome, submit_and_tell, submit_evidence};
pub use introduction::{begin_introduction, prove_introduction};
pub use overdue::look_at_overdue;
pub(crate) use read::state_of;
pub use read::{AttestationState, AttestationView, device_attestation};
pub use references::{NewReference, Reference, add_reference, lock_reference, reference, references, remove_reference};
pub use tally::Results;

/// What a device is to include in its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub nonce: Vec<u8>,
    pub ttl: Duration,
    /// The kinds of evidence that are understood.
    pub formats: &'static [&'static str],
    /// The PCRs that a quote is to be about.
    pub pcrs: Vec<u8>,
}

/// A new challenge for the device that asks; the one before it does not count any more.
///
/// # Errors
/// `Unauthenticated` for whoever is no device.
pub async fn challenge(app: &App, ctx: &Ctx) -> Result<Challenge> {
    let (tenant, device) = ctx.device()?;
    let policy = identity_policy(app, tenant).await?;
    let mut nonce = vec![0; 32];
    app.rng().fill(&mut nonce);
    let (now, device, stored) = (app.now(), device.clone(), nonce.clone());
    app.write(tenant, "attestation challenge", move |tx| {
        Box::pin(async move {
            let mut row = row_for_update(tx, &device, now).await?;
            row.challenge = Some(stored);
            row.challenge_until = Some(now.plus(limits::ATTESTATION_CHALLENGE_TTL));
            row.updated_at = now;
            Ok(tx.put_attestation(&row).await?)
        })
    })
    .await?;
    Ok(Challenge {
        nonce,
        ttl: limits::ATTESTATION_CHALLENGE_TTL,
        formats: &Evidence::FORMATS,
        pcrs: policy.attestation.pcrs.iter().copied().collect(),
    })
}

/// What a device may do, where its life cycle would let it do `allowed`.
///
/// # Errors
/// Where the store does not answer.
pub(crate) async fn rights_of(
    tx: &mut TenantTx,
    policy: &AttestationPolicy,
    device: &DeviceId,
    class: &str,
    allowed: DeviceRights,
    now: Timestamp,
) -> Result<DeviceRights> {
    // Most tenants ask for nothing: no statement for them.
    if allowed != DeviceRights::Full || policy.classes.is_empty() {
        return Ok(allowed);
    }
    let class: Class = class.parse().map_err(Error::internal)?;
    if !policy.rule(class).required {
        return Ok(allowed);
    }
    let last = tx.attestation(device).await?.map(|row| last_of(&row)).transpose()?.flatten();
    Ok(match standing(policy, class, last, now) {
        Standing::Full => allowed,
        Standing::Restricted(_) => DeviceRights::Restricted,
    })
}

/// The verdict on the last evidence, where the device's hardware vouched in it for this key (a SubjectPublicKeyInfo).
pub(crate) async fn vouched_for(tx: &mut TenantTx, device: &DeviceId, spki: &[u8]) -> Result<Option<Verdict>> {
    let Some(row) = tx.attestation(device).await? else { return Ok(None) };
    if row.certified_key.as_deref() != Some(&digest(spki)[..]) {
        return Ok(None);
    }
    Ok(last_of(&row)?.map(|last| last.verdict))
}

/// As which a key is remembered.
fn digest(spki: &[u8]) -> Vec<u8> {
    Hash::Sha256.digest(&[spki])
}

fn last_of(row: &AttestationRow) -> Result<Option<Last>> {
    let (Some(verdict), Some(at)) = (&row.verdict, row.attested_at) else { return Ok(None) };
    Ok(Some(Last { verdict: verdict.parse().map_err(Error::internal)?, at }))
}

async fn row_for_update(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<AttestationRow> {
    let row = tx.attestation_for_update(device).await?;
    Ok(row.unwrap_or_else(|| AttestationRow::new(device.clone(), now)))
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

/// Whose device it is, for tasks that outlive the borrow of the context.
fn own(ctx: &Ctx) -> Result<(TenantId, DeviceId)> {
    ctx.device().map(|(tenant, device)| (tenant.clone(), device.clone()))
}
