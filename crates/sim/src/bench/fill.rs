//! A fleet's rows, written while no server runs: what a million enrolments leave behind, in a minute instead of ten.
//!
//! It goes through the store's own crate, and the certificates are signed by the tenant's own authority with its own key,
//! which the vault opens as the server does. Each device has its record, its certificate, and the certificate's place on the
//! ladder. What an enrolment writes beside these (its token, its journal) is not there: the bench `enroll` weighs a whole
//! one. This is the one place of this crate that links crates of the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, DeviceId, Rng as _, SystemClock, SystemRng, TenantId, Timestamp};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Csr, Serial, SoftKey, Validity, csr, leaf};
use fleetward_store::{
    AuthorityRow, CertificateRow, Config, DenyRow, DeviceRow, RotationRow, SealedKeyRow, Store, StoreError, SystemTx,
    TenantTx,
};
use fleetward_vault::{KeyKind, MasterKey, StoredKey, Vault};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::progress;

/// Devices of one transaction.
const CHUNK: usize = 4000;
/// Chunks that are being signed while one is written.
const AHEAD: usize = 2;
/// How long the certificates hold, and how long ago they were issued: none is due for anything while it is measured.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
const AGE: Duration = Duration::from_secs(24 * 3600);
/// The last devices of the fleet are of a hardware of their own, so that a selector finds them.
pub(crate) const BATCH_HARDWARE: &str = "batch-7";

/// What to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) certificates: usize,
    /// One certificate in so many is revoked.
    pub(crate) one_revoked_in: usize,
    /// Devices at the end of the fleet with [`BATCH_HARDWARE`].
    pub(crate) batch: usize,
    /// Public keys on the deny list.
    pub(crate) denied: usize,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) plan: Plan,
    /// Who issued them.
    pub(crate) authority: Certificate,
    serials: Arc<[[u8; 16]]>,
}

impl Filled {
    pub(crate) fn serial(&self, index: usize) -> anyhow::Result<Serial> {
        let bytes = self.serials.get(index).context("the fleet is not that large")?;
        serial_of(*bytes)
    }

    pub(crate) fn is_revoked(&self, index: usize) -> bool {
        index.is_multiple_of(self.plan.one_revoked_in)
    }

    pub(crate) fn revoked(&self) -> usize {
        self.plan.certificates.div_ceil(self.plan.one_revoked_in)
    }

    pub(crate) fn device(index: usize) -> anyhow::Result<DeviceId> {
        format!("dev-{index:07}").parse().context("a device name")
    }
}

fn serial_of(bytes: [u8; 16]) -> anyhow::Result<Serial> {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(32);
    for byte in bytes {
        write!(hex, "{byte:02x}")?;
    }
    Serial::from_hex(&hex).context("a serial number")
}

/// Sixteen bytes as the server makes them, but in rising order: rows then follow each other in the file instead of
/// landing all over it. The last bytes, by which lists are cut, are random as ever.
fn numbers(count: usize) -> Arc<[[u8; 16]]> {
    let mut numbers: Vec<[u8; 16]> = (0..count)
        .map(|_| {
            let mut bytes = [0; 16];
            SystemRng.fill(&mut bytes);
            if let Some(first) = bytes.first_mut() {
                *first = (*first & 0x7f) | 0x40;
            }
            bytes
        })
        .collect();
    numbers.sort_unstable();
    numbers.into()
}

/// Writes the fleet into the folder of a server that is stopped.
pub(crate) async fn fill(data_dir: &Path, tenant: &TenantId, plan: Plan) -> anyhow::Result<Filled> {
    let clock = SystemClock::new();
    let store = Store::open(&Config::sqlite(data_dir.join("fleetward.db")), &clock).await?;
    let maker = Arc::new(Maker::open(&store, data_dir, tenant, plan, clock.now()).await?);
    let bar = progress::bar("certificates", plan.certificates);
    let starts = (0..plan.certificates).step_by(CHUNK);
    let mut chunks = stream::iter(starts)
        .map(|start| {
            let maker = Arc::clone(&maker);
            async move { tokio::task::spawn_blocking(move || maker.chunk(start)).await? }
        })
        .buffered(AHEAD);
    while let Some(rows) = chunks.try_next().await? {
        let count = u64::try_from(rows.len())?;
        write(&store, tenant, rows).await?;
        bar.inc(count);
    }
    bar.finish_and_clear();
    deny(&store, tenant, plan.denied, clock.now()).await?;
    store.close().await;
    drop(chunks);
    Ok(Filled { plan, authority: maker.authority.clone(), serials: Arc::clone(&maker.serials) })
}

type Rows = Vec<(DeviceRow, CertificateRow, RotationRow)>;

async fn write(store: &Store, tenant: &TenantId, rows: Rows) -> anyhow::Result<()> {
    store
        .write(tenant, "fill", move |tx: &mut TenantTx| {
            Box::pin(async move {
                for (device, certificate, rotation) in &rows {
                    tx.insert_device(device).await?;
                    tx.insert_certificate(certificate).await?;
                    tx.insert_rotation(rotation).await?;
                    // By the statement of every revocation, so that its list is due.
                    if device.certificate_serial.is_none() {
                        tx.revoke_certificate(&certificate.serial, "key_compromise", device.updated_at).await?;
                    }
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?;
    Ok(())
}

async fn deny(store: &Store, tenant: &TenantId, count: usize, now: Timestamp) -> anyhow::Result<()> {
    store
        .write(tenant, "fill deny list", move |tx: &mut TenantTx| {
            Box::pin(async move {
                for index in 0..count {
                    let (kind, value) = ("key".to_owned(), format!("{index:064x}"));
                    let (reason, created_by) = ("bench".to_owned(), "bench".to_owned());
                    tx.deny(&DenyRow { kind, value, reason, created_by, created_at: now }).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?;
    Ok(())
}

/// Makes rows.
struct Maker {
    tenant: TenantId,
    plan: Plan,
    authority: Certificate,
    key: SoftKey,
    /// One request for all: it names nobody, and the certificates say who each is.
    csr: Csr,
    serials: Arc<[[u8; 16]]>,
    now: Timestamp,
}

impl Maker {
    async fn open(
        store: &Store,
        data_dir: &Path,
        tenant: &TenantId,
        plan: Plan,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let (row, sealed) = stored(store, tenant).await?;
        let vault = vault(store, data_dir).await?;
        let key = vault.signer(tenant.as_str(), &sealed.purpose, &sealed.sealed)?;
        let request = csr::write(&[0x30, 0], &[], &SoftKey::generate().0)?;
        Ok(Self {
            tenant: tenant.clone(),
            plan,
            authority: Certificate::parse(&row.der)?,
            key,
            csr: csr::parse(&request)?,
            serials: numbers(plan.certificates),
            now,
        })
    }

    fn chunk(&self, start: usize) -> anyhow::Result<Rows> {
        let issuer = Issuer::new(&self.authority, &self.key)?;
        let authority = self.authority.fingerprint();
        let places = start..self.plan.certificates.min(start + CHUNK);
        places.map(|index| self.rows(&issuer, &authority, index)).collect()
    }

    fn rows(
        &self,
        issuer: &Issuer<'_>,
        authority: &str,
        index: usize,
    ) -> anyhow::Result<(DeviceRow, CertificateRow, RotationRow)> {
        let device = Filled::device(index)?;
        let serial = serial_of(*self.serials.get(index).context("a number for each")?)?;
        let issued_at = self.now.minus(AGE);
        let validity = Validity { not_before: issued_at, not_after: self.now.plus(LIFE) };
        let issued = leaf::issue(issuer, &self.tenant, &device, &self.csr, serial, validity)?;
        let (serial, not_after) = (issued.serial.to_string(), issued.validity.not_after);
        let revoked = index.is_multiple_of(self.plan.one_revoked_in);
        let certificate = CertificateRow {
            serial: serial.clone(),
            device: device.clone(),
            authority: authority.to_owned(),
            fingerprint: issued.fingerprint,
            request: self.csr.request_hash(&self.tenant).to_vec(),
            not_before: issued.validity.not_before,
            not_after,
            der: issued.der,
            status: "active".to_owned(),
            issued_at,
            proven_at: Some(issued_at),
            revoked_at: None,
            reason: None,
            way: "token".to_owned(),
            source: None,
        };
        let rotation = RotationRow {
            serial: serial.clone(),
            device: device.clone(),
            id: serial.clone(),
            deadline: None,
            sessions: 1,
            session_at: Some(issued_at),
            alert_at: None,
        };
        let hardware = if index + self.plan.batch >= self.plan.certificates { BATCH_HARDWARE } else { "a-1" };
        let status = if revoked { "suspended" } else { "active" };
        let held = (!revoked).then_some((serial, not_after)).unzip();
        Ok((device_row(device, hardware, status, held, issued_at), certificate, rotation))
    }
}

fn device_row(
    id: DeviceId,
    hardware: &str,
    status: &str,
    (certificate_serial, certificate_not_after): (Option<String>, Option<Timestamp>),
    at: Timestamp,
) -> DeviceRow {
    DeviceRow {
        id,
        class: "endpoint".to_owned(),
        hardware: hardware.to_owned(),
        firmware: None,
        status: status.to_owned(),
        owner: None,
        environment: None,
        site: None,
        location: None,
        parent: None,
        endpoint: None,
        tags: "[]".to_owned(),
        attributes: "{}".to_owned(),
        certificate_serial,
        certificate_not_after,
        heartbeat_s: None,
        revision: 2,
        provisioned_at: Some(at),
        created_at: at,
        updated_at: at,
    }
}

/// The tenant's issuing authority and its sealed key.
async fn stored(store: &Store, tenant: &TenantId) -> anyhow::Result<(AuthorityRow, SealedKeyRow)> {
    let found = store
        .read(tenant, "issuing authority", |tx: &mut TenantTx| {
            Box::pin(async move {
                let row = tx.authorities().await?.into_iter().find(|row| row.kind == "issuing");
                let Some(row) = row else { return Ok::<_, StoreError>(None) };
                Ok(tx.sealed_key(&row.key_purpose).await?.map(|key| (row, key)))
            })
        })
        .await?;
    found.context("the tenant has no authority")
}

/// The installation's keys, opened as the server opens them.
async fn vault(store: &Store, data_dir: &Path) -> anyhow::Result<Vault> {
    let vault = Vault::new(&MasterKey::from_file(&data_dir.join("master.key"), &SystemRng)?);
    let rows =
        store.system_read("vault keys", |tx: &mut SystemTx| Box::pin(async move { tx.all_vault_keys().await })).await?;
    let keys = rows.into_iter().map(|of| {
        Ok(StoredKey {
            owner: of.tenant.map_or_else(String::new, |tenant| tenant.to_string()),
            kind: KeyKind::of(&of.row.kind).context("a key of an unknown kind")?,
            version: of.row.version,
            key_id: of.row.key_id,
            wrapped: of.row.wrapped,
            active: of.row.active,
        })
    });
    vault.load(&keys.collect::<anyhow::Result<Vec<_>>>()?).await?;
    Ok(vault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_no_others_than_the_servers() {
        let numbers = numbers(1000);
        assert!(numbers.is_sorted());
        assert!(numbers.iter().all(|number| (0x40..0x80).contains(&number[0])));
        let text = serial_of(numbers[0]).expect("a serial number").to_string();
        assert_eq!(text.len(), 32);
        let tails: std::collections::BTreeSet<u8> = numbers.iter().map(|number| number[15]).collect();
        assert!(tails.len() > 200, "{} endings", tails.len());
    }
}
