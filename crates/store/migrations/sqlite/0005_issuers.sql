-- Who signs, whose authority follows whose, and which device holds which anchor.

-- The issuer of a tenant's certificates where it is not our own key. config is JSON; credential is sealed by the vault.
CREATE TABLE issuer (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    config TEXT NOT NULL,
    credential BLOB NOT NULL,
    revision INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

-- Revoked certificates that the external issuer was told of.
CREATE TABLE issuer_told (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, serial)
) STRICT, WITHOUT ROWID;

-- standing: next, current, retiring, retired. An authority without a row is current.
CREATE TABLE authority_standing (
    tenant_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    standing TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint)
) STRICT, WITHOUT ROWID;

-- One authority follows another. kind: issuing, root. stage: publish, issue, retired, canceled. plan is JSON.
CREATE TABLE ca_rotation (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    stage TEXT NOT NULL,
    old_ca TEXT NOT NULL,
    new_ca TEXT NOT NULL,
    plan TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    stage_at INTEGER NOT NULL,
    finished_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX ca_rotation_open ON ca_rotation (tenant_id) WHERE finished_at IS NULL;

-- Devices that hold a root as a trust anchor.
CREATE TABLE anchor_held (
    tenant_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    device TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX certificate_authority ON certificate (tenant_id, authority) WHERE status IN ('issued', 'active');

CREATE INDEX certificate_revoked ON certificate (tenant_id, authority) WHERE status = 'revoked';
