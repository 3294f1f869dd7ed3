//! MQTT packets as bytes: the ones that a device sends, and the ones that it gets.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// Bytes that are no MQTT packet of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);

/// The answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack {
    pub session_present: bool,
    /// Zero is success; a return code of 3.1.1 or a reason code of 5 otherwise.
    pub code: u8,
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: Bytes,
    /// The packet identifier of a QoS 1 message.
    pub id: Option<u16>,
    pub retain: bool,
    pub duplicate: bool,
    /// As they are on the wire; empty in 3.1.1.
    pub properties: Bytes,
}

/// A packet that a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Connack(Connack),
    Publish(Publish),
    /// The reason code is zero in 3.1.1 and where version 5 leaves it out.
    Puback {
        id: u16,
        code: u8,
    },
    Suback {
        id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        id: u16,
    },
    Pingresp,
    Disconnect {
        code: u8,
    },
}

/// What stands in a CONNECT.
#[derive(Clone, Debug)]
pub struct Connect<'a> {
    pub version: Version,
    pub client_id: &'a str,
    pub keep_alive_secs: u16,
    /// Clean session (3.1.1) or clean start (5).
    pub clean: bool,
    /// How long the session outlives its connection; 3.1.1 has no such field.
    pub session_expiry_secs: u32,
    pub username: Option<&'a str>,
    /// Only beside a user name, on 3.1.1.
    pub password: Option<&'a str>,
}

const SESSION_EXPIRY: u8 = 0x11;

/// Appends a CONNECT.
pub fn connect(out: &mut BytesMut, connect: &Connect<'_>) {
    let mut body = BytesMut::with_capacity(32 + connect.client_id.len());
    string(&mut body, "MQTT");
    body.put_u8(if connect.version == Version::V5 { 5 } else { 4 });
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let named = flag(connect.username.is_some(), 0x80) | flag(connect.password.is_some(), 0x40);
    body.put_u8(flag(connect.clean, 0x02) | named);
    body.put_u16(connect.keep_alive_secs);
    if connect.version == Version::V5 {
        if connect.session_expiry_secs == 0 {
            body.put_u8(0);
        } else {
            body.put_u8(5);
            body.put_u8(SESSION_EXPIRY);
            body.put_u32(connect.session_expiry_secs);
        }
    }
    string(&mut body, connect.client_id);
    if let Some(username) = connect.username {
        string(&mut body, username);
    }
    if let Some(password) = connect.password {
        string(&mut body, password);
    }
    packet(out, 0x10, &body);
}

/// Appends a PUBLISH: QoS 1 with an identifier, QoS 0 without.
pub fn publish(out: &mut BytesMut, version: Version, topic: &str, payload: &[u8], id: Option<u16>, retain: bool) {
    let properties = usize::from(version == Version::V5);
    let length = 2 + topic.len() + if id.is_some() { 2 } else { 0 } + properties + payload.len();
    out.put_u8(0x30 | if id.is_some() { 0x02 } else { 0 } | u8::from(retain));
    remaining_length(out, length);
    string(out, topic);
    if let Some(id) = id {
        out.put_u16(id);
    }
    if version == Version::V5 {
        out.put_u8(0);
    }
    out.put_slice(payload);
}

pub fn puback(out: &mut BytesMut, id: u16) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(id);
}

/// Appends a SUBSCRIBE with QoS 1 for each filter.
pub fn subscribe(out: &mut BytesMut, version: Version, id: u16, filters: &[&str]) {
    let mut body = BytesMut::new();
    body.put_u16(id);
    if version == Version::V5 {
        body.put_u8(0);
    }
    for filter in filters {
        string(&mut body, filter);
        body.put_u8(1);
    }
    packet(out, 0x82, &body);
}

pub fn pingreq(out: &mut BytesMut) {
    out.put_slice(&[0xC0, 0]);
}

pub fn disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xE0, 0]);
}

fn packet(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.put_u8(first);
    remaining_length(out, body.len());
    out.put_slice(body);
}

fn string(out: &mut BytesMut, text: &str) {
    let length = u16::try_from(text.len()).expect("the simulation makes no string above 64 KiB");
    out.put_u16(length);
    out.put_slice(text.as_bytes());
}

fn remaining_length(out: &mut BytesMut, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7F).expect("seven bits fit");
        length >>= 7;
        if length == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Takes the next whole packet off `input`; `None` while it is not all there.
pub fn decode(input: &mut BytesMut, version: Version, limit: usize) -> Result<Option<Packet>, Malformed> {
    let Some((length, head)) = frame(input)? else { return Ok(None) };
    if length > limit {
        return Err(Malformed("packet above the limit"));
    }
    if input.len() < head + length {
        return Ok(None);
    }
    let first = input.get_u8();
    input.advance(head - 1);
    let body = input.split_to(length).freeze();
    parse(first, body, version).map(Some)
}

/// The remaining length, and the bytes of the fixed header before it.
fn frame(input: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (place, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((length, place + 2)));
        }
    }
    if input.len() > 4 { Err(Malformed("remaining length of more than four bytes")) } else { Ok(None) }
}

fn parse(first: u8, mut body: Bytes, version: Version) -> Result<Packet, Malformed> {
    const SHORT: Malformed = Malformed("packet ends too early");
    match first {
        0x20 => {
            let flags = body.try_get_u8().map_err(|_| SHORT)?;
            let code = body.try_get_u8().map_err(|_| SHORT)?;
            Ok(Packet::Connack(Connack { session_present: flags & 1 == 1, code }))
        }
        0x30..=0x3F => publish_from(first, body, version),
        0x40 => {
            let id = body.try_get_u16().map_err(|_| SHORT)?;
            Ok(Packet::Puback { id, code: body.try_get_u8().unwrap_or(0) })
        }
        0x90 => {
            let id = body.try_get_u16().map_err(|_| SHORT)?;
            take_properties(&mut body, version)?;
            Ok(Packet::Suback { id, codes: body.to_vec() })
        }
        0xB0 => Ok(Packet::Unsuback { id: body.try_get_u16().map_err(|_| SHORT)? }),
        0xD0 => Ok(Packet::Pingresp),
        0xE0 if version == Version::V5 => Ok(Packet::Disconnect { code: body.try_get_u8().unwrap_or(0) }),
        _ => Err(Malformed("no packet that a server sends")),
    }
}

fn publish_from(first: u8, mut body: Bytes, version: Version) -> Result<Packet, Malformed> {
    const SHORT: Malformed = Malformed("PUBLISH ends too early");
    let length = usize::from(body.try_get_u16().map_err(|_| SHORT)?);
    if body.len() < length {
        return Err(SHORT);
    }
    let topic = String::from_utf8(body.split_to(length).to_vec()).map_err(|_| Malformed("topic is not UTF-8"))?;
    let id = match (first >> 1) & 3 {
        0 => None,
        1 => Some(body.try_get_u16().map_err(|_| SHORT)?),
        _ => return Err(Malformed("QoS 2 was never asked for")),
    };
    let properties = take_properties(&mut body, version)?;
    let (retain, duplicate) = (first & 1 == 1, first & 8 == 8);
    Ok(Packet::Publish(Publish { topic, payload: body, id, retain, duplicate, properties }))
}

/// Version 5 has properties here; a device of the simulation heeds none.
fn take_properties(body: &mut Bytes, version: Version) -> Result<Bytes, Malformed> {
    if version == Version::V311 {
        return Ok(Bytes::new());
    }
    let mut length = 0;
    for place in 0..4 {
        let byte = body.try_get_u8().map_err(|_| Malformed("properties end too early"))?;
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            if body.len() < length {
                return Err(Malformed("properties end too early"));
            }
            return Ok(body.split_to(length));
        }
    }
    Err(Malformed("property length of more than four bytes"))
}
