//! First boot and every boot: root, infra authority, and a certificate for this server.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_pki::ca::{self, ServerName, Vouches};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial, Signer, SoftKey};
use fleetward_store::{AuthorityRow, SystemTx};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::keys::{self, Opened, Stored};
use super::standing::{is_over, standing_of};
use super::{following, offline};
use crate::error::{Error, Result};
use crate::{App, vault};

pub(super) const ROOT: &str = "root";
pub(super) const INFRA: &str = "infra";
/// Under a root that is kept offline: what signs the issuing authorities of tenants.
pub(super) const TENANTS: &str = "tenants";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
pub(super) const ROOT_LIFE: Duration = YEAR.saturating_mul(25);
pub(super) const AUTHORITY_LIFE: Duration = YEAR.saturating_mul(12);
/// A server's certificate is made anew at each start; browsers and some libraries take none that lasts longer.
const SERVER_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);

/// What a TLS listener needs: the server's certificate, those that vouch for it without the root, and its key.
pub struct ServerIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Opens the installation's authorities, making them at the first start, and issues this server's certificate for the
/// names in the settings. Loads the trust index. From then on certificates can be issued and checked.
///
/// # Errors
/// `Internal` where the keys were sealed under another master key or a name in the settings is none; the cause says so.
pub async fn open_installation(app: &App) -> Result<()> {
    open_installation_under(app, None).await
}

/// As [`open_installation`], at the first start under the root with this certificate, whose key is kept offline. Until what it
/// is asked for was imported, the server shows a certificate that holds for this start alone, and no device enrols.
///
/// # Errors
/// As there; `Conflict` (`another-root`) where the installation has another root already; `Invalid` where it is not valid now.
pub async fn open_installation_under(app: &App, offline_root: Option<&Certificate>) -> Result<()> {
    vault::open(app).await?;
    let stored = match load(app).await? {
        Some(stored) => stored,
        None => {
            match offline_root {
                Some(root) => begin_under(app, root).await?,
                None => create(app).await?,
            }
            load(app).await?.ok_or_else(|| Error::internal("the authorities that were made are not there"))?
        }
    };
    let Loaded { root, infra, roots } = stored;
    if offline_root.is_some_and(|given| !roots.contains(&given.fingerprint())) {
        let reason =
            "the installation has another root; `wardctl ca rotation start --root --root-certificate` has one follow";
        return Err(Error::conflict("another-root", reason));
    }
    if !keys::is_elsewhere(&root.0) {
        // Opening the root proves that the keys are the right ones, at the start and not at the first enrolment.
        drop(keys::open_any(app, None, &root).await?);
    }
    let infra = match &infra {
        Some(infra) => Some(keys::open_any(app, None, infra).await?),
        None => None,
    };
    super::refresh_trust(app).await?;
    match infra {
        Some(infra) => show(app, &infra, issue_server(app, &infra)?).await,
        None => show_provisional(app),
    }
}

/// What TLS listeners show now. Ask at each hand-shake: under a new root it is another.
///
/// # Errors
/// `Unavailable` before the installation was opened.
pub fn server_identity(app: &App) -> Result<Arc<ServerIdentity>> {
    app.authorities().server.load_full().ok_or(Error::Unavailable { what: "the server" })
}

async fn show(app: &App, infra: &Opened, identity: ServerIdentity) -> Result<()> {
    super::other::keep_server(app, &infra.certificate, &identity).await?;
    app.authorities().server.store(Some(Arc::new(identity)));
    Ok(())
}

/// Issues this server's certificate anew where another authority signs for servers now, or another root vouches for it.
pub(crate) async fn renew_server(app: &App) -> Result<()> {
    let infra = app
        .store()
        .system_read("infra authority", |tx: &mut SystemTx| {
            Box::pin(async move { keys::stored_authority(tx.installation().await?, INFRA).await })
        })
        .await?;
    let Some(infra) = infra else { return Ok(()) };
    let infra = keys::open_any(app, None, &infra).await?;
    let chain = above_server(app, &infra);
    let shown = server_identity(app).ok();
    let same = shown.is_some_and(|shown| shown.chain.iter().skip(1).eq(chain.iter()));
    if !same {
        show(app, &infra, issue_server(app, &infra)?).await?;
        app.authorities().provisional.store(None);
    }
    Ok(())
}

/// What vouches for the server's certificate: its authority, and while the root is a new one, that root as the old one
/// vouches for it, for those who hold the old one alone.
fn above_server(app: &App, infra: &Opened) -> Vec<CertificateDer<'static>> {
    let roots = app.authorities().roots.read();
    let mut chain = vec![CertificateDer::from(infra.certificate.der.clone())];
    if let Some(root) = &roots.current {
        let cross = roots.cross.iter().filter_map(|der| Certificate::parse(der).ok());
        chain.extend(cross.filter(|cross| cross.spki == root.spki).map(|cross| CertificateDer::from(cross.der)));
    }
    chain
}

/// What the store has of the installation's own.
struct Loaded {
    root: Stored,
    /// None while an offline root has not signed it.
    infra: Option<Stored>,
    /// Fingerprints of the root that signs and of one that is to follow or was followed.
    roots: Vec<String>,
}

async fn load(app: &App) -> Result<Option<Loaded>> {
    app.store()
        .system_read("installation authorities", |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                let Some(root) = keys::stored_authority(tx, ROOT).await? else { return Ok(None) };
                let infra = keys::stored_authority(tx, INFRA).await?;
                let standings = tx.authority_standings().await?;
                let rows = tx.authorities().await?.into_iter();
                let known =
                    |row: &AuthorityRow| row.kind == ROOT && !is_over(standing_of(&standings, &row.fingerprint));
                let roots = rows.filter(known).map(|row| row.fingerprint).collect();
                Ok(Some(Loaded { root, infra, roots }))
            })
        })
        .await
}

/// The first start under a root whose key is elsewhere: its certificate, and what it is asked for.
async fn begin_under(app: &App, root: &Certificate) -> Result<()> {
    let now = app.now();
    if now < root.not_before || now > root.not_after {
        return Err(Error::invalid("root_certificate", "it is not valid now"));
    }
    let (app_in, root, ctx) = (app.clone(), root.clone(), app.system("setup"));
    app.store()
        .system_write("begin under an offline root", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let of = tx.installation().await?;
                if keys::stored_authority(of, ROOT).await?.is_some() {
                    return Ok(());
                }
                following::store_without_key(of, ROOT, &root.der, root.not_after, now).await?;
                offline::ask(&app_in, tx, &ctx, &root, Vouches::Servers).await?;
                offline::ask(&app_in, tx, &ctx, &root, Vouches::Tenants).await
            })
        })
        .await
}

/// Before the offline root signed the authority for servers: a certificate under a root of this start alone, whose key is
/// forgotten at once.
fn show_provisional(app: &App) -> Result<()> {
    let (root_key, _) = SoftKey::generate();
    let serial = Serial::generate(app.rng().as_ref());
    let root = ca::root("Fleetward provisional", serial, keys::lasting(app.now(), SERVER_LIFE), &root_key);
    let root = Certificate::parse(&root.map_err(Error::internal)?.der).map_err(Error::internal)?;
    let above = Issuer::new(&root, &root_key).map_err(Error::internal)?;
    let (leaf, key) = issue_leaf(app, &above)?;
    app.authorities().server.store(Some(Arc::new(ServerIdentity { chain: vec![leaf], key })));
    app.authorities().provisional.store(Some(Arc::new(root)));
    Ok(())
}

async fn create(app: &App) -> Result<()> {
    let now = app.now();
    let serial = || Serial::generate(app.rng().as_ref());
    let root_key = keys::new_key(app, ROOT)?;
    let name = format!("Fleetward Root {}", root_key.mark);
    let root =
        ca::root(&name, serial(), keys::lasting(now, ROOT_LIFE), root_key.key.signer()).map_err(Error::internal)?;
    let certificate = Certificate::parse(&root.der).map_err(Error::internal)?;
    let above = Issuer::new(&certificate, root_key.key.signer()).map_err(Error::internal)?;
    let infra_key = keys::new_key(app, INFRA)?;
    let name = format!("Fleetward Servers {}", infra_key.mark);
    let validity = keys::lasting(now, AUTHORITY_LIFE);
    let spki = infra_key.key.signer().public_spki();
    let infra = ca::intermediate(&above, (None, &name), Vouches::Servers, serial(), validity, spki);
    let infra = infra.map_err(Error::internal)?;
    app.store()
        .system_write("create installation", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                if keys::stored_authority(tx, ROOT).await?.is_some() {
                    return Ok(());
                }
                keys::store_authority(tx, ROOT, &root_key, &root, now).await?;
                keys::store_authority(tx, INFRA, &infra_key, &infra, now).await
            })
        })
        .await
}

fn issue_server(app: &App, infra: &Opened) -> Result<ServerIdentity> {
    let (leaf, key) = issue_leaf(app, &infra.issuer()?)?;
    let mut chain = vec![leaf];
    chain.extend(above_server(app, infra));
    Ok(ServerIdentity { chain, key })
}

fn issue_leaf(app: &App, above: &Issuer<'_>) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let names = app.settings()?.server_names.iter().map(|name| name.parse());
    let names = names.collect::<Result<Vec<ServerName>, _>>().map_err(Error::internal)?;
    let (key, pkcs8) = SoftKey::generate();
    let now: Timestamp = app.now();
    let serial = Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, SERVER_LIFE);
    let issued = ca::server(above, &names, serial, validity, key.public_spki()).map_err(Error::internal)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.expose().clone()));
    Ok((CertificateDer::from(issued.der), key))
}
