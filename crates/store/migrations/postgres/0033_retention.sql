-- What became of jobs is forgotten in time: jobs that are over, and tries that others followed.
CREATE INDEX job_over ON job (tenant_id, completed_at, id) WHERE completed_at IS NOT NULL;
CREATE INDEX job_execution_earlier ON job_execution (tenant_id, finished_at) WHERE latest = 0;
