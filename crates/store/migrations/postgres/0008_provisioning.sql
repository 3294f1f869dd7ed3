-- Fleet provisioning: templates, claims, certificates that wait for their device, and the authorities of factories.

-- hook_secret is sealed by the vault; hook_ca is the PEM that the hook's server is held to, where it is not a public one.
CREATE TABLE provisioning_template (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    hook_url TEXT,
    hook_secret BYTEA,
    hook_ca TEXT,
    enabled BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- kind: claim, user. count_cap: how many devices may come with it; null is no bound.
CREATE TABLE claim (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    template TEXT NOT NULL,
    serial TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    der BYTEA NOT NULL,
    count_cap BIGINT,
    used BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, name)
);

-- id is the certificate's SHA-256; token is the SHA-256 of the ownership token; request as in certificate.
CREATE TABLE pending_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    token BYTEA NOT NULL,
    claim TEXT NOT NULL,
    connection TEXT NOT NULL,
    serial TEXT NOT NULL,
    authority TEXT NOT NULL,
    request BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    der BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX pending_certificate_token ON pending_certificate (tenant_id, token);

CREATE INDEX pending_certificate_claim ON pending_certificate (tenant_id, claim, expires_at);

-- id is the certificate's SHA-256. mode: provision, register. status: active, disabled, revoked.
CREATE TABLE factory_authority (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    der BYTEA NOT NULL,
    mode TEXT NOT NULL,
    template TEXT,
    status TEXT NOT NULL,
    not_after BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

-- A certificate of a factory that came to a door. status: pending_activation, active, revoked.
CREATE TABLE factory_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    authority TEXT NOT NULL,
    name TEXT NOT NULL,
    serial_number TEXT,
    device TEXT,
    der BYTEA NOT NULL,
    status TEXT NOT NULL,
    address TEXT,
    first_seen_at BIGINT NOT NULL,
    activated_at BIGINT,
    activated_by TEXT,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX factory_certificate_status ON factory_certificate (tenant_id, status, id);

-- What a factory's authority signs to prove that its key is at hand.
CREATE TABLE registration_code (
    tenant_id TEXT NOT NULL,
    code TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, code)
);

-- A code that goes with a device to whoever unpacks it. hash is SHA-256 of the code; subject is the device's name or its
-- serial number, as subject_kind says: device, serial.
CREATE TABLE claim_code (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    hash BYTEA NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    used_by TEXT,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX claim_code_hash ON claim_code (tenant_id, hash);

CREATE INDEX claim_code_subject ON claim_code (tenant_id, subject_kind, subject);

ALTER TABLE provisioning_template ENABLE ROW LEVEL SECURITY;
ALTER TABLE provisioning_template FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON provisioning_template USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE claim ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON claim USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE pending_certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE pending_certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON pending_certificate USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE factory_authority ENABLE ROW LEVEL SECURITY;
ALTER TABLE factory_authority FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON factory_authority USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE factory_certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE factory_certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON factory_certificate USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE registration_code ENABLE ROW LEVEL SECURITY;
ALTER TABLE registration_code FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON registration_code USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE claim_code ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim_code FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON claim_code USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
