-- Refused authentications, counted by the hour. Each for itself stands in the journal, within limits; this is the whole.

CREATE TABLE auth_failure (
    tenant_id TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, hour, cause, issuer, region)
);

ALTER TABLE auth_failure ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth_failure FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON auth_failure USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
