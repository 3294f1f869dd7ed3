//! MQTT packets to and from bytes.
//!
//! Framing, PUBLISH and PUBACK are our own: they are the hot path, read from borrowed bytes and written into the
//! connection's buffer without an allocation. The rest is `mqtt-protocol-core`'s, which also checks ours in a
//! differential test. Reading never panics and allocates no more than it was given. See `docs/adr`.

pub(crate) mod connect;
pub mod exam;
pub(crate) mod frame;
pub(crate) mod publish;
pub mod said;
pub(crate) mod subscribe;
pub(crate) mod write;

use mqtt_protocol_core::mqtt::result_code::MqttError;

use crate::Reason;

/// The library's verdict in our words.
fn reason_of(error: MqttError) -> Reason {
    match error {
        MqttError::ProtocolError => Reason::ProtocolError,
        MqttError::TopicFilterInvalid => Reason::TopicFilterInvalid,
        MqttError::QosNotSupported => Reason::QosNotSupported,
        _ => Reason::MalformedPacket,
    }
}

#[cfg(test)]
mod tests;
