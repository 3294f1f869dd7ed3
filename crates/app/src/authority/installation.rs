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
const INFRA: &str = "infra";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const ROOT_LIFE: Duration = YEAR.saturating_mul(25);
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
pub async fn open_installation(app: &App) -> Result<ServerIdentity> {
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
    *app.authorities().root.write() = Some(Arc::new(root.certificate));
    super::refresh_trust(app).await?;
    issue_server(app, &infra)
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
    Ok(ServerIdentity {
        chain: [issued.der, infra.certificate.der.clone()].map(CertificateDer::from).into(),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.expose().clone())),
    })
}
