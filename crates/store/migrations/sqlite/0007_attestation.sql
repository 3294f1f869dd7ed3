-- Attestation: what each device proved last, what vouches for evidence, and what is good.
CREATE TABLE attestation (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    challenge BLOB,
    challenge_until INTEGER,
    pending TEXT,
    identity TEXT,
    root TEXT,
    anchor TEXT,
    attestation_key BLOB,
    key_certificate BLOB,
    format TEXT,
    verdict TEXT,
    reasons TEXT NOT NULL,
    measurements TEXT NOT NULL,
    boots INTEGER,
    clock_ms INTEGER,
    attested_at INTEGER,
    lapsed INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device)
) STRICT;

CREATE INDEX attestation_identity ON attestation (tenant_id, identity);

CREATE INDEX attestation_age ON attestation (tenant_id, lapsed, attested_at);

CREATE TABLE attestation_anchor (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    root TEXT NOT NULL,
    value BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE attestation_reference (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    hardware TEXT NOT NULL,
    firmware TEXT NOT NULL,
    state TEXT NOT NULL,
    wanted INTEGER NOT NULL,
    teachers TEXT NOT NULL,
    measurements TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
