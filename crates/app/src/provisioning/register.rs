//! Registering a thing: a certificate that waits, its token, and a template become a device.

use std::collections::BTreeMap;

use fleetward_core::enrolment::Way;
use fleetward_core::journal::Action;
use fleetward_core::provisioning::{Configuration, Plan, Template, TemplateError};
use fleetward_core::rotation::Standing;
use fleetward_pki::Certificate;
use fleetward_store::{CertificateRow, ClaimRow, PendingCertificateRow, StoreError, TemplateRow, TenantTx};
use serde_json::json;

use super::{Claimant, hook, subject};
use crate::enroll::adopt::{Adoption, adopt};
use crate::enroll::{Attempt, Fault, Refusal, Whose, settle};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::token::{TokenKind, hash};
use crate::{App, detection};

/// Why a device did not get what it asked for. What is in it may be told to the device.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Csr(String),
    #[error("{0}")]
    Token(&'static str),
    #[error("{0}")]
    Parameters(String),
    #[error("{0}")]
    Template(String),
    #[error("Template not found")]
    NoTemplate,
    #[error("{0}")]
    Denied(&'static str),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Limit(&'static str),
    #[error("Rate exceeded")]
    TooMany,
    #[error("Service unavailable; try again")]
    Unavailable,
    #[error("Internal failure")]
    Internal(#[source] Error),
}

/// What a device is told when it is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    pub thing_name: String,
    pub device_configuration: Configuration,
}

/// A refusal on its way out: what is journaled, and what is told.
pub(super) enum Stop {
    Refused { cause: &'static str, refused: Refused },
    Failed(Error),
}

impl Stop {
    pub(super) fn at(cause: &'static str, refused: Refused) -> Self {
        Self::Refused { cause, refused }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(error) => Self::Failed(error),
            Fault::Refused(Refusal { cause, error }) => Self::Refused { cause, refused: told(error) },
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// What a device is told of a meaning that a rule below gave.
fn told(error: Error) -> Refused {
    match error {
        Error::Invalid { field, reason } if field.is_empty() => Refused::Parameters(reason),
        Error::Invalid { field, reason } => Refused::Parameters(format!("{field}: {reason}")),
        Error::Conflict { reason, .. } => Refused::Conflict(reason),
        Error::TooMany { .. } => Refused::TooMany,
        Error::Unauthenticated { reason } => Refused::Denied(reason),
        Error::NotFound { .. } | Error::Denied { .. } | Error::Untrusted { .. } => Refused::Denied("Not allowed"),
        Error::Unavailable { .. } | Error::StorageFull => Refused::Unavailable,
        other => Refused::Internal(other),
    }
}

/// Journals a refusal and gives what the device is told.
pub(super) async fn refuse(app: &App, claimant: &Claimant, stop: Stop) -> Refused {
    let (cause, refused) = match stop {
        Stop::Failed(error) => return told(error),
        Stop::Refused { cause, refused } => (cause, refused),
    };
    let attempt = Attempt { address: claimant.address, request_id: app.new_request_id() };
    let whose =
        Whose { tenant: Some(claimant.tenant.clone()), serial: Some(claimant.serial.clone()), ..Whose::default() };
    let fault = Refusal::credential(cause, "refused");
    settle(app, &attempt, Action::ProvisioningRefused, whose, fault).await;
    refused
}

/// Gives the device that holds the ownership token its place in the fleet.
///
/// # Errors
/// [`Refused`]; the cause is journaled.
pub async fn register_thing(
    app: &App,
    claimant: &Claimant,
    template: &str,
    token: &str,
    parameters: BTreeMap<String, String>,
) -> Result<Registered, Refused> {
    match register(app, claimant, template, token, parameters).await {
        Ok(registered) => Ok(registered),
        Err(stop) => Err(refuse(app, claimant, stop).await),
    }
}

const NO_TOKEN: Refused = Refused::Token("Certificate ownership token cannot be verified.");

async fn register(
    app: &App,
    claimant: &Claimant,
    template: &str,
    token: &str,
    mut parameters: BTreeMap<String, String>,
) -> Result<Registered, Stop> {
    app.provisioning().request(app, claimant)?;
    if token.is_empty() {
        return Err(Stop::at("no-ownership-token", Refused::Token("Certificate ownership token cannot be empty.")));
    }
    let hash = hash(TokenKind::Ownership, token).ok_or_else(|| Stop::at("malformed-ownership-token", NO_TOKEN))?;
    let (pending, row) = find(app, claimant, template, hash.to_vec()).await?;
    let read = Template::parse(&row.body).map_err(|error| Error::internal(error.to_string()))?;
    let certificate = Certificate::parse(&pending.der).map_err(Error::internal)?;
    let pseudo = subject::pseudo(&certificate.subject, &pending.id);
    check_names(&parameters)?;
    parameters.extend(checked(app, claimant, &row, &pending, &parameters).await?);
    let plan = read.evaluate(&parameters, &pseudo).map_err(bad_parameters)?;
    let registered =
        Registered { thing_name: plan.device.to_string(), device_configuration: plan.configuration.clone() };
    keep(app, claimant, pending, plan).await?;
    Ok(registered)
}

/// What a device sends is looked at before anybody else hears of it.
fn check_names(parameters: &BTreeMap<String, String>) -> Result<(), Stop> {
    fleetward_core::provisioning::check_given(parameters).map_err(bad_parameters)
}

fn bad_parameters(error: TemplateError) -> Stop {
    Stop::at("template-parameters", Refused::Parameters(error.to_string()))
}

/// The certificate that the token is for, and the template.
async fn find(
    app: &App,
    claimant: &Claimant,
    template: &str,
    token: Vec<u8>,
) -> Result<(PendingCertificateRow, TemplateRow), Stop> {
    let (now, claimant, template) = (app.now(), claimant.clone(), template.to_owned());
    let tenant = claimant.tenant.clone();
    app.store()
        .read(&tenant, "pending certificate", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let claim = tx.claim(&claimant.claim).await?;
                let claim = standing_claim(claim, &claimant, now)?;
                // A claim is good for its own template; of others it does not hear whether they are there.
                let row = if claim.template == template { tx.template(&template).await? } else { None };
                let row = row.filter(|row| row.enabled);
                let row = row.ok_or_else(|| Stop::at("foreign-template", Refused::NoTemplate))?;
                let pending = tx.pending_certificate_by_token(&token).await?;
                let pending = pending.ok_or_else(|| Stop::at("unknown-ownership-token", NO_TOKEN))?;
                check_pending(&pending, &claimant, now)?;
                Ok::<_, Stop>((pending, row))
            })
        })
        .await
}

fn check_pending(
    pending: &PendingCertificateRow,
    claimant: &Claimant,
    now: fleetward_base::Timestamp,
) -> Result<(), Stop> {
    if pending.claim != claimant.claim || pending.connection != claimant.connection {
        return Err(Stop::at("foreign-ownership-token", NO_TOKEN));
    }
    if pending.expires_at <= now {
        return Err(Stop::at("expired-ownership-token", NO_TOKEN));
    }
    Ok(())
}

/// The claim, if it still counts and this connection was made with it.
pub(super) fn standing_claim(
    claim: Option<ClaimRow>,
    claimant: &Claimant,
    now: fleetward_base::Timestamp,
) -> Result<ClaimRow, Stop> {
    let claim = claim.filter(|claim| claim.serial == claimant.serial);
    let claim = claim.ok_or_else(|| Stop::at("unknown-claim", Refused::Denied("The claim is not known")))?;
    if claim.revoked_at.is_some() {
        return Err(Stop::at("revoked-claim", Refused::Denied("The claim was revoked")));
    }
    if claim.expires_at <= now {
        return Err(Stop::at("expired-claim", Refused::Denied("The claim has expired")));
    }
    if claim.count_cap.is_some_and(|cap| claim.used >= cap) {
        return Err(Stop::at("full-claim", Refused::Limit("The claim has been used as often as it may")));
    }
    Ok(claim)
}

/// The pre-provisioning check: what the hook adds to the parameters.
async fn checked(
    app: &App,
    claimant: &Claimant,
    template: &TemplateRow,
    pending: &PendingCertificateRow,
    parameters: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Stop> {
    let question = hook::Question {
        claim_certificate_id: &claimant.fingerprint,
        certificate_id: &pending.id,
        certificate_pem: &super::pending::pem("CERTIFICATE", &pending.der),
        template_arn: format!("urn:fleetward-template:{}:{}", claimant.tenant, template.name),
        client_id: &claimant.client_id,
        parameters,
    };
    match hook::ask(app, &claimant.tenant, template, &question).await? {
        Ok(overrides) => {
            fleetward_core::provisioning::check_given(&overrides).map_err(bad_parameters)?;
            Ok(overrides)
        }
        Err(reason) => {
            tracing::info!(tenant = %claimant.tenant, template = template.name, reason, "the hook did not let a device in");
            Err(Stop::at("hook-refused", Refused::Denied("Access denied by the pre-provisioning hook")))
        }
    }
}

/// All of it, or nothing: the claim is counted, the certificate taken out of those that wait, the device made.
async fn keep(app: &App, claimant: &Claimant, pending: PendingCertificateRow, plan: Plan) -> Result<(), Stop> {
    let policy = identity_policy(app, &claimant.tenant).await?;
    let (now, request_id, claimant) = (app.now(), app.new_request_id(), claimant.clone());
    let (tenant, claim, app_in) = (claimant.tenant.clone(), claimant.claim.clone(), app.clone());
    let returning = app
        .store()
        .write(&tenant, "register thing", move |tx: &mut TenantTx| {
            Box::pin(async move {
                standing_claim(tx.claim_for_update(&claimant.claim).await?, &claimant, now)?;
                if !tx.take_pending_certificate(&pending.id).await? {
                    return Err(Stop::at("used-ownership-token", NO_TOKEN));
                }
                if tx.use_claim(&claimant.claim).await?.is_none() {
                    let refused = Refused::Limit("The claim has been used as often as it may");
                    return Err(Stop::at("full-claim", refused));
                }
                let detail = json!({
                    "way": Way::Claim.as_str(), "source": claimant.claim, "connection": claimant.connection,
                    "client_id": claimant.client_id.chars().take(128).collect::<String>(), "policies": plan.policies,
                });
                let adoption = Adoption {
                    app: app_in,
                    hardware: Vec::new(),
                    certificate: row_of(&pending, &plan, &claimant),
                    active: plan.active,
                    looked_at: false,
                    policy,
                    detail,
                    request_id,
                };
                let fields =
                    |known: Option<&_>| plan.fields(known).map_err(|error| Error::invalid("", error.to_string()));
                Ok::<_, Stop>(adopt(tx, adoption, fields, now).await?)
            })
        })
        .await?;
    detection::enrolled(app, &tenant, Way::Claim, Some(&claim), returning).await;
    Ok(())
}

fn row_of(pending: &PendingCertificateRow, plan: &Plan, claimant: &Claimant) -> CertificateRow {
    CertificateRow {
        serial: pending.serial.clone(),
        device: plan.device.clone(),
        authority: pending.authority.clone(),
        fingerprint: pending.id.clone(),
        request: pending.request.clone(),
        not_before: pending.not_before,
        not_after: pending.not_after,
        der: pending.der.clone(),
        status: Standing::Issued.to_string(),
        issued_at: pending.created_at,
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: Way::Claim.as_str().to_owned(),
        source: Some(claimant.claim.clone()),
    }
}
