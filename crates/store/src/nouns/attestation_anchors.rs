//! What vouches for evidence: roots of makers, keys on a list, keys of tokens.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationAnchorRow {
    /// SHA-256 of what it is, hex.
    pub id: String,
    /// `tpm-root`, `endorsement-key`, `token-key` or `dice-root`.
    pub kind: String,
    pub name: String,
    /// The root of trust that devices have for which it vouches.
    pub root: String,
    /// DER of the certificate or the key; of an endorsement key on the list, its hash.
    pub value: Vec<u8>,
    pub created_by: String,
    pub created_at: Timestamp,
}

from_row!(AttestationAnchorRow {
    id: text,
    kind: text,
    name: text,
    root: text,
    value: bytes,
    created_by: text,
    created_at: time,
});

macro_rules! columns {
    () => {
        "id, kind, name, root, value, created_by, created_at"
    };
}

impl TenantTx {
    /// `false` where it is there already.
    pub async fn insert_attestation_anchor(&mut self, row: &AttestationAnchorRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO attestation_anchor (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, id) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.kind,
            &row.name,
            &row.root,
            &row.value,
            &row.created_by,
            row.created_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn attestation_anchor(&mut self, id: &str) -> Result<Option<AttestationAnchorRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM attestation_anchor WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// All of them, of one kind or of any.
    pub async fn attestation_anchors(
        &mut self,
        kind: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AttestationAnchorRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM attestation_anchor WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR kind = $2) AND id > $3 \
             ORDER BY id LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), kind, after.unwrap_or_default(), limit]).await
    }

    /// `false` where there is none.
    pub async fn remove_attestation_anchor(&mut self, id: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM attestation_anchor WHERE tenant_id = $1 AND id = $2";
        self.conn.execute(SQL, params![self.scope.key(), id]).await.map(hit)
    }
}
