-- The first schema. Moments are milliseconds since 1970, JSON is text, and each key begins with its tenant.
-- Text compares bytewise (COLLATE "C"), so that both engines sort alike.

CREATE TABLE installation (
    key TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE tenant (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    display_name TEXT COLLATE "C" NOT NULL,
    settings TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Private keys, sealed by the vault. Tenant '' is the installation itself, here and below.
CREATE TABLE sealed_key (
    tenant_id TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    public BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, purpose)
);

-- Certificates of our own CAs. kind: root, infra, issuing.
CREATE TABLE authority (
    tenant_id TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    der BYTEA NOT NULL,
    key_purpose TEXT COLLATE "C" NOT NULL,
    not_after BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint)
);

CREATE TABLE api_token (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

-- used_csr is SHA-256 over what a retry must repeat, so that an answer that was lost can be had again.
CREATE TABLE enroll_token (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    attempts BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    used_csr BYTEA,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

-- tags: sorted JSON array of strings; attributes: JSON object of scalars.
CREATE TABLE device (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    class TEXT COLLATE "C" NOT NULL,
    hardware TEXT COLLATE "C" NOT NULL,
    firmware TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C",
    environment TEXT COLLATE "C",
    site TEXT COLLATE "C",
    location TEXT COLLATE "C",
    parent TEXT COLLATE "C",
    endpoint TEXT COLLATE "C",
    tags TEXT COLLATE "C" NOT NULL,
    attributes TEXT COLLATE "C" NOT NULL,
    certificate_serial TEXT COLLATE "C",
    certificate_not_after BIGINT,
    heartbeat_s BIGINT,
    revision BIGINT NOT NULL,
    provisioned_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Written together from memory; nothing is indexed on last_seen.
CREATE TABLE device_presence (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    online BIGINT NOT NULL,
    last_seen BIGINT,
    connected_at BIGINT,
    disconnected_at BIGINT,
    reason TEXT COLLATE "C",
    address TEXT COLLATE "C",
    PRIMARY KEY (tenant_id, device)
) WITH (fillfactor = 50);

-- status: issued, active, superseded, revoked. request is SHA-256 over tenant, public key and subject.
CREATE TABLE certificate (
    tenant_id TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    authority TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL UNIQUE,
    request BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    der BYTEA NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    issued_at BIGINT NOT NULL,
    proven_at BIGINT,
    revoked_at BIGINT,
    reason TEXT COLLATE "C",
    PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX certificate_device ON certificate (tenant_id, device, issued_at);

-- name '' is the classic shadow. A deleted one stays as a row, since its version must not start again.
CREATE TABLE shadow (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL,
    deleted_at BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, device, name)
) WITH (fillfactor = 80);

-- Time line, audit log and event feed. seq and chain are null until the row is sealed.
CREATE TABLE journal (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C",
    subject TEXT COLLATE "C",
    outcome TEXT COLLATE "C" NOT NULL,
    severity TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C",
    seq BIGINT,
    chain BYTEA,
    xid BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)
);

CREATE INDEX journal_tenant ON journal (tenant_id, id);

CREATE INDEX journal_device ON journal (tenant_id, device, id) WHERE device IS NOT NULL;

CREATE INDEX journal_unsealed ON journal (tenant_id, id) WHERE seq IS NULL;

CREATE TABLE signer (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key_id)
);

CREATE TABLE artifact (
    tenant_id TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, sha256)
);

CREATE TABLE release (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    signer TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    manifest BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name, version)
);

-- state and policy as fleetward-core writes them.
CREATE TABLE rollout (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    release TEXT COLLATE "C" NOT NULL,
    selector TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    phase BIGINT NOT NULL,
    phase_started_at BIGINT,
    gate_met_at BIGINT,
    pause_reason TEXT COLLATE "C",
    target_count BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- kind: update, rollback.
CREATE TABLE deployment (
    tenant_id TEXT COLLATE "C" NOT NULL,
    rollout TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    phase BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C",
    hardware TEXT COLLATE "C" NOT NULL,
    from_version TEXT COLLATE "C",
    detail TEXT COLLATE "C",
    version BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, rollout, device, kind)
);

CREATE UNIQUE INDEX deployment_one_active ON deployment (tenant_id, device) WHERE status IN ('queued', 'in_progress');

CREATE INDEX deployment_device ON deployment (tenant_id, device, rollout);

CREATE INDEX deployment_rollout ON deployment (tenant_id, rollout, status);

-- response is sealed by the vault.
CREATE TABLE idempotency (
    tenant_id TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    request_hash BYTEA NOT NULL,
    response BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, principal, key)
);

CREATE TABLE mqtt_session (
    tenant_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    expiry_s BIGINT NOT NULL,
    disconnected_at BIGINT,
    acked_seq BIGINT NOT NULL,
    protocol BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, client)
);

CREATE TABLE mqtt_subscription (
    tenant_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    filter TEXT COLLATE "C" NOT NULL,
    qos BIGINT NOT NULL,
    options BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, client, filter)
);

-- One row holds the messages first_seq to last_seq of one session.
CREATE TABLE mqtt_queue (
    tenant_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    messages BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, client, first_seq)
);

CREATE TABLE mqtt_retained (
    tenant_id TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    payload BYTEA NOT NULL,
    qos BIGINT NOT NULL,
    properties BYTEA,
    stored_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, topic)
);

CREATE UNIQUE INDEX journal_sealed ON journal (tenant_id, seq) WHERE seq IS NOT NULL;

CREATE INDEX enroll_token_device ON enroll_token (tenant_id, device);

CREATE INDEX certificate_expiry ON certificate (tenant_id, not_after) WHERE status = 'active';

CREATE INDEX rollout_due ON rollout (tenant_id, id) WHERE state IN ('running', 'rolling_back');

CREATE INDEX idempotency_age ON idempotency (tenant_id, created_at);

-- The journal is followed in the order of transactions: a row committed late never falls behind a reader.
CREATE INDEX journal_tail ON journal (tenant_id, xid, id);

-- The second line of defence. app.tenant is set in each transaction: a tenant, '@' the installation, '*' all of them.

ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON tenant USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE sealed_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE sealed_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON sealed_key USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE authority ENABLE ROW LEVEL SECURITY;
ALTER TABLE authority FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON authority USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE api_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_token FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON api_token USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE enroll_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE enroll_token FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON enroll_token USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE device ENABLE ROW LEVEL SECURITY;
ALTER TABLE device FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON device USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE device_presence ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_presence FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON device_presence USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON certificate USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE shadow ENABLE ROW LEVEL SECURITY;
ALTER TABLE shadow FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON shadow USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE journal ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON journal USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE signer ENABLE ROW LEVEL SECURITY;
ALTER TABLE signer FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON signer USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE artifact ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifact FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON artifact USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE release ENABLE ROW LEVEL SECURITY;
ALTER TABLE release FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON release USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE rollout ENABLE ROW LEVEL SECURITY;
ALTER TABLE rollout FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON rollout USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE deployment ENABLE ROW LEVEL SECURITY;
ALTER TABLE deployment FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON deployment USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON idempotency USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE mqtt_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_session FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON mqtt_session USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE mqtt_subscription ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_subscription FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON mqtt_subscription USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE mqtt_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_queue FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON mqtt_queue USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE mqtt_retained ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_retained FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON mqtt_retained USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
