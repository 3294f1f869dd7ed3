-- What devices may come in by: the manufacturing database, symmetric keys, people's approval, and names of other systems.

-- root_of_trust, class and the like are the maker's word; attested_by is the id of the maker's key that signed it.
CREATE TABLE inventory (
    tenant_id TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    class TEXT COLLATE "C",
    hardware TEXT COLLATE "C",
    ek_hash TEXT COLLATE "C",
    batch TEXT COLLATE "C",
    maker TEXT COLLATE "C",
    root_of_trust TEXT COLLATE "C",
    attestation TEXT COLLATE "C",
    attested_by TEXT COLLATE "C",
    imported_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, serial)
);

CREATE UNIQUE INDEX inventory_device ON inventory (tenant_id, device);

CREATE INDEX inventory_batch ON inventory (tenant_id, batch, serial) WHERE batch IS NOT NULL;

-- The key that a maker signs its rows with, as a SubjectPublicKeyInfo.
CREATE TABLE maker (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- kind: group, individual. The keys are sealed. An individual one is named as its device is.
CREATE TABLE enrollment (
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    primary_key BYTEA NOT NULL,
    secondary_key BYTEA NOT NULL,
    class TEXT COLLATE "C",
    hardware TEXT COLLATE "C",
    payload TEXT COLLATE "C",
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT,
    revoked_at BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
);

-- The opaque name of a tenant for devices that have no credential yet (DPS calls it ID scope).
CREATE TABLE id_scope (
    tenant_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

-- status: assigning, assigned. request is the PKCS#10 that the device sent with it.
CREATE TABLE dps_registration (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    enrollment TEXT COLLATE "C",
    serial TEXT COLLATE "C",
    request BYTEA,
    payload TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Devices that wait for a person. id is SHA-256 over tenant, public key and subject, in hex, or over a device code.
-- state: pending, approved, denied, used; one that is past expires_at counts as expired.
CREATE TABLE enrollment_request (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    user_code TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    way TEXT COLLATE "C" NOT NULL,
    key_fingerprint TEXT COLLATE "C",
    facts TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    device_code BYTEA UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_by TEXT COLLATE "C",
    decided_at BIGINT,
    note TEXT COLLATE "C",
    token TEXT COLLATE "C",
    PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX enrollment_request_code ON enrollment_request (tenant_id, user_code);

CREATE INDEX enrollment_request_age ON enrollment_request (tenant_id, created_at, id);

CREATE INDEX enrollment_request_device ON enrollment_request (tenant_id, device);

-- Decentralised identifiers whose keys a device has proved to hold.
CREATE TABLE device_did (
    tenant_id TEXT COLLATE "C" NOT NULL,
    did TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL,
    added_by TEXT COLLATE "C" NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, did)
);

CREATE INDEX device_did_device ON device_did (tenant_id, device, did);

ALTER TABLE inventory ENABLE ROW LEVEL SECURITY;
ALTER TABLE inventory FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON inventory USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE maker ENABLE ROW LEVEL SECURITY;
ALTER TABLE maker FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON maker USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE enrollment ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrollment FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON enrollment USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE id_scope ENABLE ROW LEVEL SECURITY;
ALTER TABLE id_scope FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON id_scope USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE dps_registration ENABLE ROW LEVEL SECURITY;
ALTER TABLE dps_registration FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON dps_registration USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE enrollment_request ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrollment_request FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON enrollment_request USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE device_did ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_did FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON device_did USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
