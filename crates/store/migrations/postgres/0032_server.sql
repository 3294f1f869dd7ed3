-- What the version of a topic policy that counts comes to: its rules, and the bytes of their patterns with the longest values
-- put in. 0 until somebody counts.
ALTER TABLE topic_policy ADD COLUMN rules BIGINT NOT NULL DEFAULT 0;
ALTER TABLE topic_policy ADD COLUMN pattern_bytes BIGINT NOT NULL DEFAULT 0;

-- On which server the connection of a last will is; empty: one that is gone.
ALTER TABLE mqtt_will ADD COLUMN server TEXT COLLATE "C" NOT NULL DEFAULT '';

-- The servers that are at this database. Each counts its beats; one whose count stands still is gone.
CREATE TABLE server (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    beat BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

ALTER TABLE server ENABLE ROW LEVEL SECURITY;
ALTER TABLE server FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON server USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

-- What servers follow, as the look for it says it: a changed record too, of which topic policies speak.
DROP INDEX journal_ends;

CREATE INDEX journal_ends ON journal (xid, id) WHERE action IN ('attestation.overdue', 'attestation.verdict', 'ca.revoked',
    'certificate.forgotten', 'certificate.retired', 'certificate.revoked', 'claim.revoked', 'deny_list.changed',
    'device.decommissioned', 'device.revoked', 'device.status_changed', 'device.transferred', 'device.updated',
    'factory_authority.revoked');
