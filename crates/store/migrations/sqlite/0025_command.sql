-- Commands for devices: what waits, what is under way, and what came of it.
CREATE TABLE command (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    op TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL,
    lane TEXT NOT NULL,
    dedupe TEXT,
    not_before INTEGER,
    expires_at INTEGER NOT NULL,
    ack_timeout_ms INTEGER NOT NULL,
    run_timeout_ms INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    on_expiry TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    result TEXT,
    version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    due_at INTEGER,
    PRIMARY KEY (tenant_id, device, id)
) STRICT;

CREATE UNIQUE INDEX command_order ON command (tenant_id, device, seq);
CREATE INDEX command_id ON command (tenant_id, id, device);
CREATE INDEX command_due ON command (tenant_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX command_age ON command (tenant_id, updated_at) WHERE due_at IS NULL;
