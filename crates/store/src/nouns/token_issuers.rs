//! Token services that a tenant believes, and the tokens of theirs that were exchanged.

use fleetward_base::Timestamp;

use super::{Of, hit};
use crate::sql::{Cells, FromRow, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuerRow {
    pub name: String,
    /// The `iss` of its tokens; one row of a tenant for each.
    pub issuer: String,
    /// JSON, as the core writes it.
    pub rules: String,
    /// Its public keys; without them they are asked for.
    pub jwks: Option<String>,
    pub jwks_url: Option<String>,
    /// PEM that the server of the keys is held to.
    pub anchors: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

from_row!(TokenIssuerRow {
    name: text,
    issuer: text,
    rules: text,
    jwks: opt_text,
    jwks_url: opt_text,
    anchors: opt_text,
    created_by: text,
    created_at: time,
    updated_at: time,
    disabled_at: opt_time,
});

/// Tells whether anything about the token services of a tenant, or the tenant itself, changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIssuerMark {
    pub count: u64,
    pub disabled: u64,
    pub updated_at: Timestamp,
    /// Of the tenant.
    pub revision: u64,
}

from_row!(TokenIssuerMark { count: count, disabled: count, updated_at: time, revision: count });

struct Used(Vec<u8>);

impl FromRow for Used {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.bytes().map(Self)
    }
}

macro_rules! columns {
    () => {
        "name, issuer, rules, jwks, jwks_url, anchors, created_by, created_at, updated_at, disabled_at"
    };
}

impl TenantTx {
    /// In place of the one of this name. An issuer that stands under another name is `Conflict`.
    pub async fn put_token_issuer(&mut self, row: &TokenIssuerRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO token_issuer (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant_id, name) DO UPDATE SET \
             issuer = excluded.issuer, rules = excluded.rules, jwks = excluded.jwks, jwks_url = excluded.jwks_url, \
             anchors = excluded.anchors, updated_at = excluded.updated_at, disabled_at = excluded.disabled_at"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.issuer,
            &row.rules,
            &row.jwks,
            &row.jwks_url,
            &row.anchors,
            &row.created_by,
            row.created_at,
            row.updated_at,
            row.disabled_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn token_issuer(&mut self, name: &str) -> Result<Option<TokenIssuerRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM token_issuer WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// The one whose tokens say this.
    pub async fn token_issuer_of(&mut self, issuer: &str) -> Result<Option<TokenIssuerRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM token_issuer WHERE tenant_id = $1 AND issuer = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), issuer]).await
    }

    /// By name, after `after`.
    pub async fn token_issuers(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<TokenIssuerRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM token_issuer WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// `false` where there is none of this name.
    pub async fn remove_token_issuer(&mut self, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM token_issuer WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(SQL, params![self.scope.key(), name]).await.map(hit)
    }

    /// For which request a token was exchanged; none where it was not.
    pub async fn token_use(&mut self, issuer: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        const SQL: &str = "SELECT request FROM token_use WHERE tenant_id = $1 AND issuer = $2 AND id = $3";
        let used: Option<Used> = self.conn.query_opt(SQL, params![self.scope.key(), issuer, id]).await?;
        Ok(used.map(|used| used.0))
    }

    /// `false` where it was exchanged before.
    pub async fn use_token(
        &mut self,
        issuer: &str,
        id: &str,
        request: &[u8],
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO token_use (tenant_id, issuer, id, request, expires_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, issuer, id) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), issuer, id, request, expires_at]).await.map(hit)
    }

    /// Forgets those that ended before `before`; how many.
    pub async fn forget_token_uses(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM token_use WHERE tenant_id = $1 AND expires_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}

impl SystemTx {
    /// Of every tenant that has a token service.
    pub async fn token_issuer_marks(&mut self) -> Result<Vec<Of<TokenIssuerMark>>, StoreError> {
        const SQL: &str = "SELECT i.tenant_id, count(*), count(i.disabled_at), max(i.updated_at), max(t.revision) FROM token_issuer AS i \
             JOIN tenant AS t ON t.tenant_id = i.tenant_id GROUP BY i.tenant_id ORDER BY i.tenant_id";
        self.across().await?.query(SQL, params![]).await
    }
}
