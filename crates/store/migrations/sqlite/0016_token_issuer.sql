-- Token services whose word a tenant takes for a device. Their public keys are here (jwks), or are asked for (jwks_url).
CREATE TABLE token_issuer (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    rules TEXT NOT NULL,
    jwks TEXT,
    jwks_url TEXT,
    anchors TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    disabled_at INTEGER,
    PRIMARY KEY (tenant_id, name),
    UNIQUE (tenant_id, issuer)
) STRICT, WITHOUT ROWID;

-- Tokens that were exchanged, until they would have ended by themselves: each is good for one request.
CREATE TABLE token_use (
    tenant_id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    id TEXT NOT NULL,
    request BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, issuer, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_use_end ON token_use (tenant_id, expires_at);
