-- Keys with which requests are signed (AWS's SigV4). secret: sealed; the server has to compute with it.
CREATE TABLE access_key (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    principal TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    secret BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    disabled_at INTEGER,
    UNIQUE (id),
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- Kinds of devices by name (AWS calls them thing types). searchable: a JSON array of attribute names.
CREATE TABLE device_type (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    searchable TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deprecated_at INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- Groups by name; a device is in one by having its name as a tag. attributes: a JSON object of texts.
CREATE TABLE device_group (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    attributes TEXT NOT NULL,
    parent TEXT,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX device_group_parent ON device_group (tenant_id, parent, name);

-- What people write on things that are no devices: types, groups, templates. labels: a JSON object of texts.
CREATE TABLE label_set (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
) STRICT, WITHOUT ROWID;

-- The texts that versions of topic policies were translated from, as they came. They count only while they still say the same.
CREATE TABLE policy_source (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
) STRICT, WITHOUT ROWID;
