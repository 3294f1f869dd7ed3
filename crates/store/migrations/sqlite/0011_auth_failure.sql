-- Refused authentications, counted by the hour. Each for itself stands in the journal, within limits; this is the whole.

CREATE TABLE auth_failure (
    tenant_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    cause TEXT NOT NULL,
    issuer TEXT NOT NULL,
    region TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, hour, cause, issuer, region)
) STRICT, WITHOUT ROWID;
