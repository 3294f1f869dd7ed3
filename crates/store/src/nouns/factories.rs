//! Authorities of factories, what they issued, and the codes with which their devices are claimed.

use fleetward_base::{DeviceId, Timestamp, TokenId};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactoryAuthorityRow {
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub id: String,
    pub name: String,
    pub der: Vec<u8>,
    pub mode: String,
    /// By which a device's record is made.
    pub template: Option<String>,
    pub status: String,
    pub not_after: Timestamp,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

from_row!(FactoryAuthorityRow {
    id: text,
    name: text,
    der: bytes,
    mode: text,
    template: opt_text,
    status: text,
    not_after: time,
    revision: count,
    created_by: text,
    created_at: time,
    revoked_at: opt_time,
});

/// A factory's certificate that came to a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactoryCertificateRow {
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub id: String,
    pub authority: String,
    /// What the device is to be called.
    pub name: String,
    /// As the certificate's subject says it.
    pub serial_number: Option<String>,
    pub device: Option<DeviceId>,
    pub der: Vec<u8>,
    pub status: String,
    pub address: Option<String>,
    pub first_seen_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub activated_by: Option<String>,
}

from_row!(FactoryCertificateRow {
    id: text,
    authority: text,
    name: text,
    serial_number: opt_text,
    device: opt_id,
    der: bytes,
    status: text,
    address: opt_text,
    first_seen_at: time,
    activated_at: opt_time,
    activated_by: opt_text,
});

/// A code that an authority signs to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationCodeRow {
    pub code: String,
    pub expires_at: Timestamp,
}

from_row!(RegistrationCodeRow { code: text, expires_at: time });

/// A code that goes with a device to whoever unpacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCodeRow {
    pub id: TokenId,
    /// SHA-256 of the code.
    pub hash: Vec<u8>,
    pub subject_kind: String,
    pub subject: String,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub used_by: Option<String>,
    pub revoked_at: Option<Timestamp>,
    /// The factory's certificate that came in by it.
    pub certificate: Option<String>,
}

from_row!(ClaimCodeRow {
    id: id,
    hash: bytes,
    subject_kind: text,
    subject: text,
    created_by: text,
    created_at: time,
    expires_at: time,
    used_at: opt_time,
    used_by: opt_text,
    revoked_at: opt_time,
    certificate: opt_text,
});

macro_rules! authority {
    () => {
        "id, name, der, mode, template, status, not_after, revision, created_by, created_at, revoked_at"
    };
}

macro_rules! certificate {
    () => {
        "id, authority, name, serial_number, device, der, status, address, first_seen_at, activated_at, activated_by"
    };
}

macro_rules! code {
    () => {
        "id, hash, subject_kind, subject, created_by, created_at, expires_at, used_at, used_by, revoked_at, certificate"
    };
}

impl TenantTx {
    /// `false` where it is registered already.
    pub async fn insert_factory_authority(&mut self, row: &FactoryAuthorityRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO factory_authority (tenant_id, ",
            authority!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (tenant_id, id) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.name,
            &row.der,
            &row.mode,
            &row.template,
            &row.status,
            row.not_after,
            row.revision,
            &row.created_by,
            row.created_at,
            row.revoked_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn factory_authority(&mut self, id: &str) -> Result<Option<FactoryAuthorityRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", authority!(), " FROM factory_authority WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn factory_authorities(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<FactoryAuthorityRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            authority!(),
            " FROM factory_authority WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// `false` where it is not at `expected` any more.
    pub async fn update_factory_authority(
        &mut self,
        row: &FactoryAuthorityRow,
        expected: u64,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE factory_authority SET name = $3, mode = $4, template = $5, status = $6, revision = $7, \
             revoked_at = $8 WHERE tenant_id = $1 AND id = $2 AND revision = $9";
        let params = params![
            self.scope.key(),
            &row.id,
            &row.name,
            &row.mode,
            &row.template,
            &row.status,
            row.revision,
            row.revoked_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Takes the certificate of an authority away from the trust index; `false` where it is not there.
    pub async fn remove_authority(&mut self, fingerprint: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM authority WHERE tenant_id = $1 AND fingerprint = $2 AND kind = 'factory'";
        self.conn.execute(SQL, params![self.scope.key(), fingerprint]).await.map(hit)
    }

    /// `false` where it is known already.
    pub async fn insert_factory_certificate(&mut self, row: &FactoryCertificateRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO factory_certificate (tenant_id, ",
            certificate!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (tenant_id, id) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.authority,
            &row.name,
            &row.serial_number,
            &row.device,
            &row.der,
            &row.status,
            &row.address,
            row.first_seen_at,
            row.activated_at,
            &row.activated_by
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn factory_certificate(&mut self, id: &str) -> Result<Option<FactoryCertificateRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", certificate!(), " FROM factory_certificate WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those of one status, or all.
    pub async fn factory_certificates(
        &mut self,
        status: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<FactoryCertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            certificate!(),
            " FROM factory_certificate WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) AND id > $3 \
             ORDER BY id LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), status, after.unwrap_or_default(), limit]).await
    }

    /// Those that wait and whose name or serial number is this one, by what `kind` says; no more than `limit`.
    pub async fn factory_certificates_of(
        &mut self,
        kind: &str,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<FactoryCertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            certificate!(),
            " FROM factory_certificate WHERE tenant_id = $1 AND status = 'pending_activation' \
             AND CASE WHEN $2 = 'device' THEN name ELSE serial_number END = $3 ORDER BY id LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), kind, subject, limit]).await
    }

    /// How many wait that one authority issued.
    pub async fn count_factory_certificates(&mut self, authority: &str) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM factory_certificate WHERE tenant_id = $1 AND status = 'pending_activation' \
             AND authority = $2";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), authority]).await?.unwrap_or(0))
    }

    /// It is a device's from here on; `false` where it was before, or is not there.
    pub async fn activate_factory_certificate(
        &mut self,
        id: &str,
        device: &DeviceId,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE factory_certificate SET status = 'active', device = $3, activated_by = $4, \
             activated_at = $5 WHERE tenant_id = $1 AND id = $2 AND status = 'pending_activation'";
        self.conn.execute(SQL, params![self.scope.key(), id, device, by, at]).await.map(hit)
    }

    /// Forgets those that have waited since before `before`; how many.
    pub async fn forget_factory_certificates(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM factory_certificate WHERE tenant_id = $1 AND status = 'pending_activation' \
             AND first_seen_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }

    pub async fn insert_registration_code(
        &mut self,
        code: &str,
        by: &str,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO registration_code (tenant_id, code, created_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5)";
        self.conn.execute(SQL, params![self.scope.key(), code, by, at, expires_at]).await.map(drop)
    }

    /// The code that holds longest, if it holds after `until`.
    pub async fn standing_registration_code(
        &mut self,
        until: Timestamp,
    ) -> Result<Option<RegistrationCodeRow>, StoreError> {
        const SQL: &str = "SELECT code, expires_at FROM registration_code WHERE tenant_id = $1 AND expires_at > $2 \
             ORDER BY expires_at DESC, code LIMIT 1";
        self.conn.query_opt(SQL, params![self.scope.key(), until]).await
    }

    /// Uses a code up; `false` where there is none, or its time is over.
    pub async fn use_registration_code(&mut self, code: &str, now: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM registration_code WHERE tenant_id = $1 AND code = $2 AND expires_at > $3";
        self.conn.execute(SQL, params![self.scope.key(), code, now]).await.map(hit)
    }

    /// Forgets the codes whose time is over; how many.
    pub async fn forget_registration_codes(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM registration_code WHERE tenant_id = $1 AND expires_at <= $2";
        self.conn.execute(SQL, params![self.scope.key(), now]).await
    }

    pub async fn insert_claim_code(&mut self, row: &ClaimCodeRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO claim_code (tenant_id, ",
            code!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.hash,
            &row.subject_kind,
            &row.subject,
            &row.created_by,
            row.created_at,
            row.expires_at,
            row.used_at,
            &row.used_by,
            row.revoked_at,
            &row.certificate
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn claim_code(&mut self, id: TokenId) -> Result<Option<ClaimCodeRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", code!(), " FROM claim_code WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn claim_code_by_hash(&mut self, hash: &[u8]) -> Result<Option<ClaimCodeRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", code!(), " FROM claim_code WHERE tenant_id = $1 AND hash = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), hash]).await
    }

    /// A code for this device or serial number that somebody has used, and that let nothing in yet.
    pub async fn used_claim_code(&mut self, kind: &str, subject: &str) -> Result<Option<ClaimCodeRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            code!(),
            " FROM claim_code WHERE tenant_id = $1 AND subject_kind = $2 AND subject = $3 AND used_at IS NOT NULL \
             AND certificate IS NULL ORDER BY used_at DESC LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), kind, subject]).await
    }

    pub async fn claim_codes(&mut self, after: Option<TokenId>, limit: u32) -> Result<Vec<ClaimCodeRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", code!(), " FROM claim_code WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// `false` where it was used or revoked before.
    pub async fn use_claim_code(&mut self, id: TokenId, by: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE claim_code SET used_at = $3, used_by = $4 \
             WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at, by]).await.map(hit)
    }

    /// The factory's certificate comes in by it; `false` where another one did.
    pub async fn bind_claim_code(&mut self, id: TokenId, certificate: &str) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE claim_code SET certificate = $3 \
             WHERE tenant_id = $1 AND id = $2 AND used_at IS NOT NULL AND certificate IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, certificate]).await.map(hit)
    }

    /// `false` where it was used or revoked before.
    pub async fn revoke_claim_code(&mut self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE claim_code SET revoked_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Forgets those that ended before `before`; how many.
    pub async fn forget_claim_codes(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM claim_code WHERE tenant_id = $1 AND expires_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}
