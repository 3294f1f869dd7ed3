//! Sealed private keys and the certificates of our own authorities.
//!
//! The store sees sealed bytes only. Keys and authorities of the installation itself are reached by
//! [`SystemTx::installation`].

use fleetward_base::Timestamp;

use super::Of;
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKeyRow {
    /// What the key is for; one key for each purpose.
    pub purpose: String,
    /// As the vault sealed it.
    pub sealed: Vec<u8>,
    /// The public half (SubjectPublicKeyInfo, DER).
    pub public: Vec<u8>,
    pub created_at: Timestamp,
}

from_row!(SealedKeyRow { purpose: text, sealed: bytes, public: bytes, created_at: time });

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRow {
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// `root`, `cross`, `infra`, `tenants`, `issuing` or `external`.
    pub kind: String,
    pub der: Vec<u8>,
    /// The purpose of its sealed key; empty where the key is not here.
    pub key_purpose: String,
    pub not_after: Timestamp,
    pub created_at: Timestamp,
}

from_row!(AuthorityRow {
    fingerprint: text,
    kind: text,
    der: bytes,
    key_purpose: text,
    not_after: time,
    created_at: time,
});

/// Where an authority stands in the course of its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityStandingRow {
    pub fingerprint: String,
    /// `next`, `current`, `retiring`, `retired`.
    pub standing: String,
    pub since: Timestamp,
}

from_row!(AuthorityStandingRow { fingerprint: text, standing: text, since: time });

impl TenantTx {
    pub async fn sealed_key(&mut self, purpose: &str) -> Result<Option<SealedKeyRow>, StoreError> {
        const SQL: &str = "SELECT purpose, sealed, public, created_at FROM sealed_key \
             WHERE tenant_id = $1 AND purpose = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), purpose]).await
    }

    /// Keeps a key, in place of the one that had this purpose.
    pub async fn put_sealed_key(&mut self, row: &SealedKeyRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO sealed_key (tenant_id, purpose, sealed, public, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, purpose) \
             DO UPDATE SET sealed = excluded.sealed, public = excluded.public, created_at = excluded.created_at";
        let params = params![self.scope.key(), &row.purpose, &row.sealed, &row.public, row.created_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// A page of the sealed keys, by purpose, after `after`.
    pub async fn sealed_keys(&mut self, after: &str, limit: u32) -> Result<Vec<SealedKeyRow>, StoreError> {
        const SQL: &str = "SELECT purpose, sealed, public, created_at FROM sealed_key \
             WHERE tenant_id = $1 AND purpose > $2 ORDER BY purpose LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// The same key sealed anew; `false` where somebody put another in its place meanwhile.
    pub async fn reseal_key(&mut self, purpose: &str, before: &[u8], sealed: &[u8]) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE sealed_key SET sealed = $4 WHERE tenant_id = $1 AND purpose = $2 AND sealed = $3";
        self.conn.execute(SQL, params![self.scope.key(), purpose, before, sealed]).await.map(super::hit)
    }

    /// The key with this public half (SubjectPublicKeyInfo, DER).
    pub async fn sealed_key_by_public(&mut self, public: &[u8]) -> Result<Option<SealedKeyRow>, StoreError> {
        const SQL: &str = "SELECT purpose, sealed, public, created_at FROM sealed_key \
             WHERE tenant_id = $1 AND public = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), public]).await
    }

    /// Takes a key out of the store for good; `false` where there is none.
    pub async fn destroy_sealed_key(&mut self, purpose: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM sealed_key WHERE tenant_id = $1 AND purpose = $2";
        self.conn.execute(SQL, params![self.scope.key(), purpose]).await.map(super::hit)
    }

    pub async fn authority_standings(&mut self) -> Result<Vec<AuthorityStandingRow>, StoreError> {
        const SQL: &str = "SELECT fingerprint, standing, since FROM authority_standing WHERE tenant_id = $1 \
             ORDER BY fingerprint";
        self.conn.query(SQL, params![self.scope.key()]).await
    }

    pub async fn put_authority_standing(&mut self, row: &AuthorityStandingRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO authority_standing (tenant_id, fingerprint, standing, since) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, fingerprint) \
             DO UPDATE SET standing = excluded.standing, since = excluded.since";
        let params = params![self.scope.key(), &row.fingerprint, &row.standing, row.since];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// How many certificates of an authority still count at `now`: all that `core::rotation` accepts.
    pub async fn usable_certificates(&mut self, authority: &str, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM certificate WHERE tenant_id = $1 AND authority = $2 \
             AND status NOT IN ('pending', 'retired', 'revoked') AND not_after >= $3";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), authority, now]).await?.unwrap_or(0))
    }

    /// Keeps the certificate of an authority; `false` where it is known already.
    pub async fn put_authority(&mut self, row: &AuthorityRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO authority \
             (tenant_id, fingerprint, kind, der, key_purpose, not_after, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, fingerprint) DO NOTHING";
        let params = params![
            self.scope.key(),
            &row.fingerprint,
            &row.kind,
            &row.der,
            &row.key_purpose,
            row.not_after,
            row.created_at
        ];
        self.conn.execute(SQL, params).await.map(super::hit)
    }

    /// All of them, the newest first.
    pub async fn authorities(&mut self) -> Result<Vec<AuthorityRow>, StoreError> {
        const SQL: &str = "SELECT fingerprint, kind, der, key_purpose, not_after, created_at FROM authority \
             WHERE tenant_id = $1 ORDER BY created_at DESC, fingerprint";
        self.conn.query(SQL, params![self.scope.key()]).await
    }
}

impl SystemTx {
    /// All authorities of all tenants and of the installation, for the trust index.
    pub async fn all_authorities(&mut self) -> Result<Vec<Of<AuthorityRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, fingerprint, kind, der, key_purpose, not_after, created_at \
             FROM authority ORDER BY tenant_id, created_at, fingerprint";
        self.across().await?.query(SQL, params![]).await
    }

    /// Where the authorities of all tenants and of the installation stand; those without a row are current.
    pub async fn all_authority_standings(&mut self) -> Result<Vec<Of<AuthorityStandingRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, fingerprint, standing, since FROM authority_standing \
             ORDER BY tenant_id, fingerprint";
        self.across().await?.query(SQL, params![]).await
    }
}
