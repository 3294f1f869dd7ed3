//! Wrapped keys of the vault, and which tenants' keys are disabled.
//!
//! Every change goes through a unit that begins with [`TenantTx::touch_vault`] on the installation's rows. Its row lock puts
//! the units in one order, so that none wraps a key under one that another is taking away; and its number tells every server
//! on the database to look again.

use fleetward_base::{TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Cells, FromRow, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultKeyRow {
    /// `root`, `owner`, `anchor` or `master`.
    pub kind: String,
    pub version: u64,
    pub key_id: String,
    pub wrapped: Vec<u8>,
    /// Of a root key the seal, as people know it; of the others the id of the root key.
    pub wrapped_by: String,
    /// Seals; the others open what they had sealed.
    pub active: bool,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

from_row!(VaultKeyRow {
    kind: text,
    version: count,
    key_id: text,
    wrapped: bytes,
    wrapped_by: text,
    active: bool,
    created_at: time,
    retired_at: opt_time,
});

/// Why and since when keys are disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultHoldRow {
    pub reason: String,
    pub held_by: String,
    pub held_at: Timestamp,
}

from_row!(VaultHoldRow { reason: text, held_by: text, held_at: time });

macro_rules! columns {
    () => {
        "kind, version, key_id, wrapped, wrapped_by, active, created_at, retired_at"
    };
}

struct Number(u64);

impl FromRow for Number {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.count().map(Self)
    }
}

struct Name(TenantId);

impl FromRow for Name {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.id().map(Self)
    }
}

impl SystemTx {
    /// The number of the last change.
    pub async fn vault_epoch(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT epoch FROM vault_epoch WHERE tenant_id = ''";
        let number: Option<Number> = self.across().await?.query_opt(SQL, params![]).await?;
        Ok(number.map_or(0, |number| number.0))
    }

    /// All keys of all owners.
    pub async fn all_vault_keys(&mut self) -> Result<Vec<Of<VaultKeyRow>>, StoreError> {
        const SQL: &str =
            concat!("SELECT tenant_id, ", columns!(), " FROM vault_key ORDER BY tenant_id, kind, version");
        self.across().await?.query(SQL, params![]).await
    }

    /// All that is disabled; without a tenant: all of them.
    pub async fn vault_holds(&mut self) -> Result<Vec<Of<VaultHoldRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, reason, held_by, held_at FROM vault_hold ORDER BY tenant_id";
        self.across().await?.query(SQL, params![]).await
    }

    /// Keys that another root key than this one wraps.
    pub async fn vault_keys_beside(&mut self, root: &str, limit: u32) -> Result<Vec<Of<VaultKeyRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM vault_key WHERE kind <> 'root' AND wrapped_by <> $1 ORDER BY tenant_id, kind, version LIMIT $2"
        );
        self.across().await?.query(SQL, params![root, limit]).await
    }

    /// Tenants from before there was a hierarchy.
    pub async fn tenants_without_vault_key(&mut self, limit: u32) -> Result<Vec<TenantId>, StoreError> {
        const SQL: &str = "SELECT tenant_id FROM tenant WHERE NOT EXISTS \
             (SELECT 1 FROM vault_key WHERE vault_key.tenant_id = tenant.tenant_id AND kind = 'owner') \
             ORDER BY tenant_id LIMIT $1";
        let names: Vec<Name> = self.across().await?.query(SQL, params![limit]).await?;
        Ok(names.into_iter().map(|name| name.0).collect())
    }

    /// Seals of all owners that a key of this id made. `header` is how they begin: a version and the key id.
    pub async fn seals_under(&mut self, header: &[u8]) -> Result<u64, StoreError> {
        // Every column that holds seals stands here: a key is destroyed once none of them needs it. A test asks of each new
        // column of bytes whether it is one (`coverage`).
        const SQL: &str = "SELECT (SELECT count(*) FROM sealed_key WHERE substr(sealed, 1, 9) = $1) \
             + (SELECT count(*) FROM idempotency WHERE substr(response, 1, 9) = $1) \
             + (SELECT count(*) FROM issuer WHERE substr(credential, 1, 9) = $1) \
             + (SELECT count(*) FROM provisioning_template WHERE substr(hook_secret, 1, 9) = $1) \
             + (SELECT count(*) FROM scep_transaction WHERE substr(waiting, 1, 9) = $1) \
             + (SELECT count(*) FROM enrollment WHERE substr(primary_key, 1, 9) = $1 \
                OR substr(secondary_key, 1, 9) = $1) \
             + (SELECT count(*) FROM access_key WHERE substr(secret, 1, 9) = $1)";
        let number: Option<Number> = self.across().await?.query_opt(SQL, params![header]).await?;
        Ok(number.map_or(0, |number| number.0))
    }
}

impl TenantTx {
    /// Begins a change of the vault, on the installation's rows: others wait until this unit ends.
    pub async fn touch_vault(&mut self) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO vault_epoch (tenant_id, epoch) VALUES ($1, 1) \
             ON CONFLICT (tenant_id) DO UPDATE SET epoch = vault_epoch.epoch + 1";
        self.conn.execute(SQL, params![self.scope.key()]).await.map(drop)
    }

    pub async fn vault_keys(&mut self) -> Result<Vec<VaultKeyRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM vault_key WHERE tenant_id = $1 ORDER BY kind, version");
        self.conn.query(SQL, params![self.scope.key()]).await
    }

    /// `false` where there is this version already.
    pub async fn insert_vault_key(&mut self, row: &VaultKeyRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO vault_key (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, kind, version) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.kind,
            row.version,
            &row.key_id,
            &row.wrapped,
            &row.wrapped_by,
            row.active,
            row.created_at,
            row.retired_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// The same key wrapped by another; `false` where there is no such key.
    pub async fn rewrap_vault_key(&mut self, row: &VaultKeyRow) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE vault_key SET wrapped = $4, wrapped_by = $5 \
             WHERE tenant_id = $1 AND kind = $2 AND version = $3";
        let params = params![self.scope.key(), &row.kind, row.version, &row.wrapped, &row.wrapped_by];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Versions before `version` open and no longer seal.
    pub async fn retire_vault_keys(&mut self, kind: &str, version: u64, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE vault_key SET active = 0, retired_at = $4 \
             WHERE tenant_id = $1 AND kind = $2 AND version < $3 AND active = 1";
        self.conn.execute(SQL, params![self.scope.key(), kind, version, now]).await
    }

    /// Destroys a key: what it sealed and what it wrapped opens no more.
    pub async fn delete_vault_key(&mut self, kind: &str, version: u64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM vault_key WHERE tenant_id = $1 AND kind = $2 AND version = $3";
        self.conn.execute(SQL, params![self.scope.key(), kind, version]).await.map(hit)
    }

    pub async fn vault_hold(&mut self) -> Result<Option<VaultHoldRow>, StoreError> {
        const SQL: &str = "SELECT reason, held_by, held_at FROM vault_hold WHERE tenant_id = $1";
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// `false` where they were disabled before.
    pub async fn hold_vault(&mut self, row: &VaultHoldRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO vault_hold (tenant_id, reason, held_by, held_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), &row.reason, &row.held_by, row.held_at]).await.map(hit)
    }

    /// `false` where they were not disabled.
    pub async fn release_vault(&mut self) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM vault_hold WHERE tenant_id = $1";
        self.conn.execute(SQL, params![self.scope.key()]).await.map(hit)
    }
}
