//! kill -9 in the middle of a revocation of ten thousand: another start goes on where it was, and each is revoked once.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use der::Decode as _;
use fleetward_base::{Clock as _, limits};
use fleetward_base::{DeviceId, RevocationId, SystemClock, SystemRng, TenantId, Timestamp};
use fleetward_core::revocation::{Status, Target};
use fleetward_store::{CertificateRow, Config, DeviceRow, JournalFilter, RevocationRow, Store, StoreError, TenantTx};
use serde_json::{Value, json};
use x509_cert::crl::CertificateList;

use crate::process::{Folder, ready};

const DEVICES: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

fn acme() -> TenantId {
    "acme".parse().expect("a tenant")
}

fn name(number: usize) -> DeviceId {
    format!("d{number:05}").parse().expect("a name")
}

fn serial(number: usize) -> String {
    // First a digit that keeps it positive and whole; the last ones spread as drawn ones would.
    format!("41{:030x}", (number as u128 + 1) * 0x9e37_79b9_7f4a_7c15)
}

/// Whoever asks the server that runs now.
struct Operator {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Operator {
    /// The server has another port after each start.
    fn new(folder: &Folder, token: &str) -> Self {
        let endpoints: Value = serde_json::from_str(&folder.read("endpoints.json")).expect("JSON");
        let ca = reqwest::Certificate::from_pem_bundle(folder.read("ca.pem").as_bytes()).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only(ca).build().expect("a client");
        let url = endpoints["operator_url"].as_str().expect("an address").to_owned();
        Self { client, url, token: token.to_owned() }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(&body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// How many devices the revocation has worked on, and whether it is over.
    async fn progress(&self, id: RevocationId) -> (u64, bool) {
        let path = format!("{}/v1/tenants/acme/revocations/{id}", self.url);
        let answer = self.client.get(path).bearer_auth(&self.token).send().await.expect("an answer");
        let found: Value = answer.json().await.expect("JSON");
        (found["done"].as_u64().expect("a number"), found["status"] == "finished")
    }
}

/// An administrator with a tenant.
async fn claim(folder: &Folder) -> String {
    let setup = json!({ "setup_token": folder.read("setup-token").trim() });
    let claimed = Operator::new(folder, "").post("/v1/setup", setup).await;
    let token = claimed["token"].as_str().expect("a token").to_owned();
    Operator::new(folder, &token).post("/v1/tenants", json!({ "name": "acme" })).await;
    token
}

async fn open(folder: &Path) -> Store {
    Store::open(&Config::sqlite(folder.join("fleetward.db")), &SystemClock::new()).await.expect("a store")
}

fn device_row(number: usize, now: Timestamp) -> DeviceRow {
    DeviceRow {
        id: name(number),
        class: "gateway".into(),
        hardware: "r1".into(),
        firmware: None,
        status: "active".into(),
        owner: None,
        environment: None,
        site: None,
        location: None,
        parent: None,
        endpoint: None,
        tags: "[]".into(),
        attributes: "{}".into(),
        certificate_serial: Some(serial(number)),
        certificate_not_after: Some(now.plus(Duration::from_secs(90 * 86_400))),
        heartbeat_s: None,
        revision: 1,
        provisioned_at: Some(now),
        created_at: now,
        updated_at: now,
    }
}

/// Devices with a certificate each, and the order to revoke them all.
async fn fill(tx: &mut TenantTx, id: RevocationId, now: Timestamp) -> Result<(), StoreError> {
    let authorities = tx.authorities().await?;
    let authority = authorities.iter().find(|row| row.kind == "issuing").expect("the tenant has an authority");
    for number in 0..DEVICES {
        tx.insert_device(&device_row(number, now)).await?;
        let row = CertificateRow {
            serial: serial(number),
            device: name(number),
            authority: authority.fingerprint.clone(),
            fingerprint: format!("{number:064x}"),
            request: number.to_be_bytes().to_vec(),
            not_before: now,
            not_after: now.plus(Duration::from_secs(90 * 86_400)),
            der: authority.der.clone(),
            status: "active".into(),
            issued_at: now,
            proven_at: Some(now),
            revoked_at: None,
            reason: None,
            way: "token".into(),
            source: None,
        };
        tx.insert_certificate(&row).await?;
    }
    let row = RevocationRow {
        id,
        kind: "revoke".into(),
        target: serde_json::to_string(&Target::Tenant).expect("JSON"),
        reason: "key_compromise".into(),
        status: Status::Running.to_string(),
        total: DEVICES as u64,
        done: 0,
        certificates: 0,
        cursor: String::new(),
        due_at: None,
        created_by: "test".into(),
        created_at: now,
        updated_at: now,
        finished_at: None,
    };
    tx.insert_revocation(&row).await
}

/// Looks until what is looked for is there: between processes there is no event to wait for.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let _waited = tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_late| panic!("{what} never came"))
}

async fn job(store: &Store, id: RevocationId) -> RevocationRow {
    let tenant = acme();
    let read = store.read(&tenant, "test", move |tx| Box::pin(async move { tx.revocation(id).await }));
    read.await.expect("reads").expect("it is there")
}

/// How often the journal says that each device was revoked.
async fn told(store: &Store, action: &'static str) -> BTreeMap<Option<DeviceId>, usize> {
    let tenant = acme();
    let read = store.read(&tenant, "test", move |tx| {
        Box::pin(async move {
            let filter = JournalFilter { action: Some(action.into()), ..JournalFilter::default() };
            let (mut told, mut before) = (BTreeMap::new(), None);
            loop {
                let page = tx.journal_page(&filter, before, 1000).await?;
                for row in &page {
                    *told.entry(row.entry.device.clone()).or_insert(0) += 1;
                }
                match page.last() {
                    Some(last) => before = Some(last.id),
                    None => return Ok::<_, StoreError>(told),
                }
            }
        })
    });
    read.await.expect("reads")
}

#[tokio::test]
async fn a_bulk_revocation_outlives_the_server_and_revokes_each_once() {
    let folder = Folder::new();
    let mut server = ready(&folder.path()).await;
    let token = claim(&folder).await;
    server.kill().await.expect("killed");
    let clock = SystemClock::new();
    let (now, id) = (clock.now(), RevocationId::generate(&clock, &SystemRng));
    let store = open(&folder.path()).await;
    store.write(&acme(), "test", move |tx| Box::pin(fill(tx, id, now))).await.expect("filled");
    store.close().await;
    drop(store);

    let (batch, mut before, mut cut) = (u64::from(limits::REVOCATIONS_PER_BATCH), 0, Vec::new());
    for _ in 0..3 {
        let mut server = ready(&folder.path()).await;
        let operator = Operator::new(&folder, &token);
        until("progress", async || Some(operator.progress(id).await.0).filter(|done| *done > before)).await;
        // SIGKILL: it writes nothing more.
        server.kill().await.expect("killed");
        let store = open(&folder.path()).await;
        let found = job(&store, id).await;
        assert_eq!(found.done % batch, 0, "a batch is whole or not at all: {}", found.done);
        let revoked = told(&store, "device.revoked").await;
        assert_eq!(revoked.len() as u64, found.done, "what was done is told of, and nothing else");
        store.close().await;
        before = found.done.min(DEVICES as u64 - 1);
        cut.push(found.done);
    }
    assert!(cut.iter().any(|done| *done < DEVICES as u64), "it was cut in the middle: {cut:?}");

    let mut server = ready(&folder.path()).await;
    let operator = Operator::new(&folder, &token);
    until("the end", async || operator.progress(id).await.1.then_some(())).await;
    let list = until("the list", async || {
        let path = format!("{}/v1/tenants/acme/crls", operator.url);
        let answer = operator.client.get(path).bearer_auth(&operator.token);
        let found: Value = answer.send().await.expect("an answer").json().await.expect("JSON");
        let mut lists = found.as_array().cloned().unwrap_or_default().into_iter();
        lists.find(|list| list["entries"] == DEVICES)
    })
    .await;
    server.kill().await.expect("killed");
    let store = open(&folder.path()).await;
    let job = job(&store, id).await;
    assert_eq!((job.status.as_str(), job.done, job.certificates), ("finished", DEVICES as u64, DEVICES as u64));
    let revoked = told(&store, "device.revoked").await;
    assert_eq!(revoked.len(), DEVICES);
    assert!(revoked.values().all(|count| *count == 1), "once each");
    assert_eq!(told(&store, "revocation.finished").await, BTreeMap::from([(None, 1)]));
    let (tenant, authority) = (acme(), list["authority"].as_str().expect("its authority").to_owned());
    let read = store.read(&tenant, "test", move |tx| Box::pin(async move { tx.crl(&authority, "").await }));
    let listed = read.await.expect("reads").expect("a list");

    let wanted: BTreeSet<String> = (0..DEVICES).map(serial).collect();
    let list = CertificateList::from_der(&listed.der).expect("a list");
    let entries = list.tbs_cert_list.revoked_certificates.expect("entries");
    assert_eq!(entries.len(), DEVICES, "each once");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let serials: BTreeSet<String> = entries.iter().map(|entry| hex(entry.serial_number.as_bytes())).collect();
    assert_eq!(serials, wanted);
}
