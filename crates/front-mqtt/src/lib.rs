//! The devices' MQTT door.
