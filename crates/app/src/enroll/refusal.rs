//! A rule said no: what is remembered of it, and what the caller is told.

use fleetward_base::{DeviceId, TenantId, TokenId};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_pki::CsrError;
use fleetward_store::{StoreError, SystemTx};
use serde_json::json;

use super::Attempt;
use crate::App;
use crate::detection::{self, Refused};
use crate::error::Error;
use crate::journal::record;

/// The cause where a certificate of an authority of ours is not in the registry.
pub(crate) const UNKNOWN_CERTIFICATE: &str = "unknown-certificate";

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A rule said no: a security event.
    Refused(Refusal),
    /// Something did not work; nobody is to blame for it.
    Failed(Error),
}

/// The cause in one word, for the journal, and what the caller is told.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) cause: &'static str,
    pub(crate) error: Error,
}

impl Refusal {
    /// The credential does not count.
    pub(crate) fn credential(cause: &'static str, reason: &'static str) -> Fault {
        Fault::Refused(Self { cause, error: Error::Unauthenticated { reason } })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CsrError> for Fault {
    fn from(error: CsrError) -> Self {
        Self::Refused(Refusal { cause: error.code(), error: Error::invalid("request", error.to_string()) })
    }
}

/// What is known of whoever was refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whose {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) token: Option<TokenId>,
    pub(crate) serial: Option<String>,
}

/// Remembers a fault as what it is and gives what the caller is told.
pub(crate) async fn settle(app: &App, attempt: &Attempt, action: Action, whose: Whose, fault: Fault) -> Error {
    let refusal = match fault {
        Fault::Failed(error) => return error,
        Fault::Refused(refusal) => refusal,
    };
    let now = app.clock().monotonic();
    // A revoked device that keeps on connecting must not shut out those that enrol from behind the same address.
    if action == Action::EnrollmentRefused {
        app.gate().debit(attempt.address, now);
    }
    tracing::debug!(cause = refusal.cause, address = %attempt.address, "refused");
    let (tenant, cause, issuer) = (whose.tenant.as_ref(), refusal.cause, issuer(&whose, refusal.cause));
    detection::count_refused(app, Refused { tenant, cause, issuer, address: attempt.address });
    // Signed by an authority of ours, and nobody here issued it: somebody else has its key.
    if refusal.cause == UNKNOWN_CERTIFICATE {
        crate::enroll::unlogged::alarm(app, attempt, &whose).await;
    }
    let unsaid = app.gate().journals(whose.tenant.as_ref(), now);
    if let Err(error) = write_down(app, attempt, action, whose, refusal.cause, unsaid).await {
        tracing::warn!(%error, "a refusal could not be journaled");
    }
    refusal.error
}

/// An outcome as the caller is told it; what was refused is remembered.
pub(crate) async fn settled<T>(
    app: &App,
    attempt: &Attempt,
    action: Action,
    whose: Whose,
    outcome: Result<T, Fault>,
) -> Result<T, Error> {
    match outcome {
        Ok(done) => Ok(done),
        Err(fault) => Err(settle(app, attempt, action, whose, fault).await),
    }
}

/// Whose credential it was, in one word.
fn issuer(whose: &Whose, cause: &str) -> &'static str {
    match (&whose.serial, whose.token) {
        (Some(_), _) => "issuing",
        (None, Some(_)) => "token",
        (None, None) if cause.starts_with("factory") => "factory",
        (None, None) if cause.starts_with("jwt") => "jwt",
        (None, None) => "unknown",
    }
}

async fn write_down(
    app: &App,
    attempt: &Attempt,
    action: Action,
    whose: Whose,
    cause: &'static str,
    unsaid: Option<u64>,
) -> Result<(), Error> {
    if unsaid.is_none() && whose.token.is_none() {
        return Ok(());
    }
    let entry = unsaid.map(|unsaid| entry(app, attempt, action, &whose, cause, unsaid));
    app.store()
        .system_write("refused device", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = match &whose.tenant {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                if let Some(token) = whose.token {
                    tx.count_enroll_attempt(token).await?;
                }
                if let Some(entry) = entry {
                    record(tx, &entry).await?;
                }
                Ok(())
            })
        })
        .await
}

fn entry(app: &App, attempt: &Attempt, action: Action, whose: &Whose, cause: &'static str, unsaid: u64) -> Entry {
    let mut detail = json!({ "cause": cause });
    if let Some(fields) = detail.as_object_mut() {
        if unsaid > 0 {
            fields.insert("unsaid".to_owned(), json!(unsaid));
        }
        if let Some(serial) = &whose.serial {
            fields.insert("serial".to_owned(), json!(serial));
        }
    }
    let actor = Actor::anonymous(attempt.address.to_string());
    let mut entry = Entry::refused(app.now(), actor, action).detail(detail).request(Some(attempt.request_id));
    if let Some(device) = &whose.device {
        entry = entry.device(device);
    }
    match whose.token {
        Some(token) => entry.subject(token),
        None => entry,
    }
}
