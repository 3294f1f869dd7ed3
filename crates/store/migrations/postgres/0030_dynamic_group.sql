-- A group whose devices a question decides, and since when that is done; devices that changed are found by when.
ALTER TABLE device_group ADD COLUMN query TEXT COLLATE "C";
ALTER TABLE device_group ADD COLUMN settled_at BIGINT;

CREATE INDEX device_group_dynamic ON device_group (tenant_id, name) WHERE query IS NOT NULL;
CREATE INDEX device_updated ON device (tenant_id, updated_at, id);
