//! Just in time: a device with the certificate of a registered factory, on its first connection and after.
//!
//! The certificate becomes a row of the registry under its own SHA-256, since a factory's serial numbers are its own
//! affair; from then on it is a device's certificate like others. Where the authority is in mode `provision`, that
//! happens within the first connection, which goes on; in mode `register` it waits for an operator or a claim code.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::provisioning::{Mode, Plan, Template};
use fleetward_core::rotation::Standing;
use fleetward_pki::name::{Attribute, attributes};
use fleetward_pki::trust::VerifiedFactory;
use fleetward_pki::{Certificate, Verified};
use fleetward_store::{CertificateRow, FactoryAuthorityRow, FactoryCertificateRow, TenantTx};
use fleetward_wire::aws::provisioning::{REGISTERED_EVENT, RegisteredEvent};
use serde_json::json;

use super::{factories, subject};
use crate::enroll::adopt::{Adoption, adopt};
use crate::enroll::{Attempt, Fault, Refusal};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx, deny_list, detection};

const PENDING: &str = "pending_activation";
const ACTIVE: &str = "active";
/// The reason with which a certificate ends that was never used.
const MADE_ROOM: &str = "cessation_of_operation";
/// What a factory without a template makes of its devices: named by their common name, and nothing else.
const PLAIN: &str = r#"{"Resources":{"thing":{"Type":"AWS::IoT::Thing"}}}"#;

/// A certificate of a factory that came to a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub id: String,
    pub authority: String,
    pub name: String,
    pub serial_number: Option<String>,
    pub device: Option<DeviceId>,
    pub status: String,
    pub address: Option<String>,
    pub first_seen_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub activated_by: Option<String>,
}

/// The device that a factory's certificate is, registered where it may be.
pub(crate) async fn recognise(app: &App, attempt: &Attempt, presented: &VerifiedFactory) -> Result<Verified, Fault> {
    check_allowed(app, presented)?;
    let disabled = || Refusal::credential("factory-disabled", "the factory lets nobody in");
    let row = match known(app, presented).await? {
        (Some(row), _) => row,
        (None, None) => return Err(disabled()),
        (None, Some(factory)) if factory.status != factories::ACTIVE => return Err(disabled()),
        (None, Some(factory)) => first_seen(app, attempt, &presented.tenant, &presented.certificate, factory).await?,
    };
    Ok(verified(&presented.tenant, &presented.certificate, row))
}

/// As [`recognise`], for whoever gives the device another certificate for the factory's: its name, or none where nothing
/// is said here of the authority. Nobody gets by that way what a first connection would not give.
pub(crate) async fn registered(
    app: &App,
    attempt: &Attempt,
    presented: &VerifiedFactory,
) -> Result<Option<DeviceId>, Fault> {
    check_allowed(app, presented)?;
    match known(app, presented).await? {
        (None, None) => Ok(None),
        // The factory's own certificate makes room for the one that it was shown for; that is no revocation.
        (Some(row), _) if row.status == Standing::Revoked.as_str() && row.reason.as_deref() != Some(MADE_ROOM) => {
            Err(Refusal::credential("revoked-certificate", "the certificate was revoked"))
        }
        _ => Ok(Some(recognise(app, attempt, presented).await?.device)),
    }
}

/// What stands on the deny list makes no device, not even one that is refused right after: by its key, or by the serial
/// number that its factory gave it.
fn check_allowed(app: &App, presented: &VerifiedFactory) -> Result<(), Fault> {
    let VerifiedFactory { tenant, certificate, .. } = presented;
    if deny_list::is_denied_certificate(app, tenant, &certificate.serial.to_string(), &certificate.der) {
        return Err(Refusal::credential("denied", "the certificate or its key is on the deny list"));
    }
    Ok(())
}

/// The registry's row of a factory's certificate, and what is registered of its authority.
async fn known(
    app: &App,
    presented: &VerifiedFactory,
) -> Result<(Option<CertificateRow>, Option<FactoryAuthorityRow>), Fault> {
    let (id, authority) = (presented.certificate.fingerprint(), presented.authority.clone());
    app.store()
        .read(&presented.tenant, "factory certificate", move |tx: &mut TenantTx| {
            Box::pin(
                async move { Ok::<_, Fault>((tx.certificate(&id).await?, tx.factory_authority(&authority).await?)) },
            )
        })
        .await
}

fn verified(tenant: &TenantId, certificate: &Certificate, row: CertificateRow) -> Verified {
    Verified {
        tenant: tenant.clone(),
        device: row.device,
        serial: row.serial,
        fingerprint: row.fingerprint,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
    }
}

/// What came of a certificate that nobody had seen.
enum Seen {
    /// `true` where the device had a certificate before.
    Device(Box<CertificateRow>, bool),
    /// Another first connection was quicker.
    Before(Box<CertificateRow>),
    /// It waits; `true` where it was not known before.
    Waits(bool),
}

async fn first_seen(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    certificate: &Certificate,
    factory: FactoryAuthorityRow,
) -> Result<CertificateRow, Fault> {
    let mode: Mode = factory.mode.parse().map_err(Error::internal)?;
    let policy = identity_policy(app, tenant).await?;
    let (now, request_id) = (app.now(), attempt.request_id);
    let arrived = arrived_row(certificate, &factory.id, attempt, now)?;
    let (id, authority) = (arrived.id.clone(), factory.id.clone());
    let app_in = app.clone();
    let seen = app
        .store()
        .write(tenant, "first connection", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let new = match tx.factory_certificate(&arrived.id).await? {
                    Some(_) => false,
                    None => {
                        if tx.count_factory_certificates(&factory.id).await? >= limits::FACTORY_PENDING {
                            return Err(Refusal::credential("factory-pending", "too many of the factory wait"));
                        }
                        tx.insert_factory_certificate(&arrived).await?
                    }
                };
                // Of two first connections at once one was quicker, and this is its device.
                if !new && let Some(row) = tx.certificate(&arrived.id).await? {
                    return Ok(Seen::Before(Box::new(row)));
                }
                let by = match mode {
                    Mode::Provision => Some(factory.name.clone()),
                    Mode::Register => claimed_before(tx, &arrived).await?,
                };
                if let Some(name) = by {
                    let by = By { name: &name, person: mode == Mode::Register };
                    let home = Home { app: &app_in, policy: &policy };
                    let (row, returning) = activate_in(tx, &home, &arrived, &factory, by, request_id, now).await?;
                    return Ok(Seen::Device(Box::new(row), returning));
                }
                if new {
                    let entry = Entry::done(
                        now,
                        Actor::anonymous(arrived.address.clone().unwrap_or_default()),
                        Action::FactoryCertificateSeen,
                    );
                    let detail =
                        json!({ "name": arrived.name, "serial_number": arrived.serial_number, "factory": factory.id });
                    record(tx, &entry.subject(&arrived.id).detail(detail).request(Some(request_id))).await?;
                }
                Ok(Seen::Waits(new))
            })
        })
        .await?;
    match seen {
        Seen::Device(row, returning) => {
            detection::enrolled(app, tenant, Way::Factory, Some(&authority), returning).await;
            Ok(*row)
        }
        Seen::Before(row) => Ok(*row),
        Seen::Waits(new) => {
            if new {
                announce(app, tenant, &id, &authority).await;
            }
            Err(Refusal::credential("pending-activation", "the device waits to be claimed"))
        }
    }
}

/// Who used a claim code for this device before it came. A code lets one certificate in: another with the same name, as of
/// somebody who has got at the factory, waits for a person again.
async fn claimed_before(tx: &mut TenantTx, arrived: &FactoryCertificateRow) -> Result<Option<String>, Fault> {
    for (kind, subject) in [("device", Some(&arrived.name)), ("serial", arrived.serial_number.as_ref())] {
        let Some(subject) = subject else { continue };
        if let Some(code) = tx.used_claim_code(kind, subject).await?
            && tx.bind_claim_code(code.id, &arrived.id).await?
        {
            return Ok(code.used_by);
        }
    }
    Ok(None)
}

fn arrived_row(
    certificate: &Certificate,
    authority: &str,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<FactoryCertificateRow, Fault> {
    let found = attributes(&certificate.subject).unwrap_or_default();
    let first = |wanted| found.iter().find(|(attribute, _)| *attribute == wanted).map(|(_, text)| text.clone());
    let serial_number = first(Attribute::SerialNumber);
    let name = first(Attribute::CommonName).or_else(|| serial_number.clone());
    let name = name.ok_or_else(|| Refusal::credential("factory-name", "the certificate names nobody"))?;
    Ok(FactoryCertificateRow {
        id: certificate.fingerprint(),
        authority: authority.to_owned(),
        name,
        serial_number,
        device: None,
        der: certificate.der.clone(),
        status: PENDING.to_owned(),
        address: Some(attempt.address.to_string()),
        first_seen_at: now,
        activated_at: None,
        activated_by: None,
    })
}

/// Who lets a device in.
#[derive(Clone, Copy)]
struct By<'a> {
    name: &'a str,
    /// Whether it is somebody who decided on this one device.
    person: bool,
}

/// By which rules a device is let in.
pub(super) struct Home<'a> {
    pub(super) app: &'a App,
    pub(super) policy: &'a Arc<IdentityPolicy>,
}

/// Makes a device of a certificate that was seen; whether it had another one before.
async fn activate_in(
    tx: &mut TenantTx,
    home: &Home<'_>,
    arrived: &FactoryCertificateRow,
    factory: &FactoryAuthorityRow,
    by: By<'_>,
    request_id: RequestId,
    now: Timestamp,
) -> Result<(CertificateRow, bool), Fault> {
    let certificate = Certificate::parse(&arrived.der).map_err(Error::internal)?;
    let plan = plan_for(tx, arrived, &certificate, factory).await?;
    let row = CertificateRow {
        serial: arrived.id.clone(),
        device: plan.device.clone(),
        authority: factory.id.clone(),
        fingerprint: arrived.id.clone(),
        request: arrived.id.clone().into_bytes(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        der: arrived.der.clone(),
        status: Standing::Issued.to_string(),
        issued_at: now,
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: Way::Factory.as_str().to_owned(),
        source: Some(factory.id.clone()),
    };
    let detail = json!({ "way": row.way, "source": row.source, "by": by.name, "policies": plan.policies });
    let adoption = Adoption {
        app: home.app.clone(),
        hardware: std::iter::once(arrived.name.clone()).chain(arrived.serial_number.clone()).collect(),
        certificate: row.clone(),
        active: plan.active,
        looked_at: by.person,
        policy: Arc::clone(home.policy),
        detail,
        request_id,
    };
    let fields = |known: Option<&_>| plan.fields(known).map_err(|error| Error::invalid("", error.to_string()));
    let returning = adopt(tx, adoption, fields, now).await?;
    tx.activate_factory_certificate(&arrived.id, &plan.device, by.name, now).await?;
    let entry = Entry::done(now, Actor::system("provisioning"), Action::FactoryCertificateActivated);
    let entry = entry.device(&plan.device).subject(&arrived.id).severity(Severity::Notice);
    record(tx, &entry.detail(json!({ "by": by.name, "factory": factory.id })).request(Some(request_id))).await?;
    Ok((row, returning))
}

async fn plan_for(
    tx: &mut TenantTx,
    arrived: &FactoryCertificateRow,
    certificate: &Certificate,
    factory: &FactoryAuthorityRow,
) -> Result<Plan, Fault> {
    let body = match &factory.template {
        None => PLAIN.to_owned(),
        Some(name) => {
            let row = tx.template(name).await?.filter(|row| row.enabled);
            row.ok_or_else(|| Refusal::credential("no-template", "the factory's template is not there"))?.body
        }
    };
    let template = Template::parse(&body).map_err(|error| Error::internal(error.to_string()))?;
    let pseudo = subject::pseudo(&certificate.subject, &arrived.id);
    template.evaluate(&BTreeMap::new(), &pseudo).map_err(|error| {
        let error = Error::invalid("template", error.to_string());
        Fault::Refused(Refusal { cause: "template-parameters", error })
    })
}

/// Tells whoever listens that a device waits, as AWS does.
async fn announce(app: &App, tenant: &TenantId, id: &str, authority: &str) {
    let event = RegisteredEvent::pending(id, authority, tenant.as_str(), app.now().millis());
    let payload = serde_json::to_vec(&event).unwrap_or_default();
    if let Some(links) = app.links() {
        links.publish(tenant, format!("{REGISTERED_EVENT}{authority}"), Bytes::from(payload)).await;
    }
}

/// A page of the factories' certificates that came to a door, by id, after `after`; all, or those that wait.
pub async fn arrived(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    waiting: bool,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Arrived>> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let status = waiting.then_some(PENDING);
    let rows = app
        .read(tenant, "factory certificates", move |tx| {
            Box::pin(async move { Ok(tx.factory_certificates(status, after.as_deref(), limit).await?) })
        })
        .await?;
    Ok(rows.into_iter().map(arrived_of).collect())
}

/// Lets a device in that waits. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`device-in-use`, `factory-revoked`); `Invalid` where the template does not fit.
pub async fn activate(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<Arrived> {
    ctx.allow(tenant, Permission::DeviceActivate)?;
    let policy = identity_policy(app, tenant).await?;
    let (now, id, by, request_id) = (app.now(), id.to_owned(), ctx.principal.actor().name, ctx.request_id);
    let app_in = app.clone();
    app.write(tenant, "activate device", move |tx| {
        Box::pin(async move {
            let row = tx.factory_certificate(&id).await?.ok_or(Error::NotFound { what: "factory certificate" })?;
            if row.status != ACTIVE {
                let home = Home { app: &app_in, policy: &policy };
                activate_row(tx, &home, &row, &by, request_id, now).await?;
            }
            let row = tx.factory_certificate(&id).await?;
            row.map(arrived_of).ok_or(Error::NotFound { what: "factory certificate" })
        })
    })
    .await
}

/// Makes a device of a certificate that waits, for whoever may decide that.
pub(super) async fn activate_row(
    tx: &mut TenantTx,
    home: &Home<'_>,
    row: &FactoryCertificateRow,
    by: &str,
    request_id: RequestId,
    now: Timestamp,
) -> Result<()> {
    let factory = tx.factory_authority(&row.authority).await?.filter(|factory| factory.status == factories::ACTIVE);
    let refused = || Error::conflict("factory-revoked", "the factory lets nobody in any more");
    let factory = factory.ok_or_else(refused)?;
    match activate_in(tx, home, row, &factory, By { name: by, person: true }, request_id, now).await {
        Ok(_) => Ok(()),
        Err(Fault::Failed(error)) => Err(error),
        Err(Fault::Refused(Refusal { error: Error::Unauthenticated { reason }, cause })) => {
            Err(Error::conflict(cause, reason))
        }
        Err(Fault::Refused(Refusal { error, .. })) => Err(error),
    }
}

fn arrived_of(row: FactoryCertificateRow) -> Arrived {
    Arrived {
        id: row.id,
        authority: row.authority,
        name: row.name,
        serial_number: row.serial_number,
        device: row.device,
        status: row.status,
        address: row.address,
        first_seen_at: row.first_seen_at,
        activated_at: row.activated_at,
        activated_by: row.activated_by,
    }
}
