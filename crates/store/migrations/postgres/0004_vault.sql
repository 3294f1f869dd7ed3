-- Keys of the vault, each wrapped: the root key by the seal, the others by the root key. kind: root, owner, anchor, master.
CREATE TABLE vault_key (
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA NOT NULL,
    wrapped_by TEXT COLLATE "C" NOT NULL,
    active BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    PRIMARY KEY (tenant_id, kind, version)
);

-- Tenants whose keys are disabled; the row of '' disables those of all.
CREATE TABLE vault_hold (
    tenant_id TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    held_by TEXT COLLATE "C" NOT NULL,
    held_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

-- Goes up with every change of the two above; one row, of ''.
CREATE TABLE vault_epoch (
    tenant_id TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

ALTER TABLE vault_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON vault_key USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE vault_hold ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_hold FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON vault_hold USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE vault_epoch ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_epoch FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON vault_epoch USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
