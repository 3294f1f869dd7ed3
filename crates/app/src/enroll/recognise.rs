//! Whose certificate was shown: by its own name, by the registry, or by the factory that issued it.

use std::time::Duration;

use fleetward_base::TenantId;
use fleetward_pki::Verified;
use fleetward_pki::trust::{Presented, VerifiedUnbound};
use fleetward_store::TenantTx;
use rustls_pki_types::CertificateDer;

use super::Attempt;
use super::refusal::{Fault, Refusal};
use crate::provisioning::jit;
use crate::{App, authority};

/// The device that proved to hold the first of the certificates; where it is none, whose tenant it is as far as that is
/// known, and why.
pub(super) async fn recognise(
    app: &App,
    attempt: &Attempt,
    presented: &[CertificateDer<'_>],
) -> Result<Verified, (Option<TenantId>, Fault)> {
    let none = || (None, Refusal::credential("no-certificate", "there is no certificate"));
    let (leaf, above) = presented.split_first().ok_or_else(none)?;
    let found = authority::trust(app).load().identify(leaf, above, app.now(), Duration::ZERO);
    match found.map_err(|error| (None, Refusal::credential(error.code(), "the certificate is not accepted")))? {
        Presented::Device(verified) => Ok(verified),
        Presented::Unbound(unbound) => {
            let tenant = unbound.tenant.clone();
            bound(app, unbound).await.map_err(|fault| (Some(tenant), fault))
        }
        Presented::Factory(factory) => {
            jit::recognise(app, attempt, &factory).await.map_err(|fault| (Some(factory.tenant), fault))
        }
        Presented::Claim(claim) => {
            Err((Some(claim.tenant), Refusal::credential("claim-certificate", "a claim is no device")))
        }
    }
}

/// The device that the registry has for a certificate that names none. One that waits for its device is not there yet.
pub(super) async fn bound(app: &App, unbound: VerifiedUnbound) -> Result<Verified, Fault> {
    let VerifiedUnbound { tenant, serial, fingerprint, not_before, not_after } = unbound;
    let asked = serial.clone();
    let row = app
        .store()
        .read(&tenant, "certificate", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok::<_, Fault>(tx.certificate(&asked).await?) })
        })
        .await?;
    let row = row.filter(|row| row.fingerprint == fingerprint);
    let row = row.ok_or_else(|| Refusal::credential("unowned-certificate", "the certificate is no device's"))?;
    Ok(Verified { tenant, device: row.device, serial, fingerprint, not_before, not_after })
}
