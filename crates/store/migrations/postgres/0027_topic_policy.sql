-- Topic policies: a document in versions, one of which counts, and whom it is attached to.
CREATE TABLE topic_policy (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    default_version BIGINT NOT NULL,
    latest_version BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE topic_policy_version (
    tenant_id TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
);

CREATE TABLE topic_policy_attachment (
    tenant_id TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    attached_by TEXT COLLATE "C" NOT NULL,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, policy, kind, target)
);

CREATE INDEX topic_policy_attachment_target ON topic_policy_attachment (tenant_id, kind, target);

-- Grows by one with every change of the above, so that other servers see that something changed.
CREATE TABLE topic_policy_change (
    tenant_id TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (tenant_id)
);

-- The last will of a connection while it lasts, in the broker's own format: a crash of the server does not lose it.
CREATE TABLE mqtt_will (
    tenant_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    will BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, client)
);

ALTER TABLE topic_policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE topic_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON topic_policy USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE topic_policy_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE topic_policy_version FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON topic_policy_version USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE topic_policy_attachment ENABLE ROW LEVEL SECURITY;
ALTER TABLE topic_policy_attachment FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON topic_policy_attachment USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE topic_policy_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE topic_policy_change FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON topic_policy_change USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE mqtt_will ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_will FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON mqtt_will USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
