-- Ways out: what is revoked and what is told of it. Lists that were signed, the log of all certificates, the deny list, and
-- revocations that are under way.

-- crl_pending: revoked, and not on a list yet. log_index: its place in the log; null until it has one. replace_by: to be
-- replaced by then, in the course of replace_job.
ALTER TABLE certificate ADD COLUMN crl_pending BIGINT NOT NULL DEFAULT 0;
ALTER TABLE certificate ADD COLUMN log_index BIGINT;
ALTER TABLE certificate ADD COLUMN replace_by BIGINT;
ALTER TABLE certificate ADD COLUMN replace_job TEXT COLLATE "C";
UPDATE certificate SET crl_pending = 1 WHERE status = 'revoked';

CREATE INDEX certificate_pending ON certificate (tenant_id, serial) WHERE crl_pending = 1;
-- By the last two digits of the serial number, which are what shards are cut by.
CREATE INDEX certificate_revoked_tail ON certificate (tenant_id, authority, right(serial, 2)) WHERE status = 'revoked';
CREATE INDEX certificate_unlogged ON certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;
CREATE UNIQUE INDEX certificate_logged ON certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;
CREATE INDEX certificate_replaced ON certificate (tenant_id, replace_job, serial) WHERE replace_job IS NOT NULL;

-- Of an authority itself.
ALTER TABLE authority ADD COLUMN revoked_at BIGINT;
ALTER TABLE authority ADD COLUMN reason TEXT COLLATE "C";

-- Signed lists. label: '' for the whole, else the last digits of the serial numbers that it is for.
CREATE TABLE crl (
    tenant_id TEXT COLLATE "C" NOT NULL,
    authority TEXT COLLATE "C" NOT NULL,
    label TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    der BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, authority, label)
);

-- Who answers OCSP for an authority, with the purpose of its sealed key.
CREATE TABLE ocsp_responder (
    tenant_id TEXT COLLATE "C" NOT NULL,
    authority TEXT COLLATE "C" NOT NULL,
    der BYTEA NOT NULL,
    key_purpose TEXT COLLATE "C" NOT NULL,
    renew_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, authority)
);

-- The log of a tenant's certificates: how far it goes, and what was last signed of it.
CREATE TABLE transparency_log (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    checkpoint TEXT COLLATE "C" NOT NULL,
    signed_at BIGINT NOT NULL
);

-- Up to 256 hashes of 32 bytes, side by side.
CREATE TABLE transparency_tile (
    tenant_id TEXT COLLATE "C" NOT NULL,
    level BIGINT NOT NULL,
    place BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, level, place)
);

-- kind: serial, key (SHA-256 of the public key), hardware.
CREATE TABLE deny_list (
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind, value)
);

-- kind: revoke, replace. status: running, waiting (for due_at), finished, canceled. target as fleetward-core writes it; cursor
-- is the last device or serial number that was worked on.
CREATE TABLE revocation (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    certificates BIGINT NOT NULL,
    cursor TEXT COLLATE "C" NOT NULL,
    due_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX revocation_open ON revocation (tenant_id, id) WHERE finished_at IS NULL;

-- What ends sessions, for servers that follow each other.
CREATE INDEX journal_ends ON journal (xid, id) WHERE action IN ('certificate.revoked', 'deny_list.changed',
    'device.decommissioned', 'device.revoked', 'device.status_changed');

ALTER TABLE crl ENABLE ROW LEVEL SECURITY;
ALTER TABLE crl FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON crl USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE ocsp_responder ENABLE ROW LEVEL SECURITY;
ALTER TABLE ocsp_responder FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON ocsp_responder USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE transparency_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE transparency_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON transparency_log USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE transparency_tile ENABLE ROW LEVEL SECURITY;
ALTER TABLE transparency_tile FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON transparency_tile USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE deny_list ENABLE ROW LEVEL SECURITY;
ALTER TABLE deny_list FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON deny_list USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE revocation ENABLE ROW LEVEL SECURITY;
ALTER TABLE revocation FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON revocation USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
