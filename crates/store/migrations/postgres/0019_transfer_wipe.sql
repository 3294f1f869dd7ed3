-- A device that changes hands is told to wipe itself. wipe: required, attempted, none. wiped: confirmed, unconfirmed,
-- unreachable, nothing, skipped. token is the other tenant's, with which the device enrols there.
ALTER TABLE transfer ADD COLUMN to_device TEXT COLLATE "C";
ALTER TABLE transfer ADD COLUMN wipe TEXT COLLATE "C";
ALTER TABLE transfer ADD COLUMN wipe_by BIGINT;
ALTER TABLE transfer ADD COLUMN told_at BIGINT;
ALTER TABLE transfer ADD COLUMN overdue_at BIGINT;
ALTER TABLE transfer ADD COLUMN completed_at BIGINT;
ALTER TABLE transfer ADD COLUMN wiped TEXT COLLATE "C";
ALTER TABLE transfer ADD COLUMN token TEXT COLLATE "C";

UPDATE transfer SET completed_at = accepted_at, wiped = 'skipped' WHERE accepted_at IS NOT NULL;

CREATE INDEX transfer_wiping ON transfer (tenant_id, wipe_by)
    WHERE accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL;
