-- Jobs: documents that devices work on, and each device's executions of them.

-- targets, policy, pace: JSON as fleetward-core writes it. selection: snapshot, continuous. state: scheduled, in_progress,
-- canceled, completed, deletion_in_progress. cursor_*: how far handing out came. look_at: when there may be something to do.
CREATE TABLE job (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    targets TEXT COLLATE "C" NOT NULL,
    selection TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    windowed BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    reason_code TEXT COLLATE "C",
    comment TEXT COLLATE "C",
    force BIGINT NOT NULL,
    rollout_over BIGINT NOT NULL,
    cursor_target BIGINT NOT NULL,
    cursor_device TEXT COLLATE "C" NOT NULL,
    pace TEXT COLLATE "C" NOT NULL,
    handed BIGINT NOT NULL,
    window_open BIGINT NOT NULL,
    look_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    revision BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Across tenants: whoever has something to do.
CREATE INDEX job_due ON job (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX job_open ON job (tenant_id, id) WHERE completed_at IS NULL;

-- number: a retry has the next. latest: 1 on the last one of a device. detail: JSON. due_at: when time ends it.
CREATE TABLE job_execution (
    tenant_id TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C",
    version BIGINT NOT NULL,
    failed_before BIGINT NOT NULL,
    timed_out_before BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    timeout_at BIGINT,
    step_timeout_at BIGINT,
    due_at BIGINT,
    PRIMARY KEY (tenant_id, job, device, number)
);

-- A device has one last execution of a job, so at most one that has not ended.
CREATE UNIQUE INDEX job_execution_latest ON job_execution (tenant_id, job, device) WHERE latest = 1;
CREATE INDEX job_execution_standing ON job_execution (tenant_id, job, status, device) WHERE latest = 1;
CREATE INDEX job_execution_pending ON job_execution (tenant_id, device, queued_at) WHERE status IN ('queued', 'in_progress');
CREATE INDEX job_execution_device ON job_execution (tenant_id, device, job, number);
-- Across tenants: timers, which outlive a restart.
CREATE INDEX job_execution_due ON job_execution (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE job ENABLE ROW LEVEL SECURITY;
ALTER TABLE job FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON job USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);

ALTER TABLE job_execution ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_execution FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON job_execution USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
