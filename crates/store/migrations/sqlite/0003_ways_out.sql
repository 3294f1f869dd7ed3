-- Ways out: what is revoked and what is told of it. Lists that were signed, the log of all certificates, the deny list, and
-- revocations that are under way.

-- crl_pending: revoked, and not on a list yet. log_index: its place in the log; null until it has one. replace_by: to be
-- replaced by then, in the course of replace_job.
ALTER TABLE certificate ADD COLUMN crl_pending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificate ADD COLUMN log_index INTEGER;
ALTER TABLE certificate ADD COLUMN replace_by INTEGER;
ALTER TABLE certificate ADD COLUMN replace_job TEXT;
UPDATE certificate SET crl_pending = 1 WHERE status = 'revoked';

CREATE INDEX certificate_pending ON certificate (tenant_id, serial) WHERE crl_pending = 1;
-- By the last two digits of the serial number, which are what shards are cut by.
CREATE INDEX certificate_revoked_tail ON certificate (tenant_id, authority, substr(serial, -2)) WHERE status = 'revoked';
CREATE INDEX certificate_unlogged ON certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;
CREATE UNIQUE INDEX certificate_logged ON certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;
CREATE INDEX certificate_replaced ON certificate (tenant_id, replace_job, serial) WHERE replace_job IS NOT NULL;

-- Of an authority itself.
ALTER TABLE authority ADD COLUMN revoked_at INTEGER;
ALTER TABLE authority ADD COLUMN reason TEXT;

-- Signed lists. label: '' for the whole, else the last digits of the serial numbers that it is for.
CREATE TABLE crl (
    tenant_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    label TEXT NOT NULL,
    number INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    der BLOB NOT NULL,
    PRIMARY KEY (tenant_id, authority, label)
) STRICT;

-- Who answers OCSP for an authority, with the purpose of its sealed key.
CREATE TABLE ocsp_responder (
    tenant_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    der BLOB NOT NULL,
    key_purpose TEXT NOT NULL,
    renew_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, authority)
) STRICT;

-- The log of a tenant's certificates: how far it goes, and what was last signed of it.
CREATE TABLE transparency_log (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    signed_at INTEGER NOT NULL
) STRICT;

-- Up to 256 hashes of 32 bytes, side by side.
CREATE TABLE transparency_tile (
    tenant_id TEXT NOT NULL,
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (tenant_id, level, place)
) STRICT;

-- kind: serial, key (SHA-256 of the public key), hardware.
CREATE TABLE deny_list (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, value)
) STRICT;

-- kind: revoke, replace. status: running, waiting (for due_at), finished, canceled. target as fleetward-core writes it; cursor
-- is the last device or serial number that was worked on.
CREATE TABLE revocation (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    certificates INTEGER NOT NULL,
    cursor TEXT NOT NULL,
    due_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX revocation_open ON revocation (tenant_id, id) WHERE finished_at IS NULL;

-- What ends sessions, for servers that follow each other.
CREATE INDEX journal_ends ON journal (id) WHERE action IN ('certificate.revoked', 'deny_list.changed',
    'device.decommissioned', 'device.revoked', 'device.status_changed');
