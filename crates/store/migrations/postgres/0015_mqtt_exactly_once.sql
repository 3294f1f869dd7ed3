-- What of QoS 2 is half done in a session, as the broker packs it; NULL for nothing.
ALTER TABLE mqtt_session ADD COLUMN exchanges BYTEA;

-- The subscription identifier of MQTT 5; 0 for none.
ALTER TABLE mqtt_subscription ADD COLUMN identifier BIGINT NOT NULL DEFAULT 0;
