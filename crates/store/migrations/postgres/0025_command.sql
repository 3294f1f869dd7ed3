-- Commands for devices: what waits, what is under way, and what came of it.
CREATE TABLE command (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    op TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    payload BYTEA NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    dedupe TEXT COLLATE "C",
    not_before BIGINT,
    expires_at BIGINT NOT NULL,
    ack_timeout_ms BIGINT NOT NULL,
    run_timeout_ms BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    on_expiry TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    reason_code TEXT COLLATE "C",
    reason_text TEXT COLLATE "C",
    result TEXT COLLATE "C",
    version BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    sent_at BIGINT,
    started_at BIGINT,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    due_at BIGINT,
    PRIMARY KEY (tenant_id, device, id)
);

CREATE UNIQUE INDEX command_order ON command (tenant_id, device, seq);
CREATE INDEX command_id ON command (tenant_id, id, device);
CREATE INDEX command_due ON command (tenant_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX command_age ON command (tenant_id, updated_at) WHERE due_at IS NULL;

ALTER TABLE command ENABLE ROW LEVEL SECURITY;
ALTER TABLE command FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON command USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
