//! Waiting for a person: where policy asks for one, a newcomer comes in when somebody has looked at it.
//!
//! The first time it asks, a request is put into the inbox; the same request again finds the same entry. What waits is
//! bounded, in a tenant and for a device, and ends by itself. What a person decides is in
//! [`crate::enrollment_requests`].

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::approval::{Standing, Turn, turn, user_code};
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::EnrolmentPolicy;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::registry::DeviceFields;
use fleetward_store::{EnrollmentRequestRow, TenantTx};
use serde_json::{Value, json};

use super::Attempt;
use super::newcomer::Newcomer;
use super::refusal::{Fault, Refusal};
use crate::error::Error;
use crate::journal::record;
use crate::{App, enrollment_requests};

/// Whether somebody let the newcomer in, or nobody needs to.
#[derive(Clone, Debug)]
pub(super) enum Leave {
    /// Policy asks for nobody.
    Free,
    /// By this request.
    Given(Box<Asking>),
}

/// What a device is known by when it asks.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    /// As [`EnrollmentRequestRow::id`].
    pub(crate) id: String,
    pub(crate) device: DeviceId,
    pub(crate) way: Way,
    pub(crate) key_fingerprint: Option<String>,
    pub(crate) facts: Value,
    pub(crate) device_code: Option<Vec<u8>>,
    pub(crate) expires_at: Timestamp,
}

/// Lets the newcomer pass, or has it wait.
///
/// # Errors
/// `Pending` while nobody has decided; a refusal where somebody said no; `TooMany` where too many wait.
pub(super) async fn leave(
    app: &App,
    attempt: &Attempt,
    newcomer: &Newcomer,
    policy: &EnrolmentPolicy,
) -> Result<Leave, Fault> {
    if !policy.approval.contains(&newcomer.way) {
        return Ok(Leave::Free);
    }
    let asking = asking(newcomer, policy, app.now());
    let asked = asking.id.clone();
    let earlier = app
        .store()
        .read(&newcomer.tenant, "enrollment request", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok::<_, Fault>(tx.enrollment_request(&asked).await?) })
        })
        .await?;
    match turn(earlier.as_ref().map(standing).transpose()?, app.now()) {
        Turn::Enter | Turn::Again => Ok(Leave::Given(Box::new(asking))),
        Turn::Wait => Err(wait(policy)),
        Turn::Denied => Err(denied()),
        Turn::Ask => Err(ask_for(app, attempt, &newcomer.tenant, policy, asking).await),
    }
}

/// Has a person asked, and gives what the newcomer is told.
pub(super) async fn ask_for(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    policy: &EnrolmentPolicy,
    asking: Asking,
) -> Fault {
    let (app_in, attempt) = (app.clone(), *attempt);
    let asked = app
        .store()
        .write(tenant, "ask for approval", move |tx: &mut TenantTx| {
            Box::pin(async move { ask(&app_in, tx, &attempt, asking).await.map(drop) })
        })
        .await;
    asked.err().unwrap_or_else(|| wait(policy))
}

fn wait(policy: &EnrolmentPolicy) -> Fault {
    Fault::Failed(Error::Pending { retry_after: policy.approval_retry() })
}

fn asking(newcomer: &Newcomer, policy: &EnrolmentPolicy, now: Timestamp) -> Asking {
    let csr = &newcomer.csr;
    Asking {
        id: hex(&csr.asking_hash(&newcomer.tenant)),
        device: newcomer.device.clone(),
        way: newcomer.way,
        // One that the server makes is made when somebody has said yes.
        key_fingerprint: (!csr.has_given_key()).then(|| hex(&sha256(csr.spki()))),
        facts: facts_of(&newcomer.facts, newcomer.source.as_deref()),
        device_code: None,
        expires_at: now.plus(policy.approval_life()),
    }
}

/// Puts a request into the inbox, or the same one there once more after its end. Gives the code that people type.
pub(crate) async fn ask(app: &App, tx: &mut TenantTx, attempt: &Attempt, asking: Asking) -> Result<String, Fault> {
    let now = app.now();
    let earlier = tx.enrollment_request_for_update(&asking.id).await?;
    if let Some(row) = &earlier {
        match turn(Some(standing(row)?), now) {
            Turn::Ask => {}
            // Somebody was quicker with the same request; the device flow takes it over with its own code.
            Turn::Wait | Turn::Enter if asking.device_code.is_none() => return Ok(row.user_code.clone()),
            Turn::Wait | Turn::Enter | Turn::Again => {}
            Turn::Denied => return Err(denied()),
        }
    }
    if earlier.is_none() {
        // Anybody can ask by the device flow: that must not keep those waiting who have shown something.
        let (most, [all, own]) = if asking.device_code.is_some() {
            let counted = tx.count_polled_enrollment_requests(&asking.device, now).await?;
            (limits::ENROLLMENT_REQUESTS_OF_ANYBODY, counted)
        } else {
            (limits::ENROLLMENT_REQUESTS, tx.count_enrollment_requests(&asking.device, now).await?)
        };
        if all >= most || own >= limits::ENROLLMENT_REQUESTS_PER_DEVICE {
            let error = Error::TooMany { what: "devices that wait for approval", retry_after: RETRY_WHEN_FULL };
            return Err(Fault::Failed(error));
        }
    }
    let row = EnrollmentRequestRow {
        id: asking.id,
        user_code: user_code(app.rng().as_ref()),
        device: asking.device,
        way: asking.way.to_string(),
        key_fingerprint: asking.key_fingerprint,
        facts: asking.facts.to_string(),
        address: Some(attempt.address.to_string()),
        state: fleetward_core::approval::State::Pending.to_string(),
        device_code: asking.device_code,
        created_at: now,
        expires_at: asking.expires_at,
        decided_by: None,
        decided_at: None,
        note: None,
        token: None,
    };
    if earlier.is_some() {
        tx.update_enrollment_request(&row).await?;
    } else {
        tx.insert_enrollment_request(&row).await?;
    }
    let detail = json!({ "way": row.way, "expires_at": row.expires_at.to_string() });
    let entry = Entry::done(now, Actor::anonymous(attempt.address.to_string()), Action::EnrollmentAsked)
        .device(&row.device)
        .subject(&row.id)
        .severity(Severity::Notice)
        .detail(detail)
        .request(Some(attempt.request_id));
    record(tx, &entry).await?;
    Ok(row.user_code)
}

/// Uses the leave up for a certificate that is new, in the transaction that keeps it: it may have been taken back meanwhile.
/// `false` where a person has to be asked once more, as for one that another certificate was issued by.
pub(super) async fn take(tx: &mut TenantTx, leave: &Leave, now: Timestamp) -> Result<bool, Fault> {
    let Leave::Given(asked) = leave else { return Ok(true) };
    let Some(row) = tx.enrollment_request_for_update(&asked.id).await? else { return Ok(false) };
    match turn(Some(standing(&row)?), now) {
        Turn::Enter => {
            let used = EnrollmentRequestRow { state: fleetward_core::approval::State::Used.to_string(), ..row };
            tx.update_enrollment_request(&used).await?;
            Ok(true)
        }
        Turn::Again | Turn::Ask | Turn::Wait => Ok(false),
        Turn::Denied => Err(denied()),
    }
}

/// A person is not asked again at once by whoever they refused.
const RETRY_WHEN_FULL: std::time::Duration = std::time::Duration::from_secs(600);

fn denied() -> Fault {
    Fault::Refused(Refusal {
        cause: "approval-denied",
        error: Error::conflict("denied", "a person refused this device"),
    })
}

pub(super) fn standing(row: &EnrollmentRequestRow) -> Result<Standing, Error> {
    enrollment_requests::standing_of(row)
}

fn facts_of(facts: &DeviceFields, source: Option<&str>) -> Value {
    let mut known = serde_json::Map::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            known.insert(key.to_owned(), json!(value));
        }
    };
    put("class", facts.class.map(|class| class.to_string()));
    put("hardware", facts.hardware.clone());
    put("source", source.map(str::to_owned));
    Value::Object(known)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
