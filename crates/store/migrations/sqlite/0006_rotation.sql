-- What a certificate's next step on its ladder needs to know, beside its standing in `certificate`.
CREATE TABLE rotation (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    deadline INTEGER,
    sessions INTEGER NOT NULL,
    session_at INTEGER,
    told INTEGER,
    alert_at INTEGER,
    PRIMARY KEY (tenant_id, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX rotation_due ON rotation (tenant_id, deadline) WHERE deadline IS NOT NULL;

CREATE INDEX rotation_alert ON rotation (tenant_id, alert_at) WHERE alert_at IS NOT NULL;

-- A device that is to renew now.
CREATE TABLE renewal_request (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_once INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE rotation_campaign (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    renewal TEXT NOT NULL,
    selector TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    phase INTEGER NOT NULL,
    phase_started_at INTEGER,
    gate_met_at INTEGER,
    pause_reason TEXT,
    target_count INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX rotation_campaign_due ON rotation_campaign (tenant_id, id) WHERE state = 'running';

CREATE TABLE rotation_member (
    tenant_id TEXT NOT NULL,
    campaign TEXT NOT NULL,
    device TEXT NOT NULL,
    phase INTEGER NOT NULL,
    hardware TEXT NOT NULL,
    status TEXT NOT NULL,
    queued_at INTEGER NOT NULL,
    asked_at INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, campaign, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX rotation_member_open ON rotation_member (tenant_id, campaign, status);

-- Until now a certificate that was superseded counted no longer.
UPDATE certificate SET status = 'retired', revoked_at = coalesce(proven_at, issued_at), reason = 'superseded'
    WHERE status = 'superseded';

INSERT INTO rotation (tenant_id, serial, device, id, deadline, sessions, session_at, told, alert_at)
    SELECT tenant_id, serial, device, serial, NULL, 0, NULL, NULL,
        CASE status WHEN 'active' THEN not_after - 2592000000 END
    FROM certificate WHERE status IN ('issued', 'active');

DROP INDEX certificate_expiry;

CREATE INDEX certificate_expiry ON certificate (tenant_id, not_after) WHERE status IN ('proven', 'active');
