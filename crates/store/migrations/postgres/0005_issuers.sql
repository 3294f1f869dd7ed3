-- Who signs, whose authority follows whose, and which device holds which anchor.

-- The issuer of a tenant's certificates where it is not our own key. config is JSON; credential is sealed by the vault.
CREATE TABLE issuer (
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    config TEXT COLLATE "C" NOT NULL,
    credential BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

-- Revoked certificates that the external issuer was told of.
CREATE TABLE issuer_told (
    tenant_id TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL,
    told_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, serial)
);

-- standing: next, current, retiring, retired. An authority without a row is current.
CREATE TABLE authority_standing (
    tenant_id TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    standing TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint)
);

-- One authority follows another. kind: issuing, root. stage: publish, issue, retired, canceled. plan is JSON.
CREATE TABLE ca_rotation (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    old_ca TEXT COLLATE "C" NOT NULL,
    new_ca TEXT COLLATE "C" NOT NULL,
    plan TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    stage_at BIGINT NOT NULL,
    finished_at BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX ca_rotation_open ON ca_rotation (tenant_id) WHERE finished_at IS NULL;

-- Devices that hold a root as a trust anchor.
CREATE TABLE anchor_held (
    tenant_id TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint, device)
);

CREATE INDEX certificate_authority ON certificate (tenant_id, authority) WHERE status IN ('issued', 'active');

CREATE INDEX certificate_revoked ON certificate (tenant_id, authority) WHERE status = 'revoked';

ALTER TABLE issuer ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuer FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON issuer USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE issuer_told ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuer_told FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON issuer_told USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE authority_standing ENABLE ROW LEVEL SECURITY;
ALTER TABLE authority_standing FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authority_standing USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE ca_rotation ENABLE ROW LEVEL SECURITY;
ALTER TABLE ca_rotation FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON ca_rotation USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE anchor_held ENABLE ROW LEVEL SECURITY;
ALTER TABLE anchor_held FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON anchor_held USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
