-- Devices on offer to another tenant. The row is the giving tenant's; hash is SHA-256 of the code that the other one needs.
CREATE TABLE transfer (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    to_tenant TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    canceled_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX transfer_device ON transfer (tenant_id, device);
