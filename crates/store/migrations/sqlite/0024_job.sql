-- Jobs: documents that devices work on, and each device's executions of them.

-- targets, policy, pace: JSON as fleetward-core writes it. selection: snapshot, continuous. state: scheduled, in_progress,
-- canceled, completed, deletion_in_progress. cursor_*: how far handing out came. look_at: when there may be something to do.
CREATE TABLE job (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    description TEXT,
    targets TEXT NOT NULL,
    selection TEXT NOT NULL,
    policy TEXT NOT NULL,
    windowed INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason_code TEXT,
    comment TEXT,
    force INTEGER NOT NULL,
    rollout_over INTEGER NOT NULL,
    cursor_target INTEGER NOT NULL,
    cursor_device TEXT NOT NULL,
    pace TEXT NOT NULL,
    handed INTEGER NOT NULL,
    window_open INTEGER NOT NULL,
    look_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- Across tenants: whoever has something to do.
CREATE INDEX job_due ON job (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX job_open ON job (tenant_id, id) WHERE completed_at IS NULL;

-- number: a retry has the next. latest: 1 on the last one of a device. detail: JSON. due_at: when time ends it.
CREATE TABLE job_execution (
    tenant_id TEXT NOT NULL,
    job TEXT NOT NULL,
    device TEXT NOT NULL,
    number INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    status TEXT NOT NULL,
    detail TEXT,
    version INTEGER NOT NULL,
    failed_before INTEGER NOT NULL,
    timed_out_before INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    timeout_at INTEGER,
    step_timeout_at INTEGER,
    due_at INTEGER,
    PRIMARY KEY (tenant_id, job, device, number)
) STRICT;

-- A device has one last execution of a job, so at most one that has not ended.
CREATE UNIQUE INDEX job_execution_latest ON job_execution (tenant_id, job, device) WHERE latest = 1;
CREATE INDEX job_execution_standing ON job_execution (tenant_id, job, status, device) WHERE latest = 1;
CREATE INDEX job_execution_pending ON job_execution (tenant_id, device, queued_at) WHERE status IN ('queued', 'in_progress');
CREATE INDEX job_execution_device ON job_execution (tenant_id, device, job, number);
-- Across tenants: timers, which outlive a restart.
CREATE INDEX job_execution_due ON job_execution (due_at) WHERE due_at IS NOT NULL;
