//! What an external broker asks: who may connect, and what a device may publish and subscribe to.
//!
//! The broker is a principal of one tenant, by an API token, and asks about that tenant's devices; of others it learns nothing, not
//! even that they are there. The answers are those of our own broker: the same admission, the same rules on topics. What the broker
//! says of a client it has seen itself (the name in a certificate that it verified, say); with a certificate or a token at hand it is
//! looked at here.

use std::net::IpAddr;

use fleetward_base::{DeviceId, Secret, TenantId, Timestamp};
use fleetward_core::access::{DeviceRights, Permission};
use fleetward_core::token_issuer::{Login, looks_like_token};
use fleetward_core::topic_policy::Act;
use rustls_pki_types::CertificateDer;

use crate::enroll::{Admitted, Attempt, admit_bearer, admit_chain, rights_by_name};
use crate::error::{Error, Result};
use crate::topic_policies::rights_of;
use crate::{App, Ctx, Principal};

/// What stands for the serial number of a certificate that only the broker has seen: policies of single certificates do not count.
const SERIAL: &str = "external";

/// What a broker knows of a client that connects.
#[derive(Debug, Default)]
pub struct Client {
    /// Empty where the client leaves the choice to the broker.
    pub client_id: String,
    /// The user name; where the broker takes the certificate's name for it, that.
    pub user_name: String,
    pub password: Option<Secret<String>>,
    /// The name in a certificate that the broker has verified.
    pub common_name: Option<String>,
    /// The broker makes the user name from such a certificate, so that it stands for one.
    pub named_by_tls: bool,
    /// The certificate itself, and what came with it, the client's own first.
    pub chain: Vec<CertificateDer<'static>>,
    pub address: Option<IpAddr>,
}

/// A client that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub device: DeviceId,
    pub rights: DeviceRights,
    /// Until then at the longest; none where only the broker knows.
    pub until: Option<Timestamp>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    Allow(T),
    Deny,
    /// It is no device at all: somebody else may know it, such as the broker's own list.
    Ignore,
}

/// Whether a client may connect to the external broker of the caller's tenant.
///
/// # Errors
/// `Denied`, `NotFound` for a caller that is not of one tenant; where the store does not answer, or the client tries too often.
pub async fn may_connect(app: &App, ctx: &Ctx, client: &Client) -> Result<Answer<Welcome>> {
    let tenant = tenant_of(ctx)?;
    let address = client.address.or(ctx.address).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let attempt = Attempt { address, request_id: ctx.request_id };
    let password = client.password.as_ref().filter(|password| looks_like_token(password.expose()));
    let admitted = if !client.chain.is_empty() {
        admit_chain(app, &attempt, &client.chain).await
    } else if let Some(token) = password {
        let Some(login) = Login::parse(&client.user_name) else { return Ok(Answer::Deny) };
        admit_bearer(app, &attempt, &login, &client.client_id, token).await
    } else {
        return by_name(app, &tenant, client).await;
    };
    let Admitted { tenant: home, device, serial, not_after, rights } = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return denied(error),
    };
    // With a token the user name says the tenant too, and was held against it.
    let by_chain = !client.chain.is_empty();
    let named = is_own(&client.client_id, &device) && (!by_chain || is_own(&client.user_name, &device));
    if home != tenant || !named || rights_of(app, &tenant, &device, &serial).await?.connect_denied().is_some() {
        return Ok(Answer::Deny);
    }
    Ok(Answer::Allow(Welcome { device, rights, until: Some(not_after) }))
}

/// Nothing, or the device's own name.
fn is_own(said: &str, device: &DeviceId) -> bool {
    said.is_empty() || said == device.as_str()
}

/// By the name that the broker has from a certificate.
async fn by_name(app: &App, tenant: &TenantId, client: &Client) -> Result<Answer<Welcome>> {
    let name = client.common_name.as_deref().unwrap_or(&client.user_name);
    let Ok(device) = name.parse::<DeviceId>() else { return Ok(Answer::Ignore) };
    // What it may do is asked by the user name later: a client chooses neither that nor its client id.
    let proved = client.common_name.is_some() || client.named_by_tls;
    if !proved || !is_own(&client.client_id, &device) || !is_own(&client.user_name, &device) {
        return Ok(Answer::Deny);
    }
    let Some(rights) = rights_by_name(app, tenant, &device).await? else { return Ok(Answer::Deny) };
    if rights_of(app, tenant, &device, SERIAL).await?.connect_denied().is_some() {
        return Ok(Answer::Deny);
    }
    Ok(Answer::Allow(Welcome { device, rights, until: None }))
}

/// Whether the client of this name may do it on the external broker of the caller's tenant: by the tenant's topic policies and
/// by the built-in rules. `topic` is a filter where it subscribes.
///
/// # Errors
/// As for [`may_connect`].
pub async fn may_act(app: &App, ctx: &Ctx, name: &str, act: Act, topic: &str) -> Result<Answer<()>> {
    let tenant = tenant_of(ctx)?;
    let Ok(device) = name.parse::<DeviceId>() else { return Ok(Answer::Ignore) };
    let Some(rights) = rights_by_name(app, &tenant, &device).await? else { return Ok(Answer::Deny) };
    let policies = rights_of(app, &tenant, &device, SERIAL).await?;
    let rules = app.links().ok_or(Error::Unavailable { what: "the rules on topics" })?;
    let built_in = |act| rules.built_in(rights, &device, act, topic);
    let judged = policies.judge(act, topic, device.as_str(), rights == DeviceRights::Full, built_in);
    Ok(if judged.is_allowed() { Answer::Allow(()) } else { Answer::Deny })
}

/// The lines of an access list in Mosquitto's form, which say what [`may_act`] would for a device with all its rights.
///
/// # Errors
/// `Denied`; `NotFound` for a caller that is not of one tenant.
pub fn access_list(app: &App, ctx: &Ctx) -> Result<String> {
    tenant_of(ctx)?;
    Ok(app.links().ok_or(Error::Unavailable { what: "the rules on topics" })?.access_list())
}

/// The tenant whose broker asks. A principal of the installation is nobody's broker.
fn tenant_of(ctx: &Ctx) -> Result<TenantId> {
    let home = match &ctx.principal {
        Principal::Operator { tenant, .. } => tenant.clone(),
        Principal::Device { .. } | Principal::System { .. } => None,
    };
    let tenant = home.ok_or(Error::NotFound { what: "tenant" })?;
    ctx.allow(&tenant, Permission::BrokerAsk)?;
    Ok(tenant)
}

/// A refusal of the client is an answer; that it could not be found out is none.
fn denied(error: Error) -> Result<Answer<Welcome>> {
    match error {
        Error::Unauthenticated { .. }
        | Error::NotFound { .. }
        | Error::Denied { .. }
        | Error::Untrusted { .. }
        | Error::Conflict { .. }
        | Error::Invalid { .. } => Ok(Answer::Deny),
        error => Err(error),
    }
}
