-- Attestation: what each device proved last, what vouches for evidence, and what is good.
CREATE TABLE attestation (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    challenge BYTEA,
    challenge_until BIGINT,
    pending TEXT COLLATE "C",
    identity TEXT COLLATE "C",
    root TEXT COLLATE "C",
    anchor TEXT COLLATE "C",
    attestation_key BYTEA,
    key_certificate BYTEA,
    format TEXT COLLATE "C",
    verdict TEXT COLLATE "C",
    reasons TEXT COLLATE "C" NOT NULL,
    measurements TEXT COLLATE "C" NOT NULL,
    boots BIGINT,
    clock_ms BIGINT,
    attested_at BIGINT,
    lapsed BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, device)
);

CREATE INDEX attestation_identity ON attestation (tenant_id, identity);

CREATE INDEX attestation_age ON attestation (tenant_id, lapsed, attested_at);

CREATE TABLE attestation_anchor (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    root TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE attestation_reference (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    hardware TEXT COLLATE "C" NOT NULL,
    firmware TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    wanted BIGINT NOT NULL,
    teachers TEXT COLLATE "C" NOT NULL,
    measurements TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

ALTER TABLE attestation ENABLE ROW LEVEL SECURITY;
ALTER TABLE attestation FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON attestation USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE attestation_anchor ENABLE ROW LEVEL SECURITY;
ALTER TABLE attestation_anchor FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON attestation_anchor USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE attestation_reference ENABLE ROW LEVEL SECURITY;
ALTER TABLE attestation_reference FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON attestation_reference USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
