-- Keys that a TPM vouched for before a certificate is issued for them, and activations of those that are no devices yet.
CREATE TABLE vouched_key (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    pending TEXT,
    key TEXT,
    identity TEXT,
    until INTEGER,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX vouched_key_age ON vouched_key (tenant_id, updated_at);
