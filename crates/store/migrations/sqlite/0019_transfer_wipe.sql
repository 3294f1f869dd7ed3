-- A device that changes hands is told to wipe itself. wipe: required, attempted, none. wiped: confirmed, unconfirmed,
-- unreachable, nothing, skipped. token is the other tenant's, with which the device enrols there.
ALTER TABLE transfer ADD COLUMN to_device TEXT;
ALTER TABLE transfer ADD COLUMN wipe TEXT;
ALTER TABLE transfer ADD COLUMN wipe_by INTEGER;
ALTER TABLE transfer ADD COLUMN told_at INTEGER;
ALTER TABLE transfer ADD COLUMN overdue_at INTEGER;
ALTER TABLE transfer ADD COLUMN completed_at INTEGER;
ALTER TABLE transfer ADD COLUMN wiped TEXT;
ALTER TABLE transfer ADD COLUMN token TEXT;

UPDATE transfer SET completed_at = accepted_at, wiped = 'skipped' WHERE accepted_at IS NOT NULL;

CREATE INDEX transfer_wiping ON transfer (tenant_id, wipe_by)
    WHERE accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL;
