//! Fleet provisioning: templates, claims, and certificates that wait for their device.

use fleetward_base::Timestamp;

use super::{OtherCertificateRow, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRow {
    pub name: String,
    /// As it came.
    pub body: String,
    pub hook_url: Option<String>,
    /// Sealed.
    pub hook_secret: Option<Vec<u8>>,
    /// In PEM.
    pub hook_ca: Option<String>,
    pub enabled: bool,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(TemplateRow {
    name: text,
    body: text,
    hook_url: opt_text,
    hook_secret: opt_bytes,
    hook_ca: opt_text,
    enabled: bool,
    revision: count,
    created_by: text,
    created_at: time,
    updated_at: time,
});

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRow {
    pub name: String,
    pub kind: String,
    /// The template that it is good for.
    pub template: String,
    pub serial: String,
    pub fingerprint: String,
    pub der: Vec<u8>,
    /// How many devices may come with it.
    pub count_cap: Option<u64>,
    pub used: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

from_row!(ClaimRow {
    name: text,
    kind: text,
    template: text,
    serial: text,
    fingerprint: text,
    der: bytes,
    count_cap: opt_count,
    used: count,
    created_by: text,
    created_at: time,
    expires_at: time,
    revoked_at: opt_time,
});

/// A certificate that was issued to a claim and belongs to no device yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCertificateRow {
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub id: String,
    /// SHA-256 of the ownership token.
    pub token: Vec<u8>,
    pub claim: String,
    /// The connection that it was issued on, and the only one that it can be owned on.
    pub connection: String,
    pub serial: String,
    pub authority: String,
    pub request: Vec<u8>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub der: Vec<u8>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

from_row!(PendingCertificateRow {
    id: text,
    token: bytes,
    claim: text,
    connection: text,
    serial: text,
    authority: text,
    request: bytes,
    not_before: time,
    not_after: time,
    der: bytes,
    created_at: time,
    expires_at: time,
});

macro_rules! template {
    () => {
        "name, body, hook_url, hook_secret, hook_ca, enabled, revision, created_by, created_at, updated_at"
    };
}

macro_rules! claim {
    () => {
        "name, kind, template, serial, fingerprint, der, count_cap, used, created_by, created_at, expires_at, revoked_at"
    };
}

macro_rules! pending {
    () => {
        "id, token, claim, connection, serial, authority, request, not_before, not_after, der, created_at, expires_at"
    };
}

impl TenantTx {
    /// `false` where the name is taken.
    pub async fn insert_template(&mut self, row: &TemplateRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO provisioning_template (tenant_id, ",
            template!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.body,
            &row.hook_url,
            &row.hook_secret,
            &row.hook_ca,
            row.enabled,
            row.revision,
            &row.created_by,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn template(&mut self, name: &str) -> Result<Option<TemplateRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", template!(), " FROM provisioning_template WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    pub async fn templates(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<TemplateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            template!(),
            " FROM provisioning_template WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// `false` where it is not at `expected` any more.
    pub async fn update_template(&mut self, row: &TemplateRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE provisioning_template SET body = $3, hook_url = $4, hook_secret = $5, hook_ca = $6, \
             enabled = $7, revision = $8, updated_at = $9 WHERE tenant_id = $1 AND name = $2 AND revision = $10";
        let params = params![
            self.scope.key(),
            &row.name,
            &row.body,
            &row.hook_url,
            &row.hook_secret,
            &row.hook_ca,
            row.enabled,
            row.revision,
            row.updated_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// `false` where it is not at `expected` any more.
    pub async fn delete_template(&mut self, name: &str, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM provisioning_template WHERE tenant_id = $1 AND name = $2 AND revision = $3";
        self.conn.execute(SQL, params![self.scope.key(), name, expected]).await.map(hit)
    }

    /// `false` where the name is taken.
    pub async fn insert_claim(&mut self, row: &ClaimRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO claim (tenant_id, ",
            claim!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.kind,
            &row.template,
            &row.serial,
            &row.fingerprint,
            &row.der,
            row.count_cap,
            row.used,
            &row.created_by,
            row.created_at,
            row.expires_at,
            row.revoked_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn claim(&mut self, name: &str) -> Result<Option<ClaimRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", claim!(), " FROM claim WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// As [`claim`](Self::claim), and nobody else changes it until the unit ends.
    pub async fn claim_for_update(&mut self, name: &str) -> Result<Option<ClaimRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", claim!(), " FROM claim WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    pub async fn claims(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<ClaimRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", claim!(), " FROM claim WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3");
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// One more device came with it; how many that makes. None where it is full or revoked.
    pub async fn use_claim(&mut self, name: &str) -> Result<Option<u64>, StoreError> {
        const SQL: &str = "UPDATE claim SET used = used + 1 WHERE tenant_id = $1 AND name = $2 \
             AND revoked_at IS NULL AND (count_cap IS NULL OR used < count_cap) RETURNING used";
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// `false` where there is none, or it was revoked before.
    pub async fn revoke_claim(&mut self, name: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE claim SET revoked_at = $3 WHERE tenant_id = $1 AND name = $2 AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), name, at]).await.map(hit)
    }

    /// Forgets claims of one kind that ended before `before`; how many.
    pub async fn forget_claims(&mut self, kind: &str, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM claim WHERE tenant_id = $1 AND kind = $2 AND expires_at < $3";
        self.conn.execute(SQL, params![self.scope.key(), kind, before]).await
    }

    pub async fn insert_pending_certificate(&mut self, row: &PendingCertificateRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO pending_certificate (tenant_id, ",
            pending!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.token,
            &row.claim,
            &row.connection,
            &row.serial,
            &row.authority,
            &row.request,
            row.not_before,
            row.not_after,
            &row.der,
            row.created_at,
            row.expires_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// The certificate that the ownership token with this hash is for, also one whose hour is over.
    pub async fn pending_certificate_by_token(
        &mut self,
        token: &[u8],
    ) -> Result<Option<PendingCertificateRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", pending!(), " FROM pending_certificate WHERE tenant_id = $1 AND token = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), token]).await
    }

    pub async fn pending_certificate(&mut self, id: &str) -> Result<Option<PendingCertificateRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", pending!(), " FROM pending_certificate WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn pending_certificate_by_serial(
        &mut self,
        serial: &str,
    ) -> Result<Option<PendingCertificateRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", pending!(), " FROM pending_certificate WHERE tenant_id = $1 AND serial = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), serial]).await
    }

    /// Those of a claim that still wait, in the order of their ids.
    pub async fn pending_certificates(
        &mut self,
        claim: &str,
        after: Option<&str>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PendingCertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            pending!(),
            " FROM pending_certificate WHERE tenant_id = $1 AND claim = $2 AND id > $3 AND expires_at > $4 \
             ORDER BY id LIMIT $5"
        );
        self.conn.query(SQL, params![self.scope.key(), claim, after.unwrap_or_default(), now, limit]).await
    }

    /// The hour of one is over at once; `false` where it does not wait.
    pub async fn end_pending_certificate(&mut self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE pending_certificate SET expires_at = $3 WHERE tenant_id = $1 AND id = $2 \
             AND expires_at > $3";
        self.conn.execute(SQL, params![self.scope.key(), id, now]).await.map(hit)
    }

    /// How many wait that were issued to a claim.
    pub async fn count_pending_certificates(&mut self, claim: &str, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str =
            "SELECT COUNT(*) FROM pending_certificate WHERE tenant_id = $1 AND claim = $2 AND expires_at > $3";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), claim, now]).await?.unwrap_or(0))
    }

    /// Takes it out of those that wait; `false` where somebody was quicker.
    pub async fn take_pending_certificate(&mut self, id: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM pending_certificate WHERE tenant_id = $1 AND id = $2";
        self.conn.execute(SQL, params![self.scope.key(), id]).await.map(hit)
    }

    /// The hour of the oldest of a claim's is over at once, so that no more than `keep` wait; how many that ends.
    pub async fn end_pending_certificates(
        &mut self,
        claim: &str,
        keep: u64,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE pending_certificate SET expires_at = $4 WHERE tenant_id = $1 AND claim = $2 \
             AND expires_at > $4 AND id NOT IN (SELECT id FROM pending_certificate WHERE tenant_id = $1 AND claim = $2 \
             AND expires_at > $4 ORDER BY created_at DESC, id LIMIT $3)";
        self.conn.execute(SQL, params![self.scope.key(), claim, keep, now]).await
    }

    /// Takes those out of the ones that wait that nobody has owned in their hour. They are revoked: whoever has one may
    /// have its key. How many.
    pub async fn forget_pending_certificates(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str =
            concat!("DELETE FROM pending_certificate WHERE tenant_id = $1 AND expires_at <= $2 RETURNING ", pending!());
        let rows: Vec<PendingCertificateRow> = self.conn.query(SQL, params![self.scope.key(), now]).await?;
        for row in &rows {
            let forgotten = OtherCertificateRow {
                serial: row.serial.clone(),
                authority: row.authority.clone(),
                fingerprint: row.id.clone(),
                kind: "forgotten".to_owned(),
                der: row.der.clone(),
                issued_at: row.created_at,
                not_after: row.not_after,
                revoked_at: Some(now),
                reason: Some("cessation_of_operation".to_owned()),
            };
            self.insert_other_certificate(&forgotten).await?;
        }
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }
}
