-- Certificates that our authorities signed and that are no device's. kind: claim, attestation-key, registration, ocsp, server,
-- forgotten (it waited for a device and got none). authority is empty where it was not written down.
CREATE TABLE other_certificate (
    tenant_id TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL,
    authority TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    der BYTEA NOT NULL,
    issued_at BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    revoked_at BIGINT,
    reason TEXT COLLATE "C",
    crl_pending BIGINT NOT NULL DEFAULT 0,
    log_index BIGINT,
    PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX other_certificate_authority ON other_certificate (tenant_id, authority);

CREATE INDEX other_certificate_pending ON other_certificate (tenant_id, serial) WHERE crl_pending = 1;

CREATE UNIQUE INDEX other_certificate_logged ON other_certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;

CREATE INDEX other_certificate_unlogged ON other_certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;

INSERT INTO other_certificate (tenant_id, serial, authority, fingerprint, kind, der, issued_at, not_after, revoked_at, reason)
    SELECT tenant_id, serial, '', fingerprint, 'claim', der, created_at, expires_at, revoked_at,
        CASE WHEN revoked_at IS NULL THEN NULL ELSE 'privilege_withdrawn' END
    FROM claim;

ALTER TABLE other_certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE other_certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON other_certificate USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
