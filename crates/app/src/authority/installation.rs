//! First boot and every boot: root, infra authority, and a certificate for this server.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_pki::ca::{self, ServerName, Vouches};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial, Signer, SoftKey};
use fleetward_store::SystemTx;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::keys::{self, Opened, Stored};
use crate::error::{Error, Result};
use crate::{App, vault};

pub(super) const ROOT: &str = "root";
pub(super) const INFRA: &str = "infra";
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
    vault::open(app).await?;
    let stored = match load(app).await? {
        Some(stored) => stored,
        None => {
            create(app).await?;
            load(app).await?.ok_or_else(|| Error::internal("the authorities that were made are not there"))?
        }
    };
    let [root, infra] = stored;
    // Opening the root proves that the keys are the right ones, at the start and not at the first enrolment.
    let root = keys::open_any(app, None, &root).await?;
    let infra = keys::open_any(app, None, &infra).await?;
    drop(root);
    super::refresh_trust(app).await?;
    show(app, &infra, issue_server(app, &infra)?).await
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

async fn load(app: &App) -> Result<Option<[Stored; 2]>> {
    app.store()
        .system_read("installation authorities", |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                let root = keys::stored_authority(tx, ROOT).await?;
                let infra = keys::stored_authority(tx, INFRA).await?;
                Ok(root.zip(infra).map(|(root, infra)| [root, infra]))
            })
        })
        .await
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
    let names = app.settings()?.server_names.iter().map(|name| name.parse());
    let names = names.collect::<Result<Vec<ServerName>, _>>().map_err(Error::internal)?;
    let (key, pkcs8) = SoftKey::generate();
    let now: Timestamp = app.now();
    let serial = Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, SERVER_LIFE);
    let issued = ca::server(&infra.issuer()?, &names, serial, validity, key.public_spki()).map_err(Error::internal)?;
    let mut chain = vec![CertificateDer::from(issued.der)];
    chain.extend(above_server(app, infra));
    Ok(ServerIdentity { chain, key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.expose().clone())) })
}
