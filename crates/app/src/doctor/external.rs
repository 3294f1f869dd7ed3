//! Issuers elsewhere: each is asked whether it would sign, and with an authority that is registered here.
//!
//! All are asked at once, within a bound, and none is waited for longer than its time, so that one that hangs makes no
//! examination hang. One that fails is that tenant's trouble and a warning: the installation goes on, and so do devices
//! that have their certificates.

use std::collections::BTreeSet;

use fleetward_base::{TenantId, limits};
use fleetward_core::issuer::{IssuerKind, Purpose};
use fleetward_store::SystemTx;
use futures::{StreamExt, stream};

use super::Check;
use crate::App;
use crate::error::Error;
use crate::issuers::check_issuer;

const NAME: &str = "external-issuers";
/// Asks all of them.
pub(super) async fn issuers(app: &App) -> Check {
    let known = app
        .store()
        .system_read("issuers", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.issuer_revisions().await?) })
        })
        .await;
    let known = match known {
        Ok(known) => known,
        Err(error) => return Check::fail(NAME, format!("the issuers are not known: {error}"), "see store"),
    };
    let tenants: Vec<TenantId> = known.into_iter().filter_map(|of| of.tenant).collect();
    let left = tenants.len().saturating_sub(limits::ISSUER_CHECKS);
    let asked = stream::iter(tenants.into_iter().take(limits::ISSUER_CHECKS))
        .map(|tenant| async move { ask(app, &tenant).await })
        .buffer_unordered(limits::ISSUER_CHECKS_AT_ONCE);
    let found: Vec<Found> = asked.filter_map(std::future::ready).collect().await;
    told(&found, left)
}

/// What one issuer said.
struct Found {
    kind: &'static str,
    fault: Option<String>,
    signed_here: Vec<(Purpose, &'static str)>,
}

/// None where the tenant's own key signs, which another check tries.
async fn ask(app: &App, tenant: &TenantId) -> Option<Found> {
    let fault = |fault: String| Some(Found { kind: "an issuer", fault: Some(fault), signed_here: Vec::new() });
    let check = check_issuer(app, tenant);
    match tokio::time::timeout(limits::ISSUER_CHECK_DEADLINE, check).await {
        Ok(Ok(check)) if check.kind == IssuerKind::BuiltIn && check.fault.is_none() => None,
        Ok(Ok(check)) => Some(Found { kind: check.kind.as_str(), fault: check.fault, signed_here: check.signed_here }),
        // A tenant whose vault is disabled, or that is gone, has no issuer that could be asked.
        Ok(Err(Error::Unavailable { .. } | Error::NotFound { .. })) => None,
        Ok(Err(error)) => fault(error.to_string()),
        Err(_) => {
            let seconds = limits::ISSUER_CHECK_DEADLINE.as_secs();
            fault(format!("did not answer within {seconds} s"))
        }
    }
}

fn told(found: &[Found], left: usize) -> Check {
    let faults: Vec<(&Found, &String)> =
        found.iter().filter_map(|found| Some((found, found.fault.as_ref()?))).collect();
    let mut detail = format!("{} answer, {} do not", found.len() - faults.len(), faults.len());
    if left > 0 {
        detail.push_str(&format!(", {left} were not asked"));
    }
    if let Some((first, fault)) = faults.first() {
        let detail = format!("{detail}: {}: {fault}", first.kind);
        return Check::warn(NAME, detail, "wardctl issuer check, for each tenant that has one; the log names them");
    }
    if found.is_empty() {
        return Check::ok(NAME, "there is none: the built-in authorities sign");
    }
    // Said where there is one, so that nobody has to find out.
    let ours: BTreeSet<String> =
        found.iter().flat_map(|found| &found.signed_here).map(|(purpose, why)| format!("{purpose} ({why})")).collect();
    let ours = ours.into_iter().collect::<Vec<_>>().join(", ");
    Check::ok(NAME, format!("{detail}; signed by the built-in authority all the same: {ours}"))
}
