//! What a client said, as the door understands it, in plain values that the reading of any other decoder can be held against.
//!
//! For tests and for the fuzzer, like `exam`. A packet is met by the code that meets it in a connection: framing, limits,
//! decoders, and the rules that hold of a packet by itself. What depends on the connection (an alias that stands for a
//! topic, a session without expiry) is not looked at.

use fleetward_base::limits;

use super::connect::{BadConnect, ParsedConnect, read_connect, read_disconnect};
use super::frame::{Frame, MAX_CONTROL, PacketType, frame};
use super::publish::{self, Reader, check, next_property};
use super::subscribe::{read_subscribe, read_unsubscribe};
use crate::Reason;
use crate::hooks::Protocol;
use crate::topic::{split_share, valid_name};

/// A packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Connect(Box<Hello>),
    Publish(Publication),
    /// PUBACK (4), PUBREC (5), PUBREL (6) or PUBCOMP (7).
    Ack {
        packet: u8,
        packet_id: u16,
        code: u8,
    },
    Subscribe {
        packet_id: u16,
        /// 0 for none.
        identifier: u32,
        /// With the byte of options.
        filters: Vec<(String, u8)>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        with_will: bool,
        session_expiry_secs: Option<u32>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub v5: bool,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub session_expiry_secs: u32,
    /// As far as the server goes along.
    pub receive_maximum: u16,
    pub max_packet: Option<u32>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
    pub will: Option<Publication>,
    pub will_delay_secs: u32,
}

/// A PUBLISH or a will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub topic: String,
    pub qos: u8,
    pub dup: bool,
    pub retain: bool,
    /// 0 for none.
    pub packet_id: u16,
    /// Each encoded, sorted by identifier; those with the same one in their order.
    pub properties: Vec<Vec<u8>>,
    pub payload: Vec<u8>,
}

/// What becomes of the first bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    Said(Said),
    /// With the code that 5.0 has for it; 0 where there is no answer at all.
    Refused(u8),
    Incomplete,
}

/// Meets the first packet of `bytes`: `first` of its connection, or later in one that speaks 5.0 or 3.1.1.
pub fn meet(bytes: &[u8], v5: bool, first: bool) -> Met {
    let most = if first { limits::MQTT_CONNECT_BYTES } else { limits::MQTT_PACKET_BYTES };
    let (kind, flags, body) = match frame(bytes, most) {
        Frame::Packet { kind, flags, body, .. } => (kind, flags, body),
        Frame::Incomplete { .. } => return Met::Incomplete,
        Frame::Bad(_) if first => return Met::Refused(0),
        Frame::Bad(reason) => return Met::Refused(reason.code()),
    };
    let said = match (first, kind) {
        (true, PacketType::Connect) => connect(body),
        (true, _) => Err(0),
        (false, _) => packet(kind, flags, body, v5).map_err(Reason::code),
    };
    said.map_or_else(Met::Refused, Met::Said)
}

/// Whether the door takes this filter of a SUBSCRIBE; one that it does not take is refused in the SUBACK.
pub fn takes_filter(filter: &str) -> bool {
    crate::topic::check_filter(filter).is_ok()
}

fn connect(body: &[u8]) -> Result<Said, u8> {
    let ParsedConnect { connect, will, receive_maximum, max_packet } = read_connect(body).map_err(|bad| match bad {
        BadConnect::Silent => 0,
        BadConnect::Version { .. } => 0x84,
        BadConnect::Refuse { code, .. } => code,
    })?;
    if connect.will.as_ref().is_some_and(|will| !valid_name(&will.topic)) {
        return Err(Reason::TopicNameInvalid.code());
    }
    let will_delay_secs = will.as_ref().map_or(0, |will| will.delay_secs);
    let will = connect.will.zip(will).map(|(will, rest)| {
        let mut properties = split(&rest.properties);
        properties.extend(rest.expiry_secs.map(|secs| [&[0x02][..], &secs.to_be_bytes()].concat()));
        Publication {
            topic: will.topic,
            qos: will.qos as u8,
            dup: false,
            retain: will.retain,
            packet_id: 0,
            properties: in_order(properties),
            payload: rest.payload,
        }
    });
    Ok(Said::Connect(Box::new(Hello {
        v5: connect.protocol == Protocol::V5,
        client_id: connect.client_id,
        clean: connect.clean_start,
        keep_alive: connect.keep_alive_secs,
        session_expiry_secs: connect.session_expiry_secs,
        receive_maximum,
        max_packet: u32::try_from(max_packet).ok(),
        username: connect.username,
        password: connect.password.map(|password| password.expose().clone()),
        will,
        will_delay_secs,
    })))
}

fn packet(kind: PacketType, flags: u8, body: &[u8], v5: bool) -> Result<Said, Reason> {
    if kind != PacketType::Publish && body.len() > MAX_CONTROL {
        return Err(Reason::PacketTooLarge);
    }
    match kind {
        PacketType::Publish => publication(flags, body, v5).map(Said::Publish),
        PacketType::Puback => ack(4, body, v5),
        PacketType::Pubrec => ack(5, body, v5),
        PacketType::Pubrel => ack(6, body, v5),
        PacketType::Pubcomp => ack(7, body, v5),
        PacketType::Subscribe => {
            let read = read_subscribe(body, v5)?;
            if read.filters.iter().any(|f| f.no_local && split_share(&f.filter).is_some()) {
                return Err(Reason::ProtocolError);
            }
            let options = |f: &super::subscribe::WantedFilter| {
                f.qos | u8::from(f.no_local) << 2 | u8::from(f.retain_as_published) << 3 | f.retain_handling << 4
            };
            let filters = read.filters.iter().map(|f| (f.filter.clone(), options(f))).collect();
            Ok(Said::Subscribe { packet_id: read.packet_id, identifier: read.identifier, filters })
        }
        PacketType::Unsubscribe => {
            let read = read_unsubscribe(body, v5)?;
            Ok(Said::Unsubscribe { packet_id: read.packet_id, filters: read.filters })
        }
        PacketType::Pingreq if body.is_empty() => Ok(Said::Ping),
        PacketType::Pingreq => Err(Reason::MalformedPacket),
        PacketType::Disconnect => {
            let read = read_disconnect(body, v5)?;
            Ok(Said::Disconnect { with_will: read.with_will, session_expiry_secs: read.session_expiry_secs })
        }
        PacketType::Connect | PacketType::Auth => Err(Reason::ProtocolError),
    }
}

fn publication(flags: u8, body: &[u8], v5: bool) -> Result<Publication, Reason> {
    let read = publish::read(flags, body, v5)?;
    let alias = read.properties.topic_alias;
    if alias.is_some_and(|alias| alias > limits::MQTT_TOPIC_ALIASES) {
        return Err(Reason::TopicAliasInvalid);
    }
    if alias.is_some() && !read.topic.is_empty() && !valid_name(read.topic) {
        return Err(Reason::TopicNameInvalid);
    }
    // An alias alone stands for a topic that was valid when it was given.
    check(&read, |topic| valid_name(topic) || (topic.is_empty() && alias.is_some()))?;
    Ok(Publication {
        topic: read.topic.to_owned(),
        qos: read.qos,
        dup: read.dup,
        retain: read.retain,
        packet_id: read.packet_id,
        properties: in_order(split(read.properties.encoded)),
        payload: read.payload.to_vec(),
    })
}

fn ack(packet: u8, body: &[u8], v5: bool) -> Result<Said, Reason> {
    publish::read_ack(body, v5).map(|(packet_id, code)| Said::Ack { packet, packet_id, code })
}

fn split(encoded: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader(encoded);
    std::iter::from_fn(|| next_property(&mut reader).ok().map(<[u8]>::to_vec)).collect()
}

/// Properties in the order of [`Publication::properties`].
pub fn in_order(mut properties: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    properties.sort_by_key(|property| property.first().copied());
    properties
}
