//! MQTT sessions and routing.
