-- Commands that are written down once and sent often; the name is the operation.
CREATE TABLE command_template (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    title TEXT COLLATE "C",
    description TEXT COLLATE "C",
    content_type TEXT COLLATE "C" NOT NULL,
    payload BYTEA NOT NULL,
    deprecated BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

ALTER TABLE command_template ENABLE ROW LEVEL SECURITY;
ALTER TABLE command_template FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON command_template USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

CREATE INDEX command_op ON command (tenant_id, op, id, device);
