//! PUBLISH and what acknowledges it (MQTT 5.0 §3.3 to §3.7), read from borrowed bytes.

use bytes::Bytes;
use fleetward_base::limits;

use crate::Reason;
use crate::properties::Beside;

/// Bytes of properties that a message may carry.
const MAX_PROPERTIES: usize = 16 * 1024;

/// A PUBLISH as it stands in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// 0 with QoS 0, else not 0.
    pub(crate) packet_id: u16,
    pub(crate) properties: Properties<'a>,
    pub(crate) payload: &'a [u8],
}

/// The properties of a PUBLISH or a will, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties<'a> {
    /// All of them, encoded, without their length.
    pub(crate) encoded: &'a [u8],
    pub(crate) topic_alias: Option<u16>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) subscription_id: bool,
    /// Payload format indicator 1: the payload is UTF-8.
    pub(crate) utf8_payload: bool,
}

/// Bytes with a reading position.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, Reason> {
        let (&first, rest) = self.0.split_first().ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(first)
    }

    fn u16(&mut self) -> Result<u16, Reason> {
        let (head, rest) = self.0.split_first_chunk::<2>().ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*head))
    }

    fn u32(&mut self) -> Result<u32, Reason> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*head))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Result<&'a str, Reason> {
        std::str::from_utf8(self.binary()?).map_err(|_| Reason::MalformedPacket)
    }

    /// Text that others are to read: with a NUL in it they would have to end their connections (§1.5.4).
    fn text_for_others(&mut self) -> Result<&'a str, Reason> {
        self.text().and_then(|text| if text.contains('\0') { Err(Reason::MalformedPacket) } else { Ok(text) })
    }

    /// Properties as a whole, with their length before them.
    pub(super) fn properties(&mut self) -> Result<&'a [u8], Reason> {
        let len = self.varint()?;
        self.take(usize::try_from(len).map_err(|_| Reason::MalformedPacket)?)
    }

    fn varint(&mut self) -> Result<u32, Reason> {
        let mut value = 0u32;
        for n in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * n);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Reason::MalformedPacket)
    }
}

/// Reads a PUBLISH from its flags and body.
pub(crate) fn read(flags: u8, body: &[u8], v5: bool) -> Result<Publish<'_>, Reason> {
    let qos = (flags >> 1) & 3;
    if qos == 3 {
        return Err(Reason::MalformedPacket);
    }
    let mut reader = Reader(body);
    let topic = reader.text()?;
    let packet_id = if qos == 0 { 0 } else { reader.u16()? };
    if qos != 0 && packet_id == 0 {
        return Err(Reason::MalformedPacket);
    }
    let properties = if v5 { read_properties(reader.properties()?)? } else { Properties::default() };
    Ok(Publish { topic, qos, dup: flags & 8 != 0, retain: flags & 1 != 0, packet_id, properties, payload: reader.0 })
}

/// Checks the properties of a PUBLISH, §3.3.2.3.
pub(crate) fn read_properties(encoded: &[u8]) -> Result<Properties<'_>, Reason> {
    let mut found = Properties { encoded, ..Properties::default() };
    let mut once = 0u64;
    let mut reader = Reader(encoded);
    while !reader.0.is_empty() {
        let id = reader.u8()?;
        match id {
            0x01 => match reader.u8()? {
                0 => {}
                1 => found.utf8_payload = true,
                _ => return Err(Reason::ProtocolError),
            },
            0x02 => found.expiry_secs = Some(reader.u32()?),
            0x03 => {
                reader.text_for_others()?;
            }
            0x08 => check_response_topic(reader.text_for_others()?)?,
            0x09 => {
                reader.binary()?;
            }
            0x0B => {
                if reader.varint()? == 0 {
                    return Err(Reason::ProtocolError);
                }
                found.subscription_id = true;
            }
            0x23 => {
                let alias = reader.u16()?;
                if alias == 0 {
                    return Err(Reason::TopicAliasInvalid);
                }
                found.topic_alias = Some(alias);
            }
            0x26 => {
                reader.text_for_others()?;
                reader.text_for_others()?;
                continue; // may stand more than once
            }
            _ => return Err(Reason::MalformedPacket),
        }
        let bit = 1u64 << id;
        if id != 0x0B && once & bit != 0 {
            return Err(Reason::ProtocolError);
        }
        once |= bit;
    }
    Ok(found)
}

/// No wildcards, [MQTT-3.3.2-14]: whoever answers would publish to it.
pub(super) fn check_response_topic(topic: &str) -> Result<(), Reason> {
    if topic.contains(['+', '#']) { Err(Reason::ProtocolError) } else { Ok(()) }
}

/// What holds of any PUBLISH of a client beyond its form. `valid` says what a topic is.
pub(crate) fn check(publish: &Publish<'_>, valid: impl Fn(&str) -> bool) -> Result<(), Reason> {
    let properties = &publish.properties;
    if properties.subscription_id {
        // §3.3.4: not from a client.
        Err(Reason::ProtocolError)
    } else if !valid(publish.topic) {
        Err(if publish.topic.is_empty() { Reason::ProtocolError } else { Reason::TopicNameInvalid })
    } else if publish.payload.len() > limits::MQTT_PAYLOAD_BYTES || properties.encoded.len() > MAX_PROPERTIES {
        Err(Reason::PacketTooLarge)
    } else {
        Ok(())
    }
}

/// Those properties that are handed on with a message: without the expiry, which is counted down, the alias and the
/// subscription identifier, which belong to one connection.
pub(crate) fn handed_on<'a>(properties: &Properties<'a>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if properties.expiry_secs.is_none() && properties.topic_alias.is_none() && !properties.subscription_id {
        return properties.encoded;
    }
    scratch.clear();
    let mut reader = Reader(properties.encoded);
    while let Ok(one) = next_property(&mut reader) {
        if !matches!(one.first(), Some(0x02 | 0x0B | 0x23)) {
            scratch.extend_from_slice(one);
        }
    }
    scratch
}

pub(super) fn next_property<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Reason> {
    let start = reader.0;
    match reader.u8()? {
        0x01 => reader.u8().map(drop)?,
        0x02 => reader.u32().map(drop)?,
        0x23 => reader.u16().map(drop)?,
        0x0B => reader.varint().map(drop)?,
        0x26 => {
            reader.binary()?;
            reader.binary()?;
        }
        _ => reader.binary().map(drop)?,
    }
    start.get(..start.len() - reader.0.len()).ok_or(Reason::MalformedPacket)
}

/// What encoded properties say, as far as they can be read: they were checked when they came.
pub(crate) fn beside(encoded: &[u8]) -> Beside {
    let text = |fields: &mut Reader<'_>| fields.text().map(str::to_owned).ok();
    let (mut found, mut reader) = (Beside::default(), Reader(encoded));
    while let Ok(one) = next_property(&mut reader) {
        let mut fields = Reader(one);
        match fields.u8() {
            Ok(0x01) => found.utf8 = fields.u8() == Ok(1),
            Ok(0x03) => found.content_type = text(&mut fields),
            Ok(0x08) => found.response_topic = text(&mut fields),
            Ok(0x09) => found.correlation = fields.binary().ok().map(Bytes::copy_from_slice),
            Ok(0x26) => found.user.extend(text(&mut fields).zip(text(&mut fields))),
            _ => {}
        }
    }
    found
}

/// Reads a PUBACK, PUBREC, PUBREL or PUBCOMP: packet identifier and reason code.
pub(crate) fn read_ack(body: &[u8], v5: bool) -> Result<(u16, u8), Reason> {
    let mut reader = Reader(body);
    let packet_id = reader.u16()?;
    if packet_id == 0 {
        return Err(Reason::MalformedPacket);
    }
    let mut code = 0;
    if v5 && !reader.0.is_empty() {
        code = reader.u8()?;
        if !reader.0.is_empty() {
            reader.properties()?;
        }
    }
    if reader.0.is_empty() { Ok((packet_id, code)) } else { Err(Reason::MalformedPacket) }
}
