-- Fleet provisioning: templates, claims, certificates that wait for their device, and the authorities of factories.

-- hook_secret is sealed by the vault; hook_ca is the PEM that the hook's server is held to, where it is not a public one.
CREATE TABLE provisioning_template (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    hook_url TEXT,
    hook_secret BLOB,
    hook_ca TEXT,
    enabled INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- kind: claim, user. count_cap: how many devices may come with it; null is no bound.
CREATE TABLE claim (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    template TEXT NOT NULL,
    serial TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    der BLOB NOT NULL,
    count_cap INTEGER,
    used INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- id is the certificate's SHA-256; token is the SHA-256 of the ownership token; request as in certificate.
CREATE TABLE pending_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    token BLOB NOT NULL,
    claim TEXT NOT NULL,
    connection TEXT NOT NULL,
    serial TEXT NOT NULL,
    authority TEXT NOT NULL,
    request BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    der BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE UNIQUE INDEX pending_certificate_token ON pending_certificate (tenant_id, token);

CREATE INDEX pending_certificate_claim ON pending_certificate (tenant_id, claim, expires_at);

-- id is the certificate's SHA-256. mode: provision, register. status: active, disabled, revoked.
CREATE TABLE factory_authority (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    der BLOB NOT NULL,
    mode TEXT NOT NULL,
    template TEXT,
    status TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- A certificate of a factory that came to a door. status: pending_activation, active, revoked.
CREATE TABLE factory_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    authority TEXT NOT NULL,
    name TEXT NOT NULL,
    serial_number TEXT,
    device TEXT,
    der BLOB NOT NULL,
    status TEXT NOT NULL,
    address TEXT,
    first_seen_at INTEGER NOT NULL,
    activated_at INTEGER,
    activated_by TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX factory_certificate_status ON factory_certificate (tenant_id, status, id);

-- What a factory's authority signs to prove that its key is at hand.
CREATE TABLE registration_code (
    tenant_id TEXT NOT NULL,
    code TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, code)
) STRICT, WITHOUT ROWID;

-- A code that goes with a device to whoever unpacks it. hash is SHA-256 of the code; subject is the device's name or its
-- serial number, as subject_kind says: device, serial.
CREATE TABLE claim_code (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    hash BLOB NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_by TEXT,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX claim_code_hash ON claim_code (tenant_id, hash);

CREATE INDEX claim_code_subject ON claim_code (tenant_id, subject_kind, subject);
