-- Commands that are written down once and sent often; the name is the operation.
CREATE TABLE command_template (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT,
    description TEXT,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL,
    deprecated INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX command_op ON command (tenant_id, op, id, device);
