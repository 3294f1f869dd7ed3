//! Whose certificate was shown: by its own name, by the registry, or by the factory that issued it.

use std::time::Duration;

use fleetward_pki::Verified;
use fleetward_pki::trust::{Presented, VerifiedUnbound};
use fleetward_store::TenantTx;
use rustls_pki_types::CertificateDer;

use super::refusal::{Fault, Refusal, UNKNOWN_CERTIFICATE, Whose};
use super::{Attempt, unlogged};
use crate::provisioning::jit;
use crate::{App, authority};

/// The device that proved to hold the first of the certificates; where it is none, whose it is as far as that is known, and
/// why.
pub(super) async fn recognise(
    app: &App,
    attempt: &Attempt,
    presented: &[CertificateDer<'_>],
) -> Result<Verified, (Whose, Fault)> {
    let nobody = |cause, reason| (Whose::default(), Refusal::credential(cause, reason));
    let Some((leaf, above)) = presented.split_first() else {
        return Err(nobody("no-certificate", "there is no certificate"));
    };
    let found = authority::trust(app).load().identify(leaf, above, app.now(), Duration::ZERO);
    match found.map_err(|error| nobody(error.code(), "the certificate is not accepted"))? {
        Presented::Device(verified) => Ok(verified),
        Presented::Unbound(unbound) => {
            let whose = whose(&unbound);
            bound(app, unbound).await.map_err(|fault| (whose, fault))
        }
        Presented::Factory(factory) => {
            let whose = Whose { tenant: Some(factory.tenant.clone()), ..Whose::default() };
            jit::recognise(app, attempt, &factory).await.map_err(|fault| (whose, fault))
        }
        Presented::Claim(claim) => {
            let whose = Whose { tenant: Some(claim.tenant), ..Whose::default() };
            Err((whose, Refusal::credential("claim-certificate", "a claim is no device")))
        }
        Presented::Nameless(shown) => Err(unlogged::nameless(app, shown).await),
    }
}

/// Whose a certificate is that names no device.
pub(super) fn whose(unbound: &VerifiedUnbound) -> Whose {
    Whose { tenant: Some(unbound.tenant.clone()), serial: Some(unbound.serial.clone()), ..Whose::default() }
}

/// The device that the registry has for a certificate that names none. One that waits for its device is not there yet.
pub(super) async fn bound(app: &App, unbound: VerifiedUnbound) -> Result<Verified, Fault> {
    let VerifiedUnbound { tenant, serial, fingerprint, not_before, not_after } = unbound;
    let (asked, shown) = (serial.clone(), fingerprint.clone());
    let (row, waited) = app
        .store()
        .read(&tenant, "certificate", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let row = tx.certificate(&asked).await?.filter(|row| row.fingerprint == shown);
                // One that was issued to a claim is in no registry before it has a device, and never where it gets none.
                let waited = row.is_none() && tx.waited(&asked).await?;
                Ok::<_, Fault>((row, waited))
            })
        })
        .await?;
    let cause = if waited { "unowned-certificate" } else { UNKNOWN_CERTIFICATE };
    let row = row.ok_or_else(|| Refusal::credential(cause, "the certificate is no device's"))?;
    Ok(Verified { tenant, device: row.device, serial, fingerprint, not_before, not_after })
}
