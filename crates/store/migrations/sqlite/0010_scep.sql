-- What a one-time token is presented in: enroll (HTTP Basic at EST), scep (a challenge password).
ALTER TABLE enroll_token ADD COLUMN kind TEXT NOT NULL DEFAULT 'enroll';

-- Transactions of SCEP by the name that the client gave them. request: SHA-256 over what is asked for; asker: SHA-256 of the
-- public key that asked; waiting: the request, sealed, while somebody has to let it in.
CREATE TABLE scep_transaction (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    request BLOB NOT NULL,
    asker BLOB NOT NULL,
    waiting BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX scep_transaction_age ON scep_transaction (tenant_id, created_at);
