-- How each shadow changed, as merge patches from the first that is kept; old ones are thinned out. number counts the changes
-- to one shadow and never begins again, as version does two days after a deletion.
CREATE TABLE shadow_event (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    patch TEXT NOT NULL,
    PRIMARY KEY (tenant_id, device, name, number)
) STRICT, WITHOUT ROWID;

-- The number of the newest change, and what goes to and fro (JSON; null: nothing).
ALTER TABLE shadow ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shadow ADD COLUMN watch TEXT;

-- Shadows that retained messages stand for.
CREATE INDEX shadow_config ON shadow (tenant_id, device) WHERE name = 'config';
