-- Certificates that our authorities signed and that are no device's. kind: claim, attestation-key, registration, ocsp, server,
-- forgotten (it waited for a device and got none). authority is empty where it was not written down.
CREATE TABLE other_certificate (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    authority TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL,
    der BLOB NOT NULL,
    issued_at INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    revoked_at INTEGER,
    reason TEXT,
    crl_pending INTEGER NOT NULL DEFAULT 0,
    log_index INTEGER,
    PRIMARY KEY (tenant_id, serial)
) STRICT;

CREATE INDEX other_certificate_authority ON other_certificate (tenant_id, authority);

CREATE INDEX other_certificate_pending ON other_certificate (tenant_id, serial) WHERE crl_pending = 1;

CREATE UNIQUE INDEX other_certificate_logged ON other_certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;

CREATE INDEX other_certificate_unlogged ON other_certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;

INSERT INTO other_certificate (tenant_id, serial, authority, fingerprint, kind, der, issued_at, not_after, revoked_at, reason)
    SELECT tenant_id, serial, '', fingerprint, 'claim', der, created_at, expires_at, revoked_at,
        CASE WHEN revoked_at IS NULL THEN NULL ELSE 'privilege_withdrawn' END
    FROM claim;
