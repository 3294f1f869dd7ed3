-- What devices may come in by: the manufacturing database, symmetric keys, people's approval, and names of other systems.

-- root_of_trust, class and the like are the maker's word; attested_by is the id of the maker's key that signed it.
CREATE TABLE inventory (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    class TEXT,
    hardware TEXT,
    ek_hash TEXT,
    batch TEXT,
    maker TEXT,
    root_of_trust TEXT,
    attestation TEXT,
    attested_by TEXT,
    imported_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, serial)
) STRICT;

CREATE UNIQUE INDEX inventory_device ON inventory (tenant_id, device);

CREATE INDEX inventory_batch ON inventory (tenant_id, batch, serial) WHERE batch IS NOT NULL;

-- The key that a maker signs its rows with, as a SubjectPublicKeyInfo.
CREATE TABLE maker (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- kind: group, individual. The keys are sealed. An individual one is named as its device is.
CREATE TABLE enrollment (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    primary_key BLOB NOT NULL,
    secondary_key BLOB NOT NULL,
    class TEXT,
    hardware TEXT,
    payload TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    rotated_at INTEGER,
    revoked_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
) STRICT;

-- The opaque name of a tenant for devices that have no credential yet (DPS calls it ID scope).
CREATE TABLE id_scope (
    tenant_id TEXT NOT NULL,
    scope TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;

-- status: assigning, assigned. request is the PKCS#10 that the device sent with it.
CREATE TABLE dps_registration (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    operation TEXT NOT NULL,
    status TEXT NOT NULL,
    enrollment TEXT,
    serial TEXT,
    request BLOB,
    payload TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- Devices that wait for a person. id is SHA-256 over tenant, public key and subject, in hex, or over a device code.
-- state: pending, approved, denied, used; one that is past expires_at counts as expired.
CREATE TABLE enrollment_request (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_code TEXT NOT NULL,
    device TEXT NOT NULL,
    way TEXT NOT NULL,
    key_fingerprint TEXT,
    facts TEXT NOT NULL,
    address TEXT,
    state TEXT NOT NULL,
    device_code BLOB UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER,
    note TEXT,
    token TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE UNIQUE INDEX enrollment_request_code ON enrollment_request (tenant_id, user_code);

CREATE INDEX enrollment_request_age ON enrollment_request (tenant_id, created_at, id);

CREATE INDEX enrollment_request_device ON enrollment_request (tenant_id, device);

-- Decentralised identifiers whose keys a device has proved to hold.
CREATE TABLE device_did (
    tenant_id TEXT NOT NULL,
    did TEXT NOT NULL,
    device TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, did)
) STRICT;

CREATE INDEX device_did_device ON device_did (tenant_id, device, did);
