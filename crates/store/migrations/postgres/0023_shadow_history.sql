-- How each shadow changed, as merge patches from the first that is kept; old ones are thinned out. number counts the changes
-- to one shadow and never begins again, as version does two days after a deletion.
CREATE TABLE shadow_event (
    tenant_id TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    patch TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, device, name, number)
);

-- The number of the newest change, and what goes to and fro (JSON; null: nothing).
ALTER TABLE shadow ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE shadow ADD COLUMN watch TEXT COLLATE "C";

-- Room for a new version of a row on its own page, so that no index is touched by an update.
ALTER TABLE shadow SET (fillfactor = 60);

-- Shadows that retained messages stand for.
CREATE INDEX shadow_config ON shadow (tenant_id, device) WHERE name = 'config';

ALTER TABLE shadow_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE shadow_event FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON shadow_event USING (
    tenant_id = nullif(current_setting('app.tenant', true), '')
    OR current_setting('app.tenant', true) = '*'
    OR (tenant_id = '' AND current_setting('app.tenant', true) = '@')
);
