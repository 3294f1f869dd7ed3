//! Rows with everything that a test does not care about filled in.

use std::time::Duration;

use fleetward_base::{DeviceId, ReleaseId, RolloutId, SignerId, TenantId, Timestamp, TokenId, TransferId};
use fleetward_store::testing::TestStore;
use fleetward_store::{
    CommandRow, DeploymentRow, DeviceRow, JournalEntry, ReleaseRow, RolloutRow, ShadowRow, Store, StoreError, SystemTx,
    TenantRow, TenantTx,
};
use futures::future::BoxFuture;

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant name")
}

pub(crate) fn device(name: &str) -> DeviceId {
    name.parse().expect("a device name")
}

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// A UUID with this number.
pub(crate) fn uuid(number: u32) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

pub(crate) fn token(number: u32) -> TokenId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) fn transfer(number: u32) -> TransferId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) fn signer(number: u32) -> SignerId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) fn release(number: u32) -> ReleaseId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) fn rollout(number: u32) -> RolloutId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) fn tenant_row(name: &str) -> TenantRow {
    TenantRow {
        id: tenant(name),
        display_name: name.to_uppercase(),
        settings: "{}".into(),
        revision: 1,
        created_at: at(1),
    }
}

pub(crate) fn device_row(name: &str) -> DeviceRow {
    DeviceRow {
        id: device(name),
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
        certificate_serial: None,
        certificate_not_after: None,
        heartbeat_s: None,
        revision: 1,
        provisioned_at: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

pub(crate) fn shadow_row(name: &str, version: u64) -> ShadowRow {
    ShadowRow {
        device: device(name),
        name: String::new(),
        version,
        document: r#"{"desired":{}}"#.into(),
        metadata: "{}".into(),
        deleted_at: None,
        updated_at: at(1),
        changes: 1,
        watch: None,
    }
}

pub(crate) fn entry(action: &str) -> JournalEntry {
    JournalEntry {
        at: at(1),
        actor_kind: "system".into(),
        actor: "test".into(),
        action: action.into(),
        device: None,
        subject: None,
        outcome: "success".into(),
        severity: "info".into(),
        detail: "{}".into(),
        request_id: None,
    }
}

pub(crate) fn release_row(number: u32, version: &str) -> ReleaseRow {
    ReleaseRow {
        id: release(number),
        name: "gateway-os".into(),
        version: version.into(),
        signer: signer(1),
        key_id: "k1".into(),
        manifest: b"manifest".to_vec(),
        signature: vec![1; 64],
        created_at: at(1),
        revision: 1,
    }
}

pub(crate) fn rollout_row(number: u32, state: &str) -> RolloutRow {
    RolloutRow {
        id: rollout(number),
        name: format!("rollout {number}"),
        release: release(1),
        selector: "{}".into(),
        policy: "{}".into(),
        state: state.into(),
        phase: 0,
        phase_started_at: None,
        gate_met_at: None,
        pause_reason: None,
        target_count: 10,
        created_by: "test".into(),
        created_at: at(1),
        updated_at: at(1),
        revision: 1,
    }
}

pub(crate) fn deployment_row(number: u32, name: &str) -> DeploymentRow {
    DeploymentRow {
        rollout: rollout(number),
        device: device(name),
        kind: "update".into(),
        phase: 0,
        status: "queued".into(),
        step: None,
        hardware: "r1".into(),
        from_version: None,
        detail: None,
        version: 1,
        queued_at: at(1),
        started_at: None,
        updated_at: at(1),
        finished_at: None,
    }
}

/// Queued, and due at once.
pub(crate) fn command_row(id: &str, name: &str) -> CommandRow {
    CommandRow {
        device: device(name),
        id: id.parse().expect("a command id"),
        seq: 1,
        op: "restart".into(),
        content_type: "application/json".into(),
        payload_bytes: 2,
        lane: "default".into(),
        dedupe: None,
        not_before: None,
        expires_at: at(100),
        ack_timeout_ms: 1000,
        run_timeout_ms: 2000,
        max_attempts: 3,
        on_expiry: "continue".into(),
        status: "queued".into(),
        attempts: 0,
        reason_code: None,
        reason_text: None,
        result: None,
        version: 1,
        created_by: "ops".into(),
        created_at: at(1),
        sent_at: None,
        started_at: None,
        updated_at: at(1),
        finished_at: None,
        due_at: Some(at(1)),
    }
}

/// A store with the tenants `acme` and `umbrella`.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) acme: TenantId,
    pub(crate) umbrella: TenantId,
    pub(crate) under: TestStore,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        Self::on(TestStore::sqlite().await).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::on(TestStore::postgres().await).await
    }

    pub(crate) async fn on(under: TestStore) -> Self {
        let fixture = Self { store: under.store.clone(), acme: tenant("acme"), umbrella: tenant("umbrella"), under };
        fixture
            .system(|tx| {
                Box::pin(async move {
                    tx.insert_tenant(&tenant_row("acme")).await?;
                    tx.insert_tenant(&tenant_row("umbrella")).await
                })
            })
            .await;
        fixture
    }

    /// Writes in `umbrella` and expects it to work.
    pub(crate) async fn elsewhere<F, T>(&self, work: F) -> T
    where
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.write(&self.umbrella, "test", work).await.expect("the unit is written")
    }

    /// Writes in `acme` and expects it to work.
    pub(crate) async fn write<F, T>(&self, work: F) -> T
    where
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.write(&self.acme, "test", work).await.expect("the unit is written")
    }

    /// Reads in `acme`.
    pub(crate) async fn read<F, T>(&self, work: F) -> T
    where
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.read(&self.acme, "test", work).await.expect("the unit is read")
    }

    /// Waits until the journal of `acme` shows so many rows. On PostgreSQL a row waits for all older transactions, those
    /// of other tests included.
    pub(crate) async fn settled(&self, rows: usize) {
        let mut watch = self.store.watch_journal();
        let all = || self.read(|tx| Box::pin(async move { tx.journal_tail(0, 1000).await }));
        while all().await.len() < rows {
            let woken = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
            woken.expect("followers are woken").expect("the store is open");
        }
    }

    /// Writes across tenants.
    pub(crate) async fn system<F, T>(&self, work: F) -> T
    where
        F: for<'t> FnOnce(&'t mut SystemTx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.system_write("test", work).await.expect("the unit is written")
    }
}
