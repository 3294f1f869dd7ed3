//! The door's decoder beside another one, `mqtt-proto`, on the same bytes: the same packets with the same meaning, or a
//! difference that is written down in [`Class`]. Also the body of the fuzz target `broker_differential`.

use std::panic::AssertUnwindSafe;

use fleetward_broker::codec::said::{Hello, Met, Publication, Said, in_order, meet, takes_filter};
use mqtt_proto::{PollHeader, Protocol, QosPid, v3, v5};

/// The limits of the door that the other decoder does not know (`base::limits`).
const CONNECT_BYTES: usize = 4 * 1024;
const PACKET_BYTES: usize = 256 * 1024;
const CONTROL_BYTES: usize = 16 * 1024;
const PAYLOAD_BYTES: usize = 128 * 1024;
const IN_FLIGHT: u16 = 100;
const ALIASES: u16 = 16;

/// Why one decoder may take a packet that the other refuses. The table of `docs/adr/0028-a-second-codec.md` has the same
/// in words, with who is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// We refuse what is above a limit of ours (§3.1.2.11.4, §3.2.2.3.6; before a CONNECT is believed, 4 KiB).
    Limit,
    /// We refuse a topic that the standard allows: control characters, long, deep (`docs/deviations.md`).
    HouseTopic,
    /// We refuse a topic that is empty and has no alias, [MQTT-4.7.3-1].
    EmptyTopic,
    /// We refuse the alias 0 or one above what was offered, [MQTT-3.3.2-8] and [MQTT-3.3.2-9].
    Alias,
    /// We refuse a subscription identifier from a client in a PUBLISH, [MQTT-3.3.4-6], and the identifier 0, §3.8.2.1.2.
    SubscriptionIdentifier,
    /// We refuse a receive maximum or a packet size of 0, §3.1.2.11.3 and §3.1.2.11.4.
    Zero,
    /// We refuse enhanced authentication (`docs/deviations.md`).
    Authentication,
    /// We refuse the flags of a will without a will, [MQTT-3.1.2-13] and [MQTT-3.1.2-15] (3.1.1).
    WillFlags,
    /// We refuse in 3.1.1 a password without a user name, [MQTT-3.1.2-22], and a kept session without a name, [MQTT-3.1.3-8].
    Credentials311,
    /// We refuse MQTT 3.1, which calls itself `MQIsdp`.
    Version31,
    /// We refuse `no local` for a shared subscription, [MQTT-3.8.3-4].
    SharedNoLocal,
    /// We refuse a NUL in a text that others are to read, [MQTT-1.5.4-2].
    Nul,
    /// We answer a filter that is none in the SUBACK or UNSUBACK, where they refuse the packet (§3.9.3, 0x8F).
    Filter,
    /// We do not look at the reason codes and properties of acknowledgements, [MQTT-3.4.2-1] and its kin: they change nothing.
    Acknowledgement,
    /// We take a payload that is not the UTF-8 that it says it is; the standard lets us (§3.3.2.3.2).
    PayloadFormat,
    /// We take a length in more bytes than it needs; [MQTT-1.5.5-1] binds who sends it.
    LongLength,
}

/// What came of one packet.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Both have understood the same.
    Understood,
    Refused,
    Incomplete,
    Differs(Class),
}

/// Reads the first packet in both ways; panics where the difference is not a known one.
pub(crate) fn compare(bytes: &[u8], v5: bool, first: bool) -> Verdict {
    let ours = meet(bytes, v5, first);
    let theirs = theirs(bytes, v5, first);
    match (ours, theirs) {
        (Met::Said(ours), Read::Said(theirs)) => {
            assert_eq!(ours, theirs, "{bytes:?} means two things");
            Verdict::Understood
        }
        (Met::Refused(_), Read::Refused) => Verdict::Refused,
        (Met::Incomplete, Read::Incomplete) => Verdict::Incomplete,
        // A header alone can be refused.
        (Met::Refused(_), Read::Incomplete) | (Met::Incomplete, Read::Refused) => Verdict::Refused,
        (Met::Refused(code), Read::Said(said)) => match we_refuse(bytes, &said) {
            Some(class) => Verdict::Differs(class),
            None => panic!("refused with {code:#x} though {said:?} is in order: {bytes:?}"),
        },
        (Met::Refused(_), Read::Other(class)) => Verdict::Differs(class),
        (Met::Said(said), Read::Refused) => match they_refuse(bytes, &said) {
            Some(class) => Verdict::Differs(class),
            None => panic!("{said:?} taken from {bytes:?}, which another decoder refuses"),
        },
        (ours, theirs) => panic!("{ours:?} and {theirs:?} from {bytes:?}"),
    }
}

/// The other decoder's reading.
#[derive(Debug)]
enum Read {
    Said(Said),
    /// Understood, and nothing that a client may say to this server.
    Other(Class),
    Refused,
    Incomplete,
}

fn theirs(bytes: &[u8], v5: bool, first: bool) -> Read {
    let Some((at, _)) = header(bytes) else {
        // Five bytes of length, or not all of them.
        return if bytes.len() > 4 { Read::Refused } else { Read::Incomplete };
    };
    let is_connect = bytes[0] >> 4 == 1;
    // The level of the protocol is behind its name.
    let v5 = if is_connect { bytes.get(at + 6) == Some(&5) } else { v5 };
    // A panic of theirs is their refusal.
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| if v5 { read_v5(bytes, at) } else { read_v3(bytes, at) }));
    let read = read.unwrap_or(Read::Refused);
    // What follows has its place (§3.1): a CONNECT at first and never again.
    if is_connect != first && !matches!(read, Read::Incomplete) { Read::Refused } else { read }
}

/// Where the body begins, and how long it is.
pub(crate) fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let lengths = bytes.get(1..bytes.len().min(5))?;
    let last = lengths.iter().position(|byte| byte & 0x80 == 0)?;
    let value = lengths[..=last].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    Some((last + 2, value))
}

fn read_v5(bytes: &[u8], at: usize) -> Read {
    let Ok(header) = v5::Header::decode(bytes) else { return Read::Refused };
    let Some(body) = bytes.get(at..at + header.remaining_len as usize) else { return Read::Incomplete };
    let mut used = 0;
    let packet = match header.typ {
        v5::PacketType::Pingreq if body.is_empty() => return Read::Said(Said::Ping),
        v5::PacketType::Pingreq | v5::PacketType::Pingresp => return Read::Refused,
        _ => match header.decode_buffer(body, &mut used) {
            Ok(packet) if used == body.len() => packet,
            // What they leave unread is no part of the packet.
            Ok(_) | Err(_) => return Read::Refused,
        },
    };
    match packet {
        v5::Packet::Connect(connect) => connect_v5(&connect),
        v5::Packet::Publish(publish) => Read::Said(Said::Publish(publication_v5(&publish))),
        v5::Packet::Puback(ack) => acknowledged(4, ack.pid, ack.reason_code as u8),
        v5::Packet::Pubrec(ack) => acknowledged(5, ack.pid, ack.reason_code as u8),
        v5::Packet::Pubrel(ack) => acknowledged(6, ack.pid, ack.reason_code as u8),
        v5::Packet::Pubcomp(ack) => acknowledged(7, ack.pid, ack.reason_code as u8),
        v5::Packet::Subscribe(subscribe) => Read::Said(Said::Subscribe {
            packet_id: subscribe.pid.value(),
            identifier: match subscribe.properties.subscription_id {
                Some(id) if id.value() == 0 => return Read::Other(Class::SubscriptionIdentifier),
                id => id.map_or(0, v5::VarByteInt::value),
            },
            filters: subscribe.topics.iter().map(|(filter, options)| (filter.to_string(), options.to_u8())).collect(),
        }),
        v5::Packet::Unsubscribe(unsubscribe) => Read::Said(Said::Unsubscribe {
            packet_id: unsubscribe.pid.value(),
            filters: unsubscribe.topics.iter().map(ToString::to_string).collect(),
        }),
        v5::Packet::Disconnect(bye) => Read::Said(Said::Disconnect {
            with_will: bye.reason_code != v5::DisconnectReasonCode::NormalDisconnect,
            session_expiry_secs: bye.properties.session_expiry_interval,
        }),
        v5::Packet::Auth(_) => Read::Other(Class::Authentication),
        v5::Packet::Pingreq => Read::Said(Said::Ping),
        // CONNACK, SUBACK, UNSUBACK and PINGRESP are the server's.
        _ => Read::Refused,
    }
}

fn read_v3(bytes: &[u8], at: usize) -> Read {
    let Ok(header) = v3::Header::decode(bytes) else { return Read::Refused };
    let Some(body) = bytes.get(at..at + header.remaining_len as usize) else { return Read::Incomplete };
    let mut used = 0;
    let packet = match header.typ {
        v3::PacketType::Pingreq if body.is_empty() => return Read::Said(Said::Ping),
        v3::PacketType::Disconnect if body.is_empty() => {
            return Read::Said(Said::Disconnect { with_will: false, session_expiry_secs: None });
        }
        v3::PacketType::Pingreq | v3::PacketType::Pingresp | v3::PacketType::Disconnect => return Read::Refused,
        _ => match header.decode_buffer(body, &mut used) {
            Ok(packet) if used == body.len() => packet,
            Ok(_) | Err(_) => return Read::Refused,
        },
    };
    match packet {
        v3::Packet::Connect(connect) => connect_v3(&connect),
        v3::Packet::Publish(publish) => Read::Said(Said::Publish(Publication {
            topic: publish.topic_name.to_string(),
            dup: publish.dup,
            retain: publish.retain,
            properties: Vec::new(),
            payload: publish.payload.to_vec(),
            ..qos_and_id(publish.qos_pid)
        })),
        v3::Packet::Puback(pid) => acknowledged(4, pid, 0),
        v3::Packet::Pubrec(pid) => acknowledged(5, pid, 0),
        v3::Packet::Pubrel(pid) => acknowledged(6, pid, 0),
        v3::Packet::Pubcomp(pid) => acknowledged(7, pid, 0),
        v3::Packet::Subscribe(subscribe) => Read::Said(Said::Subscribe {
            packet_id: subscribe.pid.value(),
            identifier: 0,
            filters: subscribe.topics.iter().map(|(filter, qos)| (filter.to_string(), *qos as u8)).collect(),
        }),
        v3::Packet::Unsubscribe(unsubscribe) => Read::Said(Said::Unsubscribe {
            packet_id: unsubscribe.pid.value(),
            filters: unsubscribe.topics.iter().map(ToString::to_string).collect(),
        }),
        _ => Read::Refused,
    }
}

fn acknowledged(packet: u8, pid: mqtt_proto::Pid, code: u8) -> Read {
    Read::Said(Said::Ack { packet, packet_id: pid.value(), code })
}

fn qos_and_id(qos: QosPid) -> Publication {
    Publication {
        topic: String::new(),
        qos: qos.qos() as u8,
        dup: false,
        retain: false,
        packet_id: qos.pid().map_or(0, mqtt_proto::Pid::value),
        properties: Vec::new(),
        payload: Vec::new(),
    }
}

fn connect_v3(connect: &v3::Connect) -> Read {
    if connect.protocol != Protocol::V311 {
        return Read::Other(Class::Version31);
    }
    let will = connect.last_will.as_ref().map(|will| Publication {
        topic: will.topic_name.to_string(),
        qos: will.qos as u8,
        dup: false,
        retain: will.retain,
        packet_id: 0,
        properties: Vec::new(),
        payload: will.message.to_vec(),
    });
    Read::Said(Said::Connect(Box::new(Hello {
        v5: false,
        client_id: connect.client_id.to_string(),
        clean: connect.clean_session,
        keep_alive: connect.keep_alive,
        session_expiry_secs: if connect.clean_session { 0 } else { u32::MAX },
        receive_maximum: IN_FLIGHT,
        max_packet: None,
        username: connect.username.as_ref().map(ToString::to_string),
        password: connect.password.as_ref().map(|password| password.to_vec()),
        will,
        will_delay_secs: 0,
    })))
}

fn connect_v5(connect: &v5::Connect) -> Read {
    let asked = &connect.properties;
    if asked.auth_method.is_some() || asked.auth_data.is_some() {
        return Read::Other(Class::Authentication);
    }
    if asked.receive_max == Some(0) || asked.max_packet_size == Some(0) {
        return Read::Other(Class::Zero);
    }
    let will = connect.last_will.as_ref().map(|will| Publication {
        topic: will.topic_name.to_string(),
        qos: will.qos as u8,
        dup: false,
        retain: will.retain,
        packet_id: 0,
        properties: will_properties(&will.properties),
        payload: will.payload.to_vec(),
    });
    Read::Said(Said::Connect(Box::new(Hello {
        v5: true,
        client_id: connect.client_id.to_string(),
        clean: connect.clean_start,
        keep_alive: connect.keep_alive,
        session_expiry_secs: asked.session_expiry_interval.unwrap_or(0),
        receive_maximum: asked.receive_max.unwrap_or(u16::MAX).min(IN_FLIGHT),
        max_packet: asked.max_packet_size,
        username: connect.username.as_ref().map(ToString::to_string),
        password: connect.password.as_ref().map(|password| password.to_vec()),
        will,
        will_delay_secs: connect.last_will.as_ref().and_then(|will| will.properties.delay_interval).unwrap_or(0),
    })))
}

/// Properties as they are written.
#[derive(Default)]
struct Written(Vec<Vec<u8>>);

impl Written {
    fn put(&mut self, id: u8, value: Option<impl AsRef<[u8]>>) {
        self.0.extend(value.map(|value| [&[id][..], value.as_ref()].concat()));
    }

    fn text(&mut self, id: u8, value: Option<&[u8]>) {
        self.put(id, value.map(|value| [&(value.len() as u16).to_be_bytes()[..], value].concat()));
    }

    fn user(&mut self, properties: &[v5::UserProperty]) {
        for property in properties {
            let (mut both, texts) = (vec![], [property.name.as_bytes(), property.value.as_bytes()]);
            for text in texts {
                both.extend((text.len() as u16).to_be_bytes());
                both.extend(text);
            }
            self.put(0x26, Some(both));
        }
    }
}

fn will_properties(of: &v5::WillProperties) -> Vec<Vec<u8>> {
    let mut written = Written::default();
    written.put(0x01, of.payload_is_utf8.map(|utf8| [u8::from(utf8)]));
    written.put(0x02, of.message_expiry_interval.map(u32::to_be_bytes));
    written.text(0x03, of.content_type.as_ref().map(|text| text.as_bytes()));
    written.text(0x08, of.response_topic.as_ref().map(|text| text.as_bytes()));
    written.text(0x09, of.correlation_data.as_deref());
    written.user(&of.user_properties);
    in_order(written.0)
}

fn publication_v5(publish: &v5::Publish) -> Publication {
    let of = &publish.properties;
    let mut written = Written::default();
    written.put(0x01, of.payload_is_utf8.map(|utf8| [u8::from(utf8)]));
    written.put(0x02, of.message_expiry_interval.map(u32::to_be_bytes));
    written.text(0x03, of.content_type.as_ref().map(|text| text.as_bytes()));
    written.text(0x08, of.response_topic.as_ref().map(|text| text.as_bytes()));
    written.text(0x09, of.correlation_data.as_deref());
    written.put(0x0B, of.subscription_id.map(|id| id.value().to_be_bytes()));
    written.put(0x23, of.topic_alias.map(u16::to_be_bytes));
    written.user(&of.user_properties);
    Publication {
        topic: publish.topic_name.to_string(),
        dup: publish.dup,
        retain: publish.retain,
        properties: in_order(written.0),
        payload: publish.payload.to_vec(),
        ..qos_and_id(publish.qos_pid)
    }
}

/// What the door has against a packet that is one.
fn we_refuse(bytes: &[u8], said: &Said) -> Option<Class> {
    let body = bytes.len() - header(bytes)?.0;
    match said {
        Said::Connect(_) if bytes.len() > CONNECT_BYTES => Some(Class::Limit),
        Said::Connect(hello) => against_connect(bytes, hello),
        _ if bytes.len() > PACKET_BYTES => Some(Class::Limit),
        Said::Publish(publication) => against_publish(publication),
        _ if body > CONTROL_BYTES => Some(Class::Limit),
        Said::Subscribe { filters, .. } => {
            let shared = filters.iter().any(|(filter, options)| filter.starts_with("$share/") && options & 4 != 0);
            shared.then_some(Class::SharedNoLocal)
        }
        _ => None,
    }
}

fn against_connect(bytes: &[u8], hello: &Hello) -> Option<Class> {
    let flags = bytes.get(header(bytes)?.0 + 7)?;
    if flags & 0x04 == 0 && flags & 0x38 != 0 {
        return Some(Class::WillFlags);
    }
    if !hello.v5 && (flags & 0xC0 == 0x40 || (hello.client_id.is_empty() && !hello.clean)) {
        return Some(Class::Credentials311);
    }
    hello.will.as_ref().and_then(against_topic_and_texts)
}

fn against_publish(publication: &Publication) -> Option<Class> {
    let of = |id: u8| publication.properties.iter().find(|property| property[0] == id);
    if let Some(alias) = of(0x23) {
        let alias = u16::from_be_bytes([alias[1], alias[2]]);
        if alias == 0 || alias > ALIASES {
            return Some(Class::Alias);
        }
    }
    let bytes: usize = publication.properties.iter().map(Vec::len).sum();
    if of(0x0B).is_some() {
        Some(Class::SubscriptionIdentifier)
    } else if publication.topic.is_empty() && of(0x23).is_some() {
        against_texts(publication)
    } else {
        let large = publication.payload.len() > PAYLOAD_BYTES || bytes > CONTROL_BYTES;
        against_topic_and_texts(publication).or(large.then_some(Class::Limit))
    }
}

fn against_topic_and_texts(publication: &Publication) -> Option<Class> {
    let topic = &publication.topic;
    if topic.is_empty() {
        Some(Class::EmptyTopic)
    } else if topic.len() > 256 || topic.chars().any(char::is_control) || topic.matches('/').count() >= 16 {
        Some(Class::HouseTopic)
    } else {
        against_texts(publication)
    }
}

/// A NUL in one of the texts of a property.
fn against_texts(publication: &Publication) -> Option<Class> {
    let nul =
        publication.properties.iter().filter(|property| matches!(property[0], 0x03 | 0x08 | 0x26)).any(|property| {
            let mut rest = &property[1..];
            while let Some((len, more)) = rest.split_first_chunk::<2>() {
                let (text, after) = more.split_at(usize::from(u16::from_be_bytes(*len)));
                if text.contains(&0) {
                    return true;
                }
                rest = after;
            }
            false
        });
    nul.then_some(Class::Nul)
}

/// What the other decoder has against a packet that the door takes.
fn they_refuse(bytes: &[u8], said: &Said) -> Option<Class> {
    let (at, _) = header(bytes)?;
    let v5 = match said {
        Said::Connect(hello) => hello.v5,
        // Only 5.0 has anything of the following.
        _ => true,
    };
    match said {
        Said::Subscribe { filters, .. } if filters.iter().any(|(filter, _)| !takes_filter(filter)) => {
            Some(Class::Filter)
        }
        Said::Unsubscribe { filters, .. } if filters.iter().any(|filter| !takes_filter(filter)) => Some(Class::Filter),
        Said::Ack { .. } if bytes.len() - at > 2 => Some(Class::Acknowledgement),
        Said::Publish(publication) if not_utf8(publication) => Some(Class::PayloadFormat),
        Said::Connect(hello) if hello.will.as_ref().is_some_and(not_utf8) => Some(Class::PayloadFormat),
        _ if v5 && has_long_length(bytes, at, said) => Some(Class::LongLength),
        _ => None,
    }
}

fn not_utf8(publication: &Publication) -> bool {
    publication.properties.contains(&vec![1, 1]) && std::str::from_utf8(&publication.payload).is_err()
}

/// Whether a length is written in more bytes than it needs: a byte of it that adds nothing, `80 00` or longer. In a PUBLISH
/// that is known by what its parts come to.
fn has_long_length(bytes: &[u8], at: usize, said: &Said) -> bool {
    let Said::Publish(publication) = said else {
        return bytes.windows(2).any(|pair| pair[0] & 0x80 != 0 && pair[1] == 0);
    };
    let properties: usize = publication.properties.iter().map(Vec::len).sum();
    let length = mqtt_proto::var_int_len(properties).expect("below the limit");
    let packet_id = if publication.qos == 0 { 0 } else { 2 };
    bytes.len() - at > 2 + publication.topic.len() + packet_id + length + properties + publication.payload.len()
}

/// An input of the fuzzer: a byte of the version and of the place, and a stream, whose packets are read one after the other.
pub(crate) fn input(input: &[u8]) {
    let Some((flags, mut stream)) = input.split_first() else { return };
    let (v5, mut first) = (flags & 1 != 0, flags & 2 != 0);
    while let Verdict::Understood | Verdict::Differs(_) = compare(stream, v5, first) {
        let Some((at, remaining)) = header(stream) else { return };
        stream = stream.get(at + remaining..).unwrap_or_default();
        first = false;
    }
}
