-- Keys of the vault, each wrapped: the root key by the seal, the others by the root key. kind: root, owner, anchor, master.
CREATE TABLE vault_key (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    wrapped_by TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (tenant_id, kind, version)
) STRICT;

-- Tenants whose keys are disabled; the row of '' disables those of all.
CREATE TABLE vault_hold (
    tenant_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    held_by TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;

-- Goes up with every change of the two above; one row, of ''.
CREATE TABLE vault_epoch (
    tenant_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;
