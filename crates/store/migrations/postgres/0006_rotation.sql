-- What a certificate's next step on its ladder needs to know, beside its standing in `certificate`.
CREATE TABLE rotation (
    tenant_id TEXT COLLATE "C" NOT NULL,
    serial TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    deadline BIGINT,
    sessions BIGINT NOT NULL,
    session_at BIGINT,
    told BIGINT,
    alert_at BIGINT,
    PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX rotation_due ON rotation (tenant_id, deadline) WHERE deadline IS NOT NULL;

CREATE INDEX rotation_alert ON rotation (tenant_id, alert_at) WHERE alert_at IS NOT NULL;

-- A device that is to renew now.
CREATE TABLE renewal_request (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    at_once BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, device)
);

CREATE TABLE rotation_campaign (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    renewal TEXT NOT NULL,
    selector TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    phase BIGINT NOT NULL,
    phase_started_at BIGINT,
    gate_met_at BIGINT,
    pause_reason TEXT,
    target_count BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX rotation_campaign_due ON rotation_campaign (tenant_id, id) WHERE state = 'running';

CREATE TABLE rotation_member (
    tenant_id TEXT COLLATE "C" NOT NULL,
    campaign TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    phase BIGINT NOT NULL,
    hardware TEXT NOT NULL,
    status TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    asked_at BIGINT,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, campaign, device)
);

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

ALTER TABLE rotation ENABLE ROW LEVEL SECURITY;
ALTER TABLE rotation FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON rotation USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE renewal_request ENABLE ROW LEVEL SECURITY;
ALTER TABLE renewal_request FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON renewal_request USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE rotation_campaign ENABLE ROW LEVEL SECURITY;
ALTER TABLE rotation_campaign FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON rotation_campaign USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE rotation_member ENABLE ROW LEVEL SECURITY;
ALTER TABLE rotation_member FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON rotation_member USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
