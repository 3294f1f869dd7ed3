//! How a device stands with its attestation.

use std::collections::BTreeSet;

use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_core::attestation::{self, Standing};
use fleetward_core::identity_policy::AttestationPolicy;
use fleetward_core::registry::Class;
use fleetward_store::AttestationRow;

use super::last_of;
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::registry::device_of;
use crate::{App, Ctx};

/// The gist of it, which goes with the device's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationState {
    /// Whether the device's class has to attest.
    pub required: bool,
    /// Why it is held back; none where it is not, as far as attestation has a say.
    pub restricted: Option<&'static str>,
    /// None where it never attested since it enrolled.
    pub verdict: Option<String>,
    /// The kind of its last evidence.
    pub format: Option<String>,
    pub attested_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
}

/// How a device of this class stands with what it proved last.
pub(crate) fn state_of(
    policy: &AttestationPolicy,
    class: Class,
    row: Option<&AttestationRow>,
    now: Timestamp,
) -> Result<AttestationState> {
    let last = row.map(last_of).transpose()?.flatten();
    let attested_at = row.and_then(|row| row.attested_at);
    Ok(AttestationState {
        required: policy.rule(class).required,
        restricted: match attestation::standing(policy, class, last, now) {
            Standing::Full => None,
            Standing::Restricted(why) => Some(why.as_str()),
        },
        verdict: row.and_then(|row| row.verdict.clone()),
        format: row.and_then(|row| row.format.clone()),
        attested_at,
        due_at: attested_at.and_then(|at| attestation::due(policy, at)),
    })
}

/// What people see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationView {
    /// Whether the device's class has to attest.
    pub required: bool,
    /// Why it is held back; none where it is not, as far as attestation has a say.
    pub restricted: Option<&'static str>,
    pub verdict: Option<String>,
    pub reasons: Vec<String>,
    pub format: Option<String>,
    pub root_of_trust: Option<String>,
    /// What no other hardware has.
    pub hardware_identity: Option<String>,
    pub anchor: Option<String>,
    pub attested_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
    pub boots: Option<u64>,
    /// Names and digests.
    pub measurements: BTreeSet<(String, String)>,
    /// DER of the certificate of its attestation key.
    pub key_certificate: Option<Vec<u8>>,
}

/// How the device stands.
///
/// # Errors
/// `NotFound`.
pub async fn device_attestation(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId) -> Result<AttestationView> {
    ctx.allow(tenant, Permission::AttestationRead)?;
    let policy = identity_policy(app, tenant).await?;
    let id_in = id.clone();
    let (device, row) = app
        .read(tenant, "device attestation", move |tx| {
            Box::pin(async move {
                let device = tx.device(&id_in).await?.ok_or(Error::NotFound { what: "device" })?;
                Ok((device_of(device)?, tx.attestation(&id_in).await?))
            })
        })
        .await?;
    let row = row.unwrap_or_else(|| AttestationRow::new(id.clone(), app.now()));
    let state = state_of(&policy.attestation, device.class, Some(&row), app.now())?;
    Ok(AttestationView {
        required: state.required,
        restricted: state.restricted,
        verdict: state.verdict,
        reasons: serde_json::from_str(&row.reasons).map_err(Error::internal)?,
        format: row.format,
        root_of_trust: row.root,
        hardware_identity: row.identity,
        anchor: row.anchor,
        attested_at: row.attested_at,
        due_at: state.due_at,
        boots: row.boots,
        measurements: serde_json::from_str(&row.measurements).map_err(Error::internal)?,
        key_certificate: row.key_certificate,
    })
}
