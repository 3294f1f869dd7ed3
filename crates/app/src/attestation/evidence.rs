//! Evidence arrives: the challenge is used up, the evidence proven, appraised and acted upon.

use std::collections::BTreeSet;

use fleetward_attest::tpm::Public;
use fleetward_attest::{Activated, Evidence, Facts, Key, Known, Unproven, verify};
use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::attestation::{Appraisal, Proven, Reason, Seen, Standing, Verdict, appraise, standing};
use fleetward_core::identity_policy::{IdentityPolicy, OnFailure};
use fleetward_core::journal::{Action, Outcome as How, Severity};
use fleetward_core::lifecycle::{self, Transition};
use fleetward_core::registry::Device;
use fleetward_pki::Certificate;
use fleetward_store::{AttestationRow, TenantTx};
use serde_json::json;

use super::anchors::AnchorKind;
use super::vouched::root_of;
use super::{digest, hex, last_of, own, references, row_for_update};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::registry::{load, store_status};
use crate::{App, Ctx, EndReason, Principal, deny_list};

/// What the device is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// When it is to attest again.
    pub due: Option<Timestamp>,
    /// Whether it may do all that is its own now.
    pub restricted: bool,
}

/// What is known of the device before its evidence is looked at.
struct Before {
    nonce: Vec<u8>,
    activated: Option<Activated>,
    keys: Vec<Key>,
    dice_roots: Vec<Vec<u8>>,
    device_key: Vec<u8>,
}

/// Proves, appraises and keeps the evidence of the device that speaks. Where its rights become others, its session ends,
/// so that it comes back with them.
///
/// # Errors
/// `Conflict` (`no-challenge`) where none waits; `Untrusted` with the reason where the evidence proves nothing.
pub async fn submit_evidence(app: &App, ctx: &Ctx, evidence: Evidence) -> Result<Outcome> {
    submit_and_tell(app, ctx, evidence, |_| {}).await
}

/// As [`submit_evidence`], for a door on whose session the device waits for its answer: it is told before that ends.
///
/// # Errors
/// As there.
pub async fn submit_and_tell(
    app: &App,
    ctx: &Ctx,
    evidence: Evidence,
    tell: impl FnOnce(&Outcome) + Send,
) -> Result<Outcome> {
    let (tenant, device) = own(ctx)?;
    let policy = identity_policy(app, &tenant).await?;
    let before = take_challenge(app, ctx, &tenant, &device).await?;
    let known = Known {
        activated: before.activated.as_ref(),
        pcrs: &policy.attestation.pcrs,
        keys: &before.keys,
        dice_roots: &before.dice_roots,
        device_key: &before.device_key,
    };
    let facts = match verify(&evidence, known, &before.nonce, app.now()) {
        Ok(facts) => facts,
        Err(unproven) => return Err(refuse(app, ctx, &tenant, &device, &unproven).await),
    };
    let (ctx_in, app_in, format, id) = (ctx.clone(), app.clone(), evidence.format(), device.clone());
    let certified = facts.certified_key.then(|| digest(&before.device_key));
    let (outcome, moved) = app
        .write(&tenant, "appraise evidence", move |tx| {
            Box::pin(async move { keep(&app_in, tx, &ctx_in, &policy, &id, format, (&facts, certified)).await })
        })
        .await?;
    app.attestation_results().count(outcome.verdict.as_str(), outcome.reasons.first().map_or("none", Reason::code));
    tell(&outcome);
    if let (true, Some(links)) = (moved, app.links()) {
        links.end_sessions(&tenant, &device, EndReason::Administrative);
    }
    Ok(outcome)
}

/// Uses the challenge up and loads what the evidence is held against.
async fn take_challenge(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<Before> {
    let Principal::Device { serial, .. } = &ctx.principal else {
        return Err(Error::Unauthenticated { reason: "not a device" });
    };
    let (now, device, serial) = (app.now(), device.clone(), serial.clone());
    let before = app
        .write(tenant, "take challenge", move |tx| {
            Box::pin(async move {
                let mut row = row_for_update(tx, &device, now).await?;
                let fresh = row.challenge_until.take().is_some_and(|until| now <= until);
                let nonce = row.challenge.take().filter(|_| fresh);
                row.updated_at = now;
                tx.put_attestation(&row).await?;
                let anchors = tx.attestation_anchors(None, None, limits::ATTESTATION_ANCHORS).await?;
                let of = |kind: AnchorKind| {
                    let these = anchors.iter().filter(move |anchor| anchor.kind == kind.as_str());
                    these.map(|anchor| anchor.value.clone())
                };
                let certificate = tx.certificate(&serial).await?.ok_or_else(|| Error::internal("no certificate"))?;
                let Some(nonce) = nonce else { return Ok(None) };
                Ok(Some(Before {
                    nonce,
                    activated: activated(&row)?,
                    keys: of(AnchorKind::TokenKey).map(Key::new).collect(),
                    dice_roots: of(AnchorKind::DiceRoot).collect(),
                    device_key: Certificate::parse(&certificate.der).map_err(Error::internal)?.spki,
                }))
            })
        })
        .await?;
    before.ok_or_else(|| Error::conflict("no-challenge", "no challenge waits for this device, or it is too old"))
}

fn activated(row: &AttestationRow) -> Result<Option<Activated>> {
    let (Some(key), Some(identity), Some(anchor)) = (&row.attestation_key, &row.identity, &row.anchor) else {
        return Ok(None);
    };
    let identity =
        fleetward_attest::evidence::unhex(identity).ok_or_else(|| Error::internal("an identity not in hex"))?;
    let key = Public::parse(key).map_err(Error::internal)?;
    Ok(Some(Activated { key, identity, anchor: anchor.clone() }))
}

/// Remembers that evidence proved nothing.
async fn refuse(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, unproven: &Unproven) -> Error {
    refused(app, ctx, tenant, device, unproven.code(), &unproven.to_string()).await
}

/// Remembers a refusal, as often as the journal takes it, and gives it.
pub(super) async fn refused(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    code: &'static str,
    reason: &str,
) -> Error {
    app.attestation_results().count("refused", code);
    if let Some(unsaid) = app.gate().journals(Some(tenant), app.clock().monotonic()) {
        let entry = ctx.done(app.now(), Action::AttestationRefused).device(device).severity(Severity::Warning);
        let mut entry = entry.detail(json!({ "cause": code, "unsaid": unsaid }));
        entry.outcome = How::Refused;
        let written = app
            .write(tenant, "refused evidence", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) }));
        if let Err(error) = written.await {
            tracing::warn!(%error, "refused evidence could not be journaled");
        }
    }
    Error::untrusted(code, reason)
}

/// Appraises what was proven and keeps the verdict; what the device is told, and whether its rights are others now.
async fn keep(
    app: &App,
    tx: &mut TenantTx,
    ctx: &Ctx,
    policy: &IdentityPolicy,
    id: &DeviceId,
    format: &str,
    (facts, certified): (&Facts, Option<Vec<u8>>),
) -> Result<(Outcome, bool)> {
    let now = app.now();
    let device = load(tx, id).await?;
    let mut row = row_for_update(tx, id, now).await?;
    let stood = standing(&policy.attestation, device.class, last_of(&row)?, now);
    let identity = hex(&facts.identity);
    let tenant = ctx.device()?.0;
    let proven = Proven {
        root: root_of(tx, policy, id, &facts.anchor, &identity).await?,
        measurements: facts.measurements.iter().map(|one| (one.name.clone(), one.digest.clone())).collect(),
        has_log: facts.has_log,
        debug: facts.debug,
        secured: facts.secured,
        boots: facts.boots,
        clock_ms: facts.clock_ms,
        certified_key: facts.certified_key,
        elsewhere: !tx.devices_with_hardware(&identity, id, 1).await?.is_empty(),
        denied: deny_list::is_denied_hardware(app, tenant, &identity),
    };
    let same = row.identity.as_ref() == Some(&identity);
    let seen = if same { seen_of(&row) } else { Seen::default() };
    let cohort = references::applying(tx, &device).await?;
    let rule = policy.attestation.rule(device.class);
    let appraisal = appraise(&rule, &proven, seen, &cohort.good, cohort.learning.is_some());
    if let (Some(learning), true) = (cohort.learning, appraisal.reasons == [Reason::Learned]) {
        references::teach(tx, learning, id, &proven.measurements, now).await?;
    }
    row.certified_key = certified;
    let changed = write_verdict(&mut row, &appraisal, &proven, facts.anchor.clone(), identity, format, now)?;
    tx.put_attestation(&row).await?;
    if changed {
        journal_verdict(tx, ctx, id, &appraisal, format, now).await?;
    }
    let mut quarantined = false;
    let own = |reason: &Reason| matches!(reason, Reason::HardwareElsewhere | Reason::HardwareDenied);
    let acts =
        (rule.required || appraisal.reasons.iter().any(own)) && policy.attestation.on_failure == OnFailure::Quarantine;
    if appraisal.verdict == Verdict::Contraindicated && acts {
        quarantined = quarantine(tx, ctx, &device, now).await?;
    }
    let stands = standing(&policy.attestation, device.class, last_of(&row)?, now);
    let held = quarantined || lifecycle::rights(device.status) != Some(fleetward_core::access::DeviceRights::Full);
    let outcome = Outcome {
        verdict: appraisal.verdict,
        reasons: appraisal.reasons,
        due: fleetward_core::attestation::due(&policy.attestation, now),
        restricted: held || stands != Standing::Full,
    };
    let moved = quarantined || (stood == Standing::Full) != (stands == Standing::Full);
    Ok((outcome, moved))
}

fn seen_of(row: &AttestationRow) -> Seen {
    Seen { boots: row.boots.and_then(|boots| u32::try_from(boots).ok()), clock_ms: row.clock_ms }
}

/// Whether the verdict or its reasons are others than before.
fn write_verdict(
    row: &mut AttestationRow,
    appraisal: &Appraisal,
    proven: &Proven,
    anchor: String,
    identity: String,
    format: &str,
    now: Timestamp,
) -> Result<bool> {
    let words: Vec<String> = appraisal.reasons.iter().map(ToString::to_string).collect();
    let reasons = serde_json::to_string(&words).map_err(Error::internal)?;
    let changed = row.verdict.as_deref() != Some(appraisal.verdict.as_str()) || row.reasons != reasons;
    // What went back is not what is seen from now on: the device would be held to the older time otherwise.
    if !appraisal.reasons.contains(&Reason::WentBack) {
        row.boots = proven.boots.map(u64::from);
        row.clock_ms = proven.clock_ms;
    }
    row.verdict = Some(appraisal.verdict.to_string());
    row.reasons = reasons;
    row.measurements = serde_json::to_string(&proven.measurements).map_err(Error::internal)?;
    row.format = Some(format.to_owned());
    // An attestation key stands for the TPM that it was activated in. Behind another identity, or by another's word, it would
    // have the next quote count for what it says nothing of.
    if row.identity.as_ref() != Some(&identity) || row.anchor.as_ref() != Some(&anchor) {
        (row.attestation_key, row.key_certificate) = (None, None);
    }
    row.root = Some(proven.root.to_string());
    row.anchor = Some(anchor);
    row.identity = Some(identity);
    row.attested_at = Some(now);
    row.lapsed = false;
    row.updated_at = now;
    Ok(changed)
}

async fn journal_verdict(
    tx: &mut TenantTx,
    ctx: &Ctx,
    id: &DeviceId,
    appraisal: &Appraisal,
    format: &str,
    now: Timestamp,
) -> Result<()> {
    let severity = match appraisal.verdict {
        Verdict::Affirming => Severity::Info,
        Verdict::Warning => Severity::Warning,
        Verdict::Contraindicated => Severity::Critical,
    };
    let reasons: BTreeSet<String> = appraisal.reasons.iter().map(ToString::to_string).collect();
    let detail = json!({ "verdict": appraisal.verdict.as_str(), "reasons": reasons, "format": format });
    let entry = ctx.done(now, Action::AttestationVerdict).device(id).severity(severity).detail(detail);
    record(tx, &entry).await?;
    Ok(())
}

/// Whether the device is in quarantine now and was not before.
async fn quarantine(tx: &mut TenantTx, ctx: &Ctx, device: &Device, now: Timestamp) -> Result<bool> {
    let Ok(status) = lifecycle::decide(device.status, Transition::Quarantine) else { return Ok(false) };
    if status == device.status {
        return Ok(false);
    }
    store_status(tx, device, status, now).await?;
    let detail = json!({ "from": device.status.as_str(), "to": status.as_str(), "by": "attestation" });
    let entry = ctx.done(now, Action::DeviceStatusChanged).device(&device.id).severity(Severity::Critical);
    record(tx, &entry.detail(detail)).await?;
    Ok(true)
}
