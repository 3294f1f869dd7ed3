-- Keys that a TPM vouched for before a certificate is issued for them, and activations of those that are no devices yet.
CREATE TABLE vouched_key (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    pending TEXT COLLATE "C",
    key TEXT COLLATE "C",
    identity TEXT COLLATE "C",
    until BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, device)
);

CREATE INDEX vouched_key_age ON vouched_key (tenant_id, updated_at);

ALTER TABLE vouched_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE vouched_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON vouched_key USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
