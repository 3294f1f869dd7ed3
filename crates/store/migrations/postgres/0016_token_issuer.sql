-- Token services whose word a tenant takes for a device. Their public keys are here (jwks), or are asked for (jwks_url).
CREATE TABLE token_issuer (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    rules TEXT COLLATE "C" NOT NULL,
    jwks TEXT COLLATE "C",
    jwks_url TEXT COLLATE "C",
    anchors TEXT COLLATE "C",
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    disabled_at BIGINT,
    PRIMARY KEY (tenant_id, name),
    UNIQUE (tenant_id, issuer)
);

-- Tokens that were exchanged, until they would have ended by themselves: each is good for one request.
CREATE TABLE token_use (
    tenant_id TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    request BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, issuer, id)
);

CREATE INDEX token_use_end ON token_use (tenant_id, expires_at);

ALTER TABLE token_issuer ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_issuer FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON token_issuer USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE token_use ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_use FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON token_use USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
