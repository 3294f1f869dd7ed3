//! `GET cacerts` (RFC 7030 §4.1): the authorities that a device is to trust. Anyone may ask.

use std::time::Duration;

use axum::response::Response;
use fleetward_app::{App, authority, ca_rotations};
use fleetward_base::TenantId;
use fleetward_pki::Presented;

use crate::refusal::Refusal;
use crate::{Asked, answer};

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let tenant = tenant_of(app, asked)?;
    let chain = authority::authority_chain(app, tenant.as_ref()).await?;
    count_holder(app, asked).await;
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    Ok(answer::certificates(app, asked.headers, tenant.as_ref(), &chain).await)
}

/// A device that fetches the list as itself holds the anchors in it from then on. Whether it is written down changes
/// nothing of the answer.
async fn count_holder(app: &App, asked: &Asked<'_>) {
    let Some(awaited) = authority::awaited_root(app) else { return };
    let Some(leaf) = asked.peer.leaf() else { return };
    if let Ok(verified) = authority::trust(app).load().verify(leaf, &[], app.now())
        && let Err(error) = ca_rotations::anchor_held(app, &verified.tenant, &verified.device, &awaited).await
    {
        tracing::debug!(%error, "that a device holds the new anchor was not written");
    }
}

/// The tenant that somebody who need not say who it is asks about: that of the label, of its certificate, or the default.
pub(crate) fn tenant_of(app: &App, asked: &Asked<'_>) -> Result<Option<TenantId>, Refusal> {
    let own = || {
        let (leaf, above) = asked.peer.certificates.split_first()?;
        match authority::trust(app).load().identify(leaf, above, app.now(), Duration::ZERO).ok()? {
            Presented::Device(verified) => Some(verified.tenant),
            Presented::Unbound(unbound) => Some(unbound.tenant),
            Presented::Factory(factory) => Some(factory.tenant),
            Presented::Claim(_) | Presented::Nameless(_) => None,
        }
    };
    let default = app.settings()?.default_tenant.clone();
    Ok(asked.target.label.clone().or_else(own).or(default))
}
