//! External issuers of tenants: where each is and how it is asked; the credential is sealed.

use fleetward_base::Timestamp;

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRow {
    /// `built-in`, `step-ca`, `vault`, `cfssl`.
    pub kind: String,
    /// A JSON object.
    pub config: String,
    /// As the vault sealed it; empty where there is none.
    pub credential: Vec<u8>,
    pub revision: u64,
    pub updated_at: Timestamp,
}

from_row!(IssuerRow { kind: text, config: text, credential: bytes, revision: count, updated_at: time });

/// Which revision a tenant's issuer is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRevision {
    pub revision: u64,
}

from_row!(IssuerRevision { revision: count });

/// A certificate that was revoked and of which the issuer does not know so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntoldRow {
    pub serial: String,
    pub der: Vec<u8>,
}

from_row!(UntoldRow { serial: text, der: bytes });

impl TenantTx {
    pub async fn issuer(&mut self) -> Result<Option<IssuerRow>, StoreError> {
        const SQL: &str = "SELECT kind, config, credential, revision, updated_at FROM issuer WHERE tenant_id = $1";
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// The first one; a tenant that has one is `Conflict`.
    pub async fn insert_issuer(&mut self, row: &IssuerRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO issuer (tenant_id, kind, config, credential, revision, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6)";
        let params = params![self.scope.key(), &row.kind, &row.config, &row.credential, row.revision, row.updated_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn update_issuer(&mut self, row: &IssuerRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE issuer SET kind = $2, config = $3, credential = $4, revision = $5, updated_at = $6 \
             WHERE tenant_id = $1 AND revision = $7";
        let params =
            params![self.scope.key(), &row.kind, &row.config, &row.credential, row.revision, row.updated_at, expected];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Certificates of an authority that ended before their time, and of which its issuer was not told.
    pub async fn untold_certificates(&mut self, authority: &str, limit: u32) -> Result<Vec<UntoldRow>, StoreError> {
        const SQL: &str = "SELECT c.serial, c.der FROM certificate AS c \
             WHERE c.tenant_id = $1 AND c.authority = $2 AND c.status IN ('retired', 'revoked') AND NOT EXISTS \
             (SELECT 1 FROM issuer_told AS t WHERE t.tenant_id = $1 AND t.serial = c.serial) ORDER BY c.serial LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), authority, limit]).await
    }

    pub async fn put_issuer_told(&mut self, serial: &str, at: Timestamp) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO issuer_told (tenant_id, serial, told_at) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant_id, serial) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), serial, at]).await.map(drop)
    }
}

impl SystemTx {
    /// The revisions of all issuers.
    pub async fn issuer_revisions(&mut self) -> Result<Vec<Of<IssuerRevision>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, revision FROM issuer ORDER BY tenant_id";
        self.across().await?.query(SQL, params![]).await
    }
}
