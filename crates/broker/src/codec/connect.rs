//! CONNECT and DISCONNECT (MQTT 5.0 §3.1, §3.14; 3.1.1 §3.1, §3.14), read by `mqtt-protocol-core` behind a check of what it
//! lets through.

use std::borrow::Cow;

use fleetward_base::{Secret, limits};
use mqtt_protocol_core::mqtt::packet::{Property, Qos as WireQos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use super::publish::{Reader, check_response_topic};
use crate::Reason;
use crate::hooks::{Connect, Protocol, Qos, Will};

/// A CONNECT that can be answered.
#[derive(Debug)]
pub(crate) struct ParsedConnect {
    pub(crate) connect: Connect,
    pub(crate) will: Option<ParsedWill>,
    /// How many unacknowledged messages of QoS 1 and 2 the client takes.
    pub(crate) receive_maximum: u16,
    /// The largest packet the client takes.
    pub(crate) max_packet: usize,
}

#[derive(Debug)]
pub(crate) struct ParsedWill {
    pub(crate) payload: Vec<u8>,
    /// Encoded, to be handed on.
    pub(crate) properties: Vec<u8>,
    pub(crate) delay_secs: u32,
    pub(crate) expiry_secs: Option<u32>,
}

/// Why a CONNECT gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadConnect {
    /// Not MQTT; nothing to answer.
    Silent,
    /// A version that we do not speak. Answered in 3.1.1 with 1, in 5.0's manner with 0x84.
    Version { v5: bool },
    /// A CONNACK with this code (5.0) or this one (3.1.1).
    Refuse { v5: bool, code: u8, v3_code: u8 },
}

const fn refuse(v5: bool, code: u8) -> BadConnect {
    BadConnect::Refuse { v5, code, v3_code: 5 }
}

/// Reads the body of a CONNECT.
pub(crate) fn read_connect(body: &[u8]) -> Result<ParsedConnect, BadConnect> {
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, flags, ..] => {
            check_flags(*flags, false)?;
            let (packet, used) = v3_1_1::Connect::parse(body).map_err(|e| from_library(e, false))?;
            if used == body.len() { from_v3(&packet) } else { Err(BadConnect::Silent) }
        }
        [0, 4, b'M', b'Q', b'T', b'T', 5, flags, ..] => {
            check_flags(*flags, true)?;
            let named = flags & NAME_AND_PASSWORD != PASSWORD;
            let body = if named { Cow::Borrowed(body) } else { Cow::Owned(with_a_name(body)?) };
            let (packet, used) = v5_0::Connect::parse(&body).map_err(|e| from_library(e, true))?;
            if used == body.len() { from_v5(&packet, named) } else { Err(refuse(true, 0x81)) }
        }
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => Err(BadConnect::Version { v5: *level > 5 }),
        // MQTT 3.1 called itself MQIsdp.
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => Err(BadConnect::Version { v5: false }),
        _ => Err(BadConnect::Silent),
    }
}

/// Of the connect flags.
const WILL: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const NAME: u8 = 0x80;
const NAME_AND_PASSWORD: u8 = NAME | PASSWORD;

/// 5.0 allows a password without a user name (§3.1.2.9), and the library does not: here it gets an empty one.
fn with_a_name(body: &[u8]) -> Result<Vec<u8>, BadConnect> {
    let malformed = |_: Reason| refuse(true, 0x81);
    let flags = body.get(7).copied().unwrap_or_default();
    // Name and level of the protocol, flags and keep-alive are ten bytes.
    let mut reader = Reader(body.get(10..).unwrap_or_default());
    reader.properties().map_err(malformed)?;
    reader.binary().map_err(|_| BadConnect::Refuse { v5: true, code: 0x85, v3_code: 2 })?;
    if flags & WILL != 0 {
        reader.properties().map_err(malformed)?;
        reader.binary().map_err(malformed)?;
        reader.binary().map_err(malformed)?;
    }
    let at = body.len() - reader.0.len();
    let (before, password) = body.split_at(at);
    let mut named = [before, &[0, 0], password].concat();
    if let Some(flags) = named.get_mut(7) {
        *flags |= NAME;
    }
    Ok(named)
}

/// The reserved bit is 0; without a will there is no will QoS or retain; there is no QoS 3 (§3.1.2.3 and on).
fn check_flags(flags: u8, v5: bool) -> Result<(), BadConnect> {
    let will = flags & WILL != 0;
    let will_bits = flags & 0x38;
    if flags & 1 != 0 || (!will && will_bits != 0) || flags & 0x18 == 0x18 {
        return Err(if v5 { refuse(true, 0x81) } else { BadConnect::Silent });
    }
    Ok(())
}

fn from_library(error: MqttError, v5: bool) -> BadConnect {
    match error {
        MqttError::ClientIdentifierNotValid => BadConnect::Refuse { v5, code: 0x85, v3_code: 2 },
        MqttError::BadUserNameOrPassword => BadConnect::Refuse { v5, code: 0x86, v3_code: 4 },
        MqttError::ProtocolError => {
            if v5 {
                refuse(true, 0x82)
            } else {
                BadConnect::Silent
            }
        }
        _ => {
            if v5 {
                refuse(true, 0x81)
            } else {
                BadConnect::Silent
            }
        }
    }
}

fn will_qos(qos: WireQos) -> Qos {
    Qos::from_bits(qos as u8)
}

fn from_v3(packet: &v3_1_1::Connect) -> Result<ParsedConnect, BadConnect> {
    let will = match (packet.will_topic(), packet.will_payload()) {
        (Some(topic), Some(payload)) => Some((
            Will { topic: topic.to_owned(), qos: will_qos(packet.will_qos()), retain: packet.will_retain() },
            ParsedWill { payload: payload.to_vec(), properties: Vec::new(), delay_secs: 0, expiry_secs: None },
        )),
        _ => None,
    };
    let (will, parsed_will) = will.unzip();
    let clean = packet.clean_session();
    if packet.client_id().is_empty() && !clean {
        // 3.1.1 §3.1.3.1.
        return Err(BadConnect::Refuse { v5: false, code: 0x85, v3_code: 2 });
    }
    Ok(ParsedConnect {
        connect: Connect {
            client_id: packet.client_id().to_owned(),
            protocol: Protocol::V311,
            clean_start: clean,
            keep_alive_secs: packet.keep_alive(),
            session_expiry_secs: if clean { 0 } else { u32::MAX },
            username: packet.user_name().map(str::to_owned),
            password: packet.password().map(|p| Secret::new(p.to_vec())),
            will,
        },
        will: parsed_will,
        receive_maximum: limits::MQTT_IN_FLIGHT,
        max_packet: usize::MAX,
    })
}

/// `named`: the client gave a user name, and not we.
fn from_v5(packet: &v5_0::Connect, named: bool) -> Result<ParsedConnect, BadConnect> {
    let mut expiry = 0;
    let mut receive_maximum = u16::MAX;
    let mut max_packet = usize::MAX;
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(p) => expiry = p.val(),
            Property::ReceiveMaximum(p) => receive_maximum = p.val(),
            Property::MaximumPacketSize(p) => max_packet = usize::try_from(p.val()).unwrap_or(usize::MAX),
            Property::AuthenticationMethod(_) => return Err(refuse(true, 0x8C)),
            Property::AuthenticationData(_) => return Err(refuse(true, 0x82)),
            _ => {}
        }
    }
    if receive_maximum == 0 || max_packet == 0 {
        return Err(refuse(true, 0x82));
    }
    let will = match (packet.will_topic(), packet.will_payload()) {
        (Some(topic), Some(payload)) => {
            check_will_properties(packet.will_props()).map_err(|reason| refuse(true, reason.code()))?;
            let (properties, delay_secs, expiry_secs) = will_properties(packet.will_props());
            Some((
                Will { topic: topic.to_owned(), qos: will_qos(packet.will_qos()), retain: packet.will_retain() },
                ParsedWill { payload: payload.to_vec(), properties, delay_secs, expiry_secs },
            ))
        }
        _ => None,
    };
    let (will, parsed_will) = will.unzip();
    Ok(ParsedConnect {
        connect: Connect {
            client_id: packet.client_id().to_owned(),
            protocol: Protocol::V5,
            clean_start: packet.clean_start(),
            keep_alive_secs: packet.keep_alive(),
            session_expiry_secs: expiry,
            username: packet.user_name().filter(|_| named).map(str::to_owned),
            password: packet.password().map(|p| Secret::new(p.to_vec())),
            will,
        },
        will: parsed_will,
        receive_maximum: receive_maximum.min(limits::MQTT_IN_FLIGHT),
        max_packet,
    })
}

/// What the library lets through of texts that others are to read; as in a PUBLISH.
fn check_will_properties(properties: &[Property]) -> Result<(), Reason> {
    let readable = |text: &str| if text.contains('\0') { Err(Reason::MalformedPacket) } else { Ok(()) };
    properties.iter().try_for_each(|property| match property {
        Property::ContentType(p) => readable(p.val()),
        Property::ResponseTopic(p) => readable(p.val()).and_then(|()| check_response_topic(p.val())),
        Property::UserProperty(p) => readable(p.key()).and_then(|()| readable(p.val())),
        _ => Ok(()),
    })
}

fn will_properties(properties: &[Property]) -> (Vec<u8>, u32, Option<u32>) {
    let (mut encoded, mut delay, mut expiry) = (Vec::new(), 0, None);
    for property in properties {
        match property {
            Property::WillDelayInterval(p) => delay = p.val(),
            Property::MessageExpiryInterval(p) => expiry = Some(p.val()),
            other => encoded.append(&mut other.to_continuous_buffer()),
        }
    }
    (encoded, delay, expiry)
}

/// What a DISCONNECT of the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParsedDisconnect {
    pub(crate) with_will: bool,
    pub(crate) session_expiry_secs: Option<u32>,
}

pub(crate) fn read_disconnect(body: &[u8], v5: bool) -> Result<ParsedDisconnect, crate::Reason> {
    if !v5 {
        let empty = ParsedDisconnect { with_will: false, session_expiry_secs: None };
        return if body.is_empty() { Ok(empty) } else { Err(crate::Reason::MalformedPacket) };
    }
    let (packet, used) = v5_0::Disconnect::parse(body).map_err(super::reason_of)?;
    if used != body.len() {
        return Err(crate::Reason::MalformedPacket);
    }
    let mut session_expiry_secs = None;
    for property in packet.props().iter().flatten() {
        if let Property::SessionExpiryInterval(p) = property {
            session_expiry_secs = Some(p.val());
        }
    }
    // Anything but a normal disconnection keeps the will, §3.1.2.5.
    let normal = matches!(packet.reason_code(), None | Some(DisconnectReasonCode::NormalDisconnection));
    Ok(ParsedDisconnect { with_will: !normal, session_expiry_secs })
}
