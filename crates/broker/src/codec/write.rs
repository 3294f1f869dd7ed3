//! Packets of the server, appended to a buffer.

use crate::Reason;
use crate::hooks::Qos;

/// A PUBLISH to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutPublish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) qos: Qos,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) packet_id: u16,
    /// Encoded, without expiry.
    pub(crate) properties: &'a [u8],
    pub(crate) expiry_secs: Option<u32>,
    /// The identifier of the subscription that it matches (§3.3.2.3.8); 0 for none.
    pub(crate) subscription: u32,
    pub(crate) payload: &'a [u8],
}

impl OutPublish<'_> {
    fn properties_len(&self) -> usize {
        let identifier = usize::try_from(self.subscription).unwrap_or(0);
        self.properties.len()
            + if self.expiry_secs.is_some() { 5 } else { 0 }
            + if identifier == 0 { 0 } else { 1 + varint_len(identifier) }
    }

    fn remaining(&self, v5: bool) -> usize {
        let properties = self.properties_len();
        2 + self.topic.len()
            + if self.qos == Qos::AtMostOnce { 0 } else { 2 }
            + if v5 { varint_len(properties) + properties } else { 0 }
            + self.payload.len()
    }

    /// Bytes of the whole packet.
    pub(crate) fn len(&self, v5: bool) -> usize {
        let remaining = self.remaining(v5);
        1 + varint_len(remaining) + remaining
    }

    pub(crate) fn write(&self, v5: bool, out: &mut Vec<u8>) {
        out.reserve(self.len(v5));
        out.push(0x30 | (self.qos as u8) << 1 | if self.dup { 0x08 } else { 0 } | u8::from(self.retain));
        varint(out, self.remaining(v5));
        text(out, self.topic);
        if self.qos != Qos::AtMostOnce {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        if v5 {
            varint(out, self.properties_len());
            if let Some(secs) = self.expiry_secs {
                out.push(0x02);
                out.extend_from_slice(&secs.to_be_bytes());
            }
            if self.subscription != 0 {
                out.push(0x0B);
                varint(out, usize::try_from(self.subscription).unwrap_or(0));
            }
            out.extend_from_slice(self.properties);
        }
        out.extend_from_slice(self.payload);
    }
}

/// First bytes of what acknowledges a PUBLISH, and what acknowledges that.
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;

/// A PUBACK, PUBREC, PUBREL or PUBCOMP; a code other than 0 is for 5.0 only.
pub(crate) fn ack(out: &mut Vec<u8>, first: u8, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    if code == 0 {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, code]);
    }
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// What a 5.0 client is told at CONNECT, §3.2.2.3.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnackProperties<'a> {
    pub(crate) session_expiry_secs: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet: u32,
    /// The greatest topic alias that the client may use.
    pub(crate) topic_aliases: u16,
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) keep_alive_secs: Option<u16>,
    /// The greatest QoS; 2 is not said.
    pub(crate) max_qos: u8,
    pub(crate) no_subscription_identifiers: bool,
}

pub(crate) fn connack_v3(out: &mut Vec<u8>, session_present: bool, code: u8) {
    out.extend_from_slice(&[0x20, 2, u8::from(session_present), code]);
}

pub(crate) fn connack_v5(out: &mut Vec<u8>, session_present: bool, given: &ConnackProperties<'_>) {
    let mut properties = Vec::with_capacity(64);
    if let Some(secs) = given.session_expiry_secs {
        properties.push(0x11);
        properties.extend_from_slice(&secs.to_be_bytes());
    }
    properties.push(0x21);
    properties.extend_from_slice(&given.receive_maximum.to_be_bytes());
    properties.push(0x27);
    properties.extend_from_slice(&given.max_packet.to_be_bytes());
    if let Some(id) = given.assigned_client_id {
        properties.push(0x12);
        text(&mut properties, id);
    }
    if given.topic_aliases > 0 {
        properties.push(0x22);
        properties.extend_from_slice(&given.topic_aliases.to_be_bytes());
    }
    if let Some(secs) = given.keep_alive_secs {
        properties.push(0x13);
        properties.extend_from_slice(&secs.to_be_bytes());
    }
    if given.max_qos < 2 {
        properties.extend_from_slice(&[0x24, given.max_qos]);
    }
    if given.no_subscription_identifiers {
        properties.extend_from_slice(&[0x29, 0]);
    }
    out.push(0x20);
    varint(out, 2 + varint_len(properties.len()) + properties.len());
    out.extend_from_slice(&[u8::from(session_present), 0]);
    varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// With a Server Reference where there is one to go to (§3.2.2.3.16).
pub(crate) fn connack_v5_refused(out: &mut Vec<u8>, code: u8, server: Option<&str>) {
    let mut properties = Vec::new();
    server_reference(&mut properties, server);
    out.push(0x20);
    varint(out, 2 + varint_len(properties.len()) + properties.len());
    out.extend_from_slice(&[0, code]);
    varint(out, properties.len());
    out.extend_from_slice(&properties);
}

fn server_reference(properties: &mut Vec<u8>, server: Option<&str>) {
    if let Some(server) = server {
        properties.push(0x1C);
        text(properties, server);
    }
}

/// DISCONNECT of a 5.0 client that is sent to another server (§3.14.2.2.5).
pub(crate) fn disconnect_to(out: &mut Vec<u8>, code: u8, server: &str) {
    let mut properties = Vec::with_capacity(server.len() + 3);
    server_reference(&mut properties, Some(server));
    out.push(0xE0);
    varint(out, 1 + varint_len(properties.len()) + properties.len());
    out.push(code);
    varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// SUBACK (first byte 0x90) or, on 5.0 only, UNSUBACK (0xB0) with codes.
pub(crate) fn ack_with_codes(out: &mut Vec<u8>, first: u8, packet_id: u16, codes: &[u8], v5: bool) {
    out.push(first);
    varint(out, 2 + usize::from(v5) + codes.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        out.push(0);
    }
    out.extend_from_slice(codes);
}

/// DISCONNECT with a reason, 5.0 only. The reason is also given in words where the client takes packets that long: people
/// read it in their logs, and paho 1.6 reads no code that no property follows.
pub(crate) fn disconnect(out: &mut Vec<u8>, code: u8, max_packet: usize) {
    const REASON_STRING: u8 = 0x1F;
    let words = Reason::from_code(code).as_str().as_bytes();
    let length = |extra: usize| u8::try_from(words.len() + extra).ok().filter(|length| *length < 0x80);
    match (length(5), length(3), length(0)) {
        (Some(remaining), Some(properties), Some(text)) if usize::from(remaining) + 2 <= max_packet => {
            out.extend_from_slice(&[0xE0, remaining, code, properties, REASON_STRING, 0, text]);
            out.extend_from_slice(words);
        }
        _ => out.extend_from_slice(&[0xE0, 1, code]),
    }
}

fn varint_len(n: usize) -> usize {
    match n {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let byte = u8::try_from(n & 0x7F).unwrap_or_default();
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Texts written here come from topics, ids and names of servers, which are shorter than 64 KiB.
fn text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("topics and ids are bounded far below 64 KiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
