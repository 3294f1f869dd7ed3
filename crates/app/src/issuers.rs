//! Issuers of tenants: who signs, told by an administrator; whether it works, asked by anyone who may look.
//!
//! Another issuer takes over at once for what is signed from then on. Certificates that the earlier one signed count
//! until their end: its authorities stay known until nothing rests on them (`reconcile::authorities`).

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_core::issuer::{Issuer as Config, IssuerKind, Purpose};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::{Certificate, foreign};
use fleetward_store::{AuthorityRow, AuthorityStandingRow, IssuerRow, Of, SystemTx, TenantTx};
use serde_json::json;

use crate::authority::standing::{CURRENT, RETIRING, REVOKED, is_over, standing_of};
use crate::authority::{
    self, Credential, EXTERNAL, External, TenantIssuer, config_of, forget_issuer, open_credential, seal_credential,
};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

pub use crate::authority::RecentHealth;

/// A tenant's issuer, without its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerView {
    pub config: Config,
    /// Whether there is a credential.
    pub credential: bool,
    /// 0 where nobody ever said.
    pub revision: u64,
    pub updated_at: Option<Timestamp>,
    /// `None` where our own key signs, or nobody asked since the start.
    pub recent: Option<RecentHealth>,
    /// What our own authority signs all the same, and why.
    pub signed_here: Vec<(Purpose, &'static str)>,
}

/// What [`check_issuer`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerCheck {
    pub kind: IssuerKind,
    /// What is wrong, in words; `None` where all is well.
    pub fault: Option<String>,
    /// The end of the authority that signs.
    pub authority_ends: Option<Timestamp>,
    pub recent: Option<RecentHealth>,
    /// What our own authority signs all the same, and why.
    pub signed_here: Vec<(Purpose, &'static str)>,
}

/// Who signs for the tenant.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn issuer(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<IssuerView> {
    ctx.allow(tenant, Permission::IssuerRead)?;
    let row = app
        .read(tenant, "issuer", |tx: &mut TenantTx| {
            Box::pin(async move {
                tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
                Ok(tx.issuer().await?)
            })
        })
        .await?;
    let recent = recent(app, tenant).await;
    let Some(row) = row else {
        return Ok(IssuerView {
            config: Config::BuiltIn,
            credential: false,
            revision: 0,
            updated_at: None,
            recent: None,
            signed_here: Vec::new(),
        });
    };
    let credential = !row.credential.is_empty();
    let config = config_of(&row)?;
    let signed_here = config.signed_here();
    let (revision, updated_at) = (row.revision, Some(row.updated_at));
    Ok(IssuerView { config, credential, revision, updated_at, recent, signed_here })
}

async fn recent(app: &App, tenant: &TenantId) -> Option<RecentHealth> {
    match authority::issuer(app, tenant).await.ok()? {
        TenantIssuer::BuiltIn => None,
        TenantIssuer::External(external) => Some(external.recent(app.clock().monotonic())),
    }
}

/// Has somebody else sign from now on, if the issuer is still at `expected`. Without a credential the one that is kept
/// stays, as long as the address does: nobody may send it elsewhere who does not know it.
///
/// # Errors
/// `NotFound`, `Denied`, `Stale`; `Invalid` with the field; `Conflict` (`authority-taken`) where one of its authorities
/// is another tenant's.
pub async fn set_issuer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    expected: u64,
    config: Config,
    credential: Option<Credential>,
) -> Result<IssuerView> {
    ctx.allow(tenant, Permission::IssuerUpdate)?;
    config.check().map_err(|error| Error::invalid(error.field, error.reason))?;
    let before = app
        .read(tenant, "issuer before", |tx: &mut TenantTx| {
            Box::pin(async move {
                tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
                Ok(tx.issuer().await?)
            })
        })
        .await?;
    let found = before.as_ref().map_or(0, |row| row.revision);
    if found != expected {
        return Err(Error::Stale { expected, found });
    }
    let sealed = sealed_credential(app, tenant, before.as_ref(), &config, credential)?;
    let authorities = authorities_of(app, tenant, &config).await?;
    let now = app.now();
    let row = IssuerRow {
        kind: config.kind().as_str().to_owned(),
        config: serde_json::to_string(&config).map_err(Error::internal)?,
        credential: sealed,
        revision: expected + 1,
        updated_at: now,
    };
    let detail = json!({ "kind": row.kind, "url": config.url() });
    let entry = ctx.done(now, Action::IssuerUpdated).severity(Severity::Notice).detail(detail);
    app.write(tenant, "set issuer", move |tx: &mut TenantTx| {
        Box::pin(async move {
            if expected == 0 {
                tx.insert_issuer(&row).await?;
            } else if !tx.update_issuer(&row, expected).await? {
                return Err(Error::Stale { expected, found: expected + 1 });
            }
            register(tx, &authorities, now).await?;
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await?;
    forget_issuer(app, tenant);
    authority::refresh_trust(app).await?;
    issuer(app, ctx, tenant).await
}

fn sealed_credential(
    app: &App,
    tenant: &TenantId,
    before: Option<&IssuerRow>,
    config: &Config,
    given: Option<Credential>,
) -> Result<Vec<u8>> {
    if *config == Config::BuiltIn {
        return Ok(Vec::new());
    }
    if let Some(credential) = given {
        External::new(config.clone(), &credential)?;
        return seal_credential(app, tenant, &credential);
    }
    let same_place = match before {
        Some(row) => {
            let old = config_of(row)?;
            old.kind() == config.kind() && old.url() == config.url() && old.tls_ca() == config.tls_ca()
        }
        None => false,
    };
    let kept = before.filter(|_| same_place).map(|row| row.credential.clone()).unwrap_or_default();
    External::new(config.clone(), &open_credential(app, tenant, &kept)?)?;
    Ok(kept)
}

/// The authorities of the configuration, each one that can be an anchor and is nobody else's.
async fn authorities_of(app: &App, tenant: &TenantId, config: &Config) -> Result<Vec<Certificate>> {
    if *config == Config::BuiltIn {
        return Ok(Vec::new());
    }
    let blocks = fleetward_pki::pem::read(fleetward_pki::pem::CERTIFICATE, config.authorities());
    let blocks = blocks.map_err(|error| Error::invalid("authorities", error.to_string()))?;
    let mut authorities = Vec::new();
    for der in &blocks {
        let authority = foreign::check_authority(der, tenant);
        authorities.push(authority.map_err(|error| Error::invalid("authorities", error.to_string()))?);
    }
    let known = app
        .store()
        .system_read("authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.all_authorities().await?) })
        })
        .await?;
    let foreign = |of: &&Of<AuthorityRow>| of.tenant.as_ref() != Some(tenant);
    for row in known.iter().filter(foreign) {
        // By its key, since a certificate of the same key names the same authority.
        let Ok(theirs) = Certificate::parse(&row.row.der) else { continue };
        if authorities.iter().any(|ours| ours.spki == theirs.spki) {
            let reason = "one of these authorities belongs to another tenant, or to the installation itself";
            return Err(Error::conflict("authority-taken", reason));
        }
    }
    Ok(authorities)
}

/// Makes these the external authorities that are current; others that were retire when nothing rests on them.
async fn register(tx: &mut TenantTx, authorities: &[Certificate], now: Timestamp) -> Result<()> {
    let fingerprints: Vec<String> = authorities.iter().map(Certificate::fingerprint).collect();
    let before = tx.authority_standings().await?;
    for (authority, fingerprint) in authorities.iter().zip(&fingerprints) {
        if standing_of(&before, fingerprint) == REVOKED {
            return Err(Error::conflict("authority-revoked", "one of these authorities was revoked"));
        }
        let row = AuthorityRow {
            fingerprint: fingerprint.clone(),
            kind: EXTERNAL.to_owned(),
            der: authority.der.clone(),
            key_purpose: String::new(),
            not_after: authority.not_after,
            created_at: now,
        };
        tx.put_authority(&row).await?;
        let standing =
            AuthorityStandingRow { fingerprint: fingerprint.clone(), standing: CURRENT.to_owned(), since: now };
        tx.put_authority_standing(&standing).await?;
    }
    let standings = tx.authority_standings().await?;
    let rows = tx.authorities().await?;
    for row in rows.iter().filter(|row| row.kind == EXTERNAL && !fingerprints.contains(&row.fingerprint)) {
        if !is_over(standing_of(&standings, &row.fingerprint)) {
            let fingerprint = row.fingerprint.clone();
            let standing = AuthorityStandingRow { fingerprint, standing: RETIRING.to_owned(), since: now };
            tx.put_authority_standing(&standing).await?;
        }
    }
    Ok(())
}

/// Asks the issuer of a tenant whether it would sign, and with an authority that is registered. For `doctor`.
///
/// # Errors
/// Where our own store does not answer; what is wrong with the issuer is in the answer.
pub async fn check_issuer(app: &App, tenant: &TenantId) -> Result<IssuerCheck> {
    let external = match authority::issuer(app, tenant).await {
        Ok(TenantIssuer::External(external)) => external,
        Ok(TenantIssuer::BuiltIn) => return check_own(app, tenant).await,
        Err(error @ Error::Unavailable { .. }) => return Err(error),
        Err(error) => {
            let fault = Some(format!("the issuer cannot be used: {error}"));
            return Ok(IssuerCheck {
                kind: IssuerKind::BuiltIn,
                fault,
                authority_ends: None,
                recent: None,
                signed_here: Vec::new(),
            });
        }
    };
    let registered = external.authorities().iter().filter_map(|der| Certificate::parse(der).ok());
    let registered: Vec<Certificate> = registered.collect();
    let ends = registered.iter().map(|certificate| certificate.not_after).max();
    let fault = match external.present_authorities(app).await {
        Err(failure) => Some(format!("the issuer {failure}")),
        Ok(present) if !present.iter().any(|der| external.authorities().contains(der)) => {
            Some("the issuer signs with an authority that is not registered here".to_owned())
        }
        Ok(_) if ends.is_none_or(|end| end < app.now()) => Some("the registered authority has expired".to_owned()),
        Ok(_) => None,
    };
    let recent = Some(external.recent(app.clock().monotonic()));
    let signed_here = external.config().signed_here();
    Ok(IssuerCheck { kind: external.kind(), fault, authority_ends: ends, recent, signed_here })
}

async fn check_own(app: &App, tenant: &TenantId) -> Result<IssuerCheck> {
    let kind = IssuerKind::BuiltIn;
    match authority::issuing_ends(app, tenant).await {
        Ok(end) => {
            let fault = (end < app.now()).then(|| "the issuing authority has expired".to_owned());
            Ok(IssuerCheck { kind, fault, authority_ends: Some(end), recent: None, signed_here: Vec::new() })
        }
        Err(error @ (Error::Unavailable { .. } | Error::NotFound { .. })) => Err(error),
        Err(error) => {
            let fault = Some(format!("the issuing authority does not open: {error}"));
            Ok(IssuerCheck { kind, fault, authority_ends: None, recent: None, signed_here: Vec::new() })
        }
    }
}
