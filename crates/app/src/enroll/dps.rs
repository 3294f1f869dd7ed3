//! Registration by Azure's provisioning messages: who asks, and what comes of it. Both doors, HTTPS and MQTT, end here.
//!
//! A device shows a shared access signature made with its symmetric key, or a certificate: of a factory that the tenant
//! has registered, or of its own. It is registered, and told where to connect. One that sends a request for a certificate
//! along gets it with the answer; another has to enrol by EST with the same key before it can connect, since nobody is
//! let in here without a certificate.

mod answer;

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{csr, est};
use fleetward_store::{DpsRegistrationRow, SystemTx, TenantTx};
use fleetward_wire::azure::SasToken;
use fleetward_wire::azure::message::RegisterRequest;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::refusal::{Fault, Refusal, Whose, settled};
use super::symmetric::{self, Shown, Vouched};
use super::{Attempt, admission, issue, provenance};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::registry::row_of;
use crate::{App, authority};

pub use answer::Answer;

/// What a device shows.
pub enum Proof<'a> {
    Signature(&'a SasToken),
    Certificates(&'a [CertificateDer<'a>]),
}

/// A device that showed who it is, and may register.
#[derive(Clone, Debug)]
pub struct Registrant {
    pub tenant: TenantId,
    pub device: DeviceId,
    /// None for one that showed a certificate.
    vouched: Option<Vouched>,
}

/// What came of a registration.
#[derive(Clone, Debug)]
pub struct Registration {
    pub row: DpsRegistrationRow,
    /// Where the device is to connect.
    pub assigned_hub: String,
    /// The certificate that it asked for and those above it, in DER.
    pub chain: Vec<Vec<u8>>,
}

/// Finds out who asks.
///
/// # Errors
/// `Unauthenticated`; the cause is journaled and costs the address a part of its allowance. `TooMany`.
pub async fn sign_in(
    app: &App,
    attempt: &Attempt,
    id_scope: &str,
    registration_id: &str,
    proof: Proof<'_>,
) -> Result<Registrant> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    let mut whose = Whose::default();
    let outcome = recognise(app, attempt, id_scope, registration_id, &proof, &mut whose).await;
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

async fn recognise(
    app: &App,
    attempt: &Attempt,
    id_scope: &str,
    registration_id: &str,
    proof: &Proof<'_>,
    whose: &mut Whose,
) -> Result<Registrant, Fault> {
    // One answer for all of these: nobody learns which scopes there are.
    let unknown = |cause| Refusal::credential(cause, "unauthorized");
    let scope = id_scope.to_owned();
    let found = app
        .store()
        .system_read("tenant by id scope", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Fault>(tx.tenant_by_id_scope(&scope).await?) })
        })
        .await?;
    let tenant = found.ok_or_else(|| unknown("unknown-scope"))?;
    whose.tenant = Some(tenant.clone());
    let device: DeviceId = registration_id.parse().map_err(|_| unknown("registration-id"))?;
    let vouched = match proof {
        Proof::Signature(token) => {
            check_token(app, token, id_scope, registration_id)?;
            Some(symmetric::find(app, &tenant, &device, &Shown::Signature(token)).await?)
        }
        Proof::Certificates(chain) => {
            check_certificate(app, attempt, &tenant, &device, chain, whose).await?;
            None
        }
    };
    whose.device = Some(device.clone());
    Ok(Registrant { tenant, device, vouched })
}

fn check_token(app: &App, token: &SasToken, id_scope: &str, registration_id: &str) -> Result<(), Fault> {
    if token.resource != format!("{id_scope}/registrations/{registration_id}") {
        return Err(Refusal::credential("foreign-signature", "unauthorized"));
    }
    let now = u64::try_from(app.now().secs()).unwrap_or(0);
    if token.expires.saturating_add(limits::SAS_CLOCK_SKEW.as_secs()) < now {
        return Err(Refusal::credential("expired-signature", "unauthorized"));
    }
    if token.expires > now.saturating_add(limits::SAS_LIFE.as_secs()) {
        return Err(Refusal::credential("signature-too-long", "unauthorized"));
    }
    Ok(())
}

/// A certificate of the device's own, or of a factory. What a first connection with it would not give is not to be had here:
/// the registry, the deny list and the factory's mode are asked as there, and a device that is new is registered as there.
async fn check_certificate(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    device: &DeviceId,
    chain: &[CertificateDer<'_>],
    whose: &mut Whose,
) -> Result<(), Fault> {
    // Whose it is is said to nobody: all refusals are one to the caller.
    let untold = |fault| match fault {
        Fault::Refused(Refusal { cause, .. }) => Refusal::credential(cause, "unauthorized"),
        failed => failed,
    };
    let admitted = match admission::shown(app, attempt, chain).await {
        Ok(admitted) => admitted,
        Err((found, fault)) => {
            *whose = found;
            return Err(untold(fault));
        }
    };
    if admitted.tenant == *tenant && admitted.device == *device {
        return Ok(());
    }
    Err(Refusal::credential("foreign-certificate", "unauthorized"))
}

/// Registers the device, with a certificate where it sent a request for one.
///
/// # Errors
/// `Invalid` for a body that breaks a rule; what a rule of the tenant refuses; `Pending` never: who waits for a person is
/// told to ask after its operation.
pub async fn register(
    app: &App,
    attempt: &Attempt,
    registrant: &Registrant,
    request: &RegisterRequest,
) -> Result<Registration> {
    let whose =
        Whose { tenant: Some(registrant.tenant.clone()), device: Some(registrant.device.clone()), ..Whose::default() };
    let outcome = try_register(app, attempt, registrant, request).await;
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

async fn try_register(
    app: &App,
    attempt: &Attempt,
    registrant: &Registrant,
    request: &RegisterRequest,
) -> Result<Registration, Fault> {
    if request.registration_id.as_ref().is_some_and(|id| id != registrant.device.as_str()) {
        return Err(Error::invalid("registrationId", "is not that of the credential").into());
    }
    if request.tpm.is_some() {
        return Err(Error::invalid("tpm", "attestation by TPM is offered by EST, not here").into());
    }
    let csr = csr_of(request)?;
    let mut random = [0; 16];
    app.rng().fill(&mut random);
    let operation = format!("4.{}", super::approval::hex(&random));
    let mut row = DpsRegistrationRow {
        id: registrant.device.clone(),
        operation,
        status: ASSIGNED.to_owned(),
        enrollment: registrant.vouched.as_ref().map(Vouched::source),
        serial: None,
        request: csr,
        payload: registrant.vouched.as_ref().and_then(|vouched| vouched.payload.clone()),
        created_at: app.now(),
        updated_at: app.now(),
        revision: 1,
    };
    complete(app, attempt, registrant, &mut row).await?;
    let row = keep(app, attempt, registrant, row).await?;
    present(app, registrant, row).await
}

const ASSIGNED: &str = "assigned";
const ASSIGNING: &str = "assigning";

/// Has the certificate issued that was asked for; one that waits for a person stays `assigning`.
async fn complete(
    app: &App,
    attempt: &Attempt,
    registrant: &Registrant,
    row: &mut DpsRegistrationRow,
) -> Result<(), Fault> {
    let Some(csr) = &row.request else { return Ok(()) };
    let Some(vouched) = registrant.vouched.clone() else {
        let error = Error::invalid("csr", "a device with a certificate renews it by EST simplereenroll");
        return Err(error.into());
    };
    let (tenant, device, csr) = (&registrant.tenant, registrant.device.clone(), csr::parse(csr)?);
    match symmetric::enter(app, attempt, tenant, device, vouched, csr).await {
        Ok(certificate) => {
            row.serial = Some(certificate.serial);
            row.status = ASSIGNED.to_owned();
            Ok(())
        }
        Err(Fault::Failed(Error::Pending { .. })) => {
            row.status = ASSIGNING.to_owned();
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

/// Keeps the registration, and the device's record where there is none yet.
async fn keep(
    app: &App,
    attempt: &Attempt,
    registrant: &Registrant,
    row: DpsRegistrationRow,
) -> Result<DpsRegistrationRow, Fault> {
    let policy = identity_policy(app, &registrant.tenant).await?;
    let (request_id, facts) = (attempt.request_id, registrant.vouched.as_ref().map(|v| v.facts.clone()));
    app.store()
        .write(&registrant.tenant, "dps registration", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let (now, facts) = (row.updated_at, facts.unwrap_or_default());
                let made = provenance::admit(tx, &policy.enrolment, &row.id, &facts).await?;
                if row.status == ASSIGNED {
                    record_device(tx, &row, made.as_ref(), facts, request_id).await?;
                }
                let before = tx.dps_registration(&row.id).await?;
                let row = match before {
                    Some(before) => {
                        DpsRegistrationRow { created_at: before.created_at, revision: before.revision + 1, ..row }
                    }
                    None => row,
                };
                tx.put_dps_registration(&row).await?;
                let detail = json!({ "status": row.status, "enrollment": row.enrollment, "serial": row.serial });
                let entry = Entry::done(now, Actor::device(&row.id), Action::DeviceRegistered).device(&row.id);
                record(tx, &entry.subject(&row.operation).detail(detail).request(Some(request_id))).await?;
                Ok(row)
            })
        })
        .await
}

async fn record_device(
    tx: &mut TenantTx,
    row: &DpsRegistrationRow,
    made: Option<&fleetward_store::InventoryRow>,
    facts: DeviceFields,
    request_id: fleetward_base::RequestId,
) -> Result<(), Fault> {
    let before = issue::device_for_enrolment(tx, &row.id, request_id, row.updated_at).await?;
    let facts = provenance::facts(&before, made, facts);
    let known = before
        .amend(facts, row.updated_at)
        .map_err(|invalid| Fault::Failed(Error::invalid(invalid.field, invalid.why)))?;
    if known.revision != before.revision {
        tx.update_device(&row_of(&known)?, before.revision).await?;
    }
    Ok(())
}

/// What came of an operation; one that waited is tried once more.
///
/// # Errors
/// `NotFound` where the device has no such operation.
pub async fn operation(
    app: &App,
    attempt: &Attempt,
    registrant: &Registrant,
    operation: Option<&str>,
) -> Result<Registration> {
    let device = registrant.device.clone();
    let row = app
        .read(&registrant.tenant, "dps registration", move |tx| {
            Box::pin(async move { Ok(tx.dps_registration(&device).await?) })
        })
        .await?;
    let row = row.filter(|row| operation.is_none_or(|asked| asked == row.operation));
    let mut row = row.ok_or(Error::NotFound { what: "registration" })?;
    if row.status == ASSIGNING {
        let whose = Whose {
            tenant: Some(registrant.tenant.clone()),
            device: Some(registrant.device.clone()),
            ..Whose::default()
        };
        let again = async {
            complete(app, attempt, registrant, &mut row).await?;
            if row.status == ASSIGNED {
                row.updated_at = app.now();
                row = keep(app, attempt, registrant, row.clone()).await?;
            }
            Ok::<_, Fault>(())
        };
        let outcome = again.await;
        settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await?;
    }
    present(app, registrant, row).await.map_err(|fault| match fault {
        Fault::Failed(error) => error,
        Fault::Refused(refusal) => refusal.error,
    })
}

async fn present(app: &App, registrant: &Registrant, row: DpsRegistrationRow) -> Result<Registration, Fault> {
    let mut chain = Vec::new();
    if let Some(serial) = row.serial.clone() {
        let leaf = app
            .read(&registrant.tenant, "certificate", move |tx| {
                Box::pin(async move { Ok(tx.certificate(&serial).await?) })
            })
            .await?;
        chain.extend(leaf.map(|leaf| leaf.der));
        chain.extend(authority::authority_chain(app, Some(&registrant.tenant)).await?);
    }
    Ok(Registration { row, assigned_hub: app.settings()?.device_host.clone(), chain })
}

/// The request for a certificate, in DER, from either field that clients put it into.
fn csr_of(request: &RegisterRequest) -> Result<Option<Vec<u8>>, Fault> {
    let (field, text) = match (&request.csr, &request.client_certificate_csr) {
        (Some(text), _) => ("csr", text),
        (None, Some(text)) => ("clientCertificateCsr", text),
        (None, None) => return Ok(None),
    };
    let der = est::decode(text.as_bytes()).map_err(|_| Error::invalid(field, "not PKCS#10, in base64 or PEM"))?;
    Ok(Some(der))
}
