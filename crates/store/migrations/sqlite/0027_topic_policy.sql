-- Topic policies: a document in versions, one of which counts, and whom it is attached to.
CREATE TABLE topic_policy (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    default_version INTEGER NOT NULL,
    latest_version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE topic_policy_version (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE topic_policy_attachment (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    attached_by TEXT NOT NULL,
    attached_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, kind, target)
) STRICT, WITHOUT ROWID;

CREATE INDEX topic_policy_attachment_target ON topic_policy_attachment (tenant_id, kind, target);

-- Grows by one with every change of the above, so that other servers see that something changed.
CREATE TABLE topic_policy_change (
    tenant_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

-- The last will of a connection while it lasts, in the broker's own format: a crash of the server does not lose it.
CREATE TABLE mqtt_will (
    tenant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    will BLOB NOT NULL,
    PRIMARY KEY (tenant_id, client)
) STRICT, WITHOUT ROWID;
