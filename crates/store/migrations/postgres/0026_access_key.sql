-- Keys with which requests are signed (AWS's SigV4). secret: sealed; the server has to compute with it.
CREATE TABLE access_key (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    secret BYTEA NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    disabled_at BIGINT,
    UNIQUE (id),
    PRIMARY KEY (tenant_id, id)
);

ALTER TABLE access_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE access_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON access_key USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

-- Kinds of devices by name (AWS calls them thing types). searchable: a JSON array of attribute names.
CREATE TABLE device_type (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    searchable TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    deprecated_at BIGINT,
    PRIMARY KEY (tenant_id, name)
);

ALTER TABLE device_type ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_type FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON device_type USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

-- Groups by name; a device is in one by having its name as a tag. attributes: a JSON object of texts.
CREATE TABLE device_group (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    attributes TEXT COLLATE "C" NOT NULL,
    parent TEXT COLLATE "C",
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE INDEX device_group_parent ON device_group (tenant_id, parent, name);

ALTER TABLE device_group ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_group FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON device_group USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

-- What people write on things that are no devices: types, groups, templates. labels: a JSON object of texts.
CREATE TABLE label_set (
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    labels TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
);

ALTER TABLE label_set ENABLE ROW LEVEL SECURITY;
ALTER TABLE label_set FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON label_set USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

-- The texts that versions of topic policies were translated from, as they came. They count only while they still say the same.
CREATE TABLE policy_source (
    tenant_id TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
);

ALTER TABLE policy_source ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy_source FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON policy_source USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
