//! A certificate that a device was given where it was made, against one of ours.
//!
//! The factory's authority was registered by the tenant, which so decided whose devices they are (RFC 7030 §2.2 calls it a
//! previously installed certificate). The device is named by the certificate's one common name. It may come again, with
//! the same key or another: the factory's certificate stays its proof for as long as its record lets it enrol.

use async_trait::async_trait;
use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{VerifiedFactory, name};
use fleetward_store::TenantTx;

use super::channel::Request;
use super::newcomer::{self, Consume, Newcomer, Use};
use super::refusal::{Fault, Refusal, Whose, settled};
use super::renewal::check_pace;
use super::{Attempt, Enrolled, usable};
use crate::App;
use crate::error::Result;
use crate::identity_policy::identity_policy;
use crate::provisioning::jit;

/// Issues a certificate of ours to the device that proved to hold a factory's.
///
/// # Errors
/// `Unauthenticated` where the tenant does not take factories' certificates, or `label` is another tenant; `Invalid` for a
/// request or a name that breaks a rule; `Conflict` for a device that may not enrol; `TooMany`; `Pending`.
pub(super) async fn enroll_from_factory(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    factory: VerifiedFactory,
    request: Request<'_>,
) -> Result<Enrolled> {
    let whose = Whose { tenant: Some(factory.tenant.clone()), ..Whose::default() };
    let outcome = enroll(app, attempt, label, factory, request).await;
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

async fn enroll(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    factory: VerifiedFactory,
    request: Request<'_>,
) -> Result<Enrolled, Fault> {
    let tenant = factory.tenant.clone();
    let policy = identity_policy(app, &tenant).await?;
    if label.is_some_and(|label| *label != tenant) || !policy.est.factory_certificates {
        return Err(Refusal::credential("factory-certificate", "the certificate is not accepted"));
    }
    let device = match jit::registered(app, attempt, &factory).await? {
        Some(device) => device,
        None => device_named(&factory)?,
    };
    let newcomer = Newcomer {
        tenant: tenant.clone(),
        device: device.clone(),
        way: Way::Factory,
        source: Some(factory.authority),
        facts: DeviceFields::default(),
        csr: request.read(&policy.est)?,
    };
    let row = newcomer::enter(app, attempt, newcomer, Proof { device }).await?;
    Ok(Enrolled::of(&tenant, row))
}

/// The device that a factory's certificate names.
fn device_named(factory: &VerifiedFactory) -> Result<DeviceId, Fault> {
    let names = name::read(&factory.certificate.subject).ok();
    let one = names.as_ref().and_then(|names| match names.common_names.as_slice() {
        [name] => name.parse().ok(),
        _ => None,
    });
    one.ok_or_else(|| Refusal::credential("factory-name", "the certificate has no common name that can name a device"))
}

/// The key of a factory's certificate, proven in the hand-shake. It is not used up.
struct Proof {
    device: DeviceId,
}

#[async_trait]
impl Consume for Proof {
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault> {
        let same = tx.certificate_by_request(&self.device, request).await?;
        if same.is_some_and(|row| row.way == Way::Factory.as_str() && usable(&row, now)) {
            return Ok(Use::Again);
        }
        check_pace(tx, &self.device, now).await?;
        Ok(Use::First)
    }
}
