//! The checks themselves. None changes anything but the mark that the store's check leaves.

use std::time::Duration;

use fleetward_base::{TenantId, Timestamp};
use fleetward_pki::key::check_signature;
use fleetward_pki::{Certificate, Signer};
use fleetward_store::SystemTx;
use fleetward_vault::Purpose;
use spki::AlgorithmIdentifierRef;
use spki::der::Decode;

use super::Check;
use crate::error::{Error, Result};
use crate::{App, authority};

/// Where the store's check writes.
const MARK: &str = "doctor";
/// A commit that takes longer makes devices wait.
const SLOW: Duration = Duration::from_secs(1);
/// A clock that goes back by less is one that is being set.
const SKEW: Duration = Duration::from_secs(60);
/// Tenants whose issuers are tried in one examination.
const TENANTS: u32 = 100;
/// An authority that ends within this time is to be renewed now.
const ENDING: Duration = Duration::from_secs(90 * 24 * 3600);

/// Writes a row, and reads it back.
pub(super) async fn store(app: &App) -> Check {
    let (begun, now) = (app.clock().monotonic(), app.now());
    let mark = now.millis().to_be_bytes().to_vec();
    let written = mark.clone();
    let kept = app.store().system_write("doctor", move |tx: &mut SystemTx| {
        Box::pin(async move { Ok::<_, Error>(tx.put_installation_value(MARK, &written).await?) })
    });
    if let Err(error) = kept.await {
        return Check::fail("store", format!("it does not write: {error}"), "look at the disk, or at the database");
    }
    match stored_mark(app).await {
        Ok(Some(found)) if found == mark => {}
        Ok(_) => {
            return Check::fail("store", "what was written is not what is read", "stop the server; restore a backup");
        }
        Err(error) => return Check::fail("store", format!("it does not read: {error}"), "look at the database"),
    }
    let took = app.clock().monotonic().saturating_sub(begun);
    let detail = format!("wrote and read a row in {} ms", took.as_millis());
    if took > SLOW {
        return Check::warn("store", detail, "commits are slow: a faster disk, or less beside it");
    }
    Check::ok("store", detail)
}

async fn stored_mark(app: &App) -> Result<Option<Vec<u8>>> {
    app.store()
        .system_read("doctor", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.installation_value(MARK).await?) })
        })
        .await
}

/// Holds the clock against the newest thing that stands in the journal.
pub(super) async fn clock(app: &App) -> Check {
    let newest = app
        .store()
        .system_read("newest entry", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.newest_entry_at().await?) })
        })
        .await;
    let now = app.now();
    match newest {
        Err(error) => Check::fail("clock", format!("the journal does not say how late it was: {error}"), "see store"),
        Ok(Some(newest)) if newest.since(now) > SKEW => Check::fail(
            "clock",
            format!("it is {now}, and the journal has something from {newest}"),
            "set the clock (NTP): certificates and time lines depend on it",
        ),
        Ok(_) => Check::ok("clock", format!("{now}, after all that stands in the journal")),
    }
}

/// Seals something and opens it.
pub(super) fn seal(app: &App) -> Check {
    const CANARY: &[u8] = b"canary";
    let described = app.vault().root_seal().describe();
    let remedy = "wardctl vault show; is the seal's key there, and is the vault enabled?";
    let sealed = match app.vault().seal(app.rng().as_ref(), Purpose::Secret, &["", MARK], CANARY) {
        Ok(sealed) => sealed,
        Err(error) => return Check::fail("seal", format!("{described}: {error}"), remedy),
    };
    match app.vault().open(Purpose::Secret, &["", MARK], &sealed) {
        Ok(opened) if opened.expose().as_slice() == CANARY => {
            Check::ok("seal", format!("{described}: sealed and opened"))
        }
        Ok(_) => Check::fail("seal", format!("{described}: what is opened is not what was sealed"), remedy),
        Err(error) => Check::fail("seal", format!("{described}: {error}"), remedy),
    }
}

/// Has the issuing authority of each tenant sign, and checks the signature.
pub(super) async fn issuers(app: &App) -> Check {
    let tenants = app
        .store()
        .system_read("tenants", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.tenants(None, TENANTS).await?) })
        })
        .await;
    let tenants = match tenants {
        Ok(tenants) => tenants,
        Err(error) => return Check::fail("issuers", format!("the tenants are not known: {error}"), "see store"),
    };
    let (mut sign, mut disabled, mut broken) = (0, 0, Vec::new());
    for tenant in &tenants {
        match signs(app, &tenant.id).await {
            Ok(()) => sign += 1,
            Err(Error::Unavailable { .. }) if app.vault().check(tenant.id.as_str()).is_err() => disabled += 1,
            Err(error) => broken.push((tenant.id.clone(), error)),
        }
    }
    let detail = format!("{sign} sign, {disabled} disabled, {} do not sign", broken.len());
    if let Some((tenant, first)) = broken.first() {
        let remedy = "wardctl issuer check --tenant NAME, which says what fails";
        return Check::fail("issuers", format!("{detail}: {tenant}: {first}"), remedy);
    }
    if disabled > 0 {
        return Check::warn("issuers", detail, "wardctl vault enable --tenant NAME, once it is safe");
    }
    Check::ok("issuers", detail)
}

async fn signs(app: &App, tenant: &TenantId) -> Result<()> {
    const MESSAGE: &[u8] = b"fleetward doctor";
    let issuing = authority::issuing(app, tenant).await?;
    let outcome = issuing.sign(|issuer| {
        let signer: &dyn Signer = issuer.signer();
        signer
            .sign(MESSAGE)
            .map(|signature| (signature, signer.algorithm().identifier(), signer.public_spki().to_vec()))
    });
    let (signature, algorithm, spki) = outcome.await?.map_err(Error::internal)?;
    let algorithm = AlgorithmIdentifierRef::from_der(&algorithm).map_err(Error::internal)?;
    check_signature(&spki, &algorithm, MESSAGE, &signature).map_err(Error::internal)
}

/// Looks when authorities end.
pub(super) async fn expiry(app: &App) -> Check {
    let rows = app
        .store()
        .system_read("authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.all_authorities().await?) })
        })
        .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return Check::fail("expiry", format!("the authorities are not known: {error}"), "see store"),
    };
    let now = app.now();
    let ours = rows.iter().filter(|of| of.row.kind != authority::FACTORY);
    let ends: Vec<(&str, Timestamp)> =
        ours.filter_map(|of| Some((of.row.kind.as_str(), Certificate::parse(&of.row.der).ok()?.not_after))).collect();
    let Some((kind, first)) = ends.iter().min_by_key(|(_, end)| *end) else {
        return Check::fail("expiry", "there is no authority", "start the server once with an empty data folder");
    };
    let days = first.since(now).as_secs() / 86_400;
    let detail = format!("the first of {} authorities to end is of kind {kind}, at {first} ({days} days)", ends.len());
    let remedy = "wardctl ca rotation start (--root for the root): docs/guides/rotating-a-ca.md";
    if *first <= now {
        return Check::fail("expiry", detail, remedy);
    }
    if first.since(now) < ENDING {
        return Check::warn("expiry", detail, remedy);
    }
    Check::ok("expiry", detail)
}
