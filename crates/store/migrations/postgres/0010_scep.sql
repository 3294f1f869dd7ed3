-- What a one-time token is presented in: enroll (HTTP Basic at EST), scep (a challenge password).
ALTER TABLE enroll_token ADD COLUMN kind TEXT NOT NULL DEFAULT 'enroll';

-- Transactions of SCEP by the name that the client gave them. request: SHA-256 over what is asked for; asker: SHA-256 of the
-- public key that asked; waiting: the request, sealed, while somebody has to let it in.
CREATE TABLE scep_transaction (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    request BYTEA NOT NULL,
    asker BYTEA NOT NULL,
    waiting BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX scep_transaction_age ON scep_transaction (tenant_id, created_at);

ALTER TABLE scep_transaction ENABLE ROW LEVEL SECURITY;
ALTER TABLE scep_transaction FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON scep_transaction USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
