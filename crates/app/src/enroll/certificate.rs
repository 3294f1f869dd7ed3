//! Whoever shows a certificate and asks for another: a device of ours renews, one from a factory enrols.

use std::time::Duration;

use fleetward_base::TenantId;
use fleetward_core::journal::Action;
use fleetward_pki::Presented;
use rustls_pki_types::CertificateDer;

use super::channel::Request;
use super::factory::enroll_from_factory;
use super::refusal::{Refusal, Whose, settle};
use super::renewal::reenroll_device;
use super::{Attempt, Enrolled};
use crate::error::Result;
use crate::{App, authority};

/// Issues a certificate to whoever proved to hold the first of `chain` in its hand-shake. Clients ask for it by either name,
/// `simpleenroll` or `simplereenroll`: strongSwan always by the latter.
///
/// # Errors
/// As [`reenroll_device`]; `Unauthenticated` for a certificate that is nobody's, or only good for provisioning.
pub async fn enroll_with_certificate(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    chain: &[CertificateDer<'_>],
    request: Request<'_>,
) -> Result<Enrolled> {
    let refuse = |cause| Refusal::credential(cause, "the certificate is not accepted");
    let Some((leaf, above)) = chain.split_first() else {
        let fault = refuse("no-certificate");
        return Err(settle(app, attempt, Action::EnrollmentRefused, Whose::default(), fault).await);
    };
    // Bound here, so that the index is not held while the store is asked.
    let known = authority::trust(app).load().identify(leaf, above, app.now(), Duration::ZERO);
    match known {
        Ok(Presented::Factory(factory)) => {
            app.gate().check(attempt.address, app.clock().monotonic())?;
            enroll_from_factory(app, attempt, label, *factory, request).await
        }
        Ok(Presented::Claim(claim)) => {
            let whose = Whose { tenant: Some(claim.tenant), serial: Some(claim.serial), ..Whose::default() };
            Err(settle(app, attempt, Action::EnrollmentRefused, whose, refuse("claim-certificate")).await)
        }
        Ok(Presented::Device(_) | Presented::Unbound(_) | Presented::Nameless(_)) | Err(_) => {
            reenroll_device(app, attempt, label, leaf, request).await
        }
    }
}
