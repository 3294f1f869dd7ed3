//! A message as it is packed in queues, in memory and in the store.
//!
//! One record: length of the rest (LEB128), flags, expiry (8 bytes, milliseconds, if flagged), subscription identifier (4
//! bytes, if flagged), topic (2 bytes of length), MQTT 5.0 properties (2 bytes of length, if flagged), payload. A stored chunk is a version byte and records in order.
//! Reading is total: what is not a record is `None`, never a panic.

use bytes::Bytes;
use fleetward_base::Timestamp;

/// The format of a chunk; its first byte.
pub(crate) const CHUNK_VERSION: u8 = 1;

const RETAIN: u8 = 1;
const DIRECT: u8 = 1 << 1;
const EXPIRES: u8 = 1 << 2;
const PROPERTIES: u8 = 1 << 3;
const EXACTLY_ONCE: u8 = 1 << 4;
const SUBSCRIPTION: u8 = 1 << 5;

/// How a message reaches one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The RETAIN bit that the receiver sees.
    pub(crate) retain: bool,
    /// From a service to this one client: not authorised again.
    pub(crate) direct: bool,
    /// Sent with QoS 2, where it is not sent with 0.
    pub(crate) exactly_once: bool,
    /// The identifier of the subscription that it matches; 0 for none.
    pub(crate) subscription: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) flags: Flags,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) topic: &'a str,
    /// Encoded MQTT 5.0 properties to hand on: no alias, no expiry, no subscription identifier.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> Record<'a> {
    fn body_len(&self, flags: Flags) -> usize {
        1 + if self.expires_at.is_some() { 8 } else { 0 }
            + if flags.subscription == 0 { 0 } else { 4 }
            + 2
            + self.topic.len()
            + if self.properties.is_empty() { 0 } else { 2 + self.properties.len() }
            + self.payload.len()
    }

    /// Bytes that the record takes in a queue.
    pub(crate) fn encoded_len(&self, flags: Flags) -> usize {
        let body = self.body_len(flags);
        let bits = usize::BITS - body.leading_zeros();
        body + usize::try_from(bits.div_ceil(7)).unwrap_or(1)
    }

    /// Topic and properties are at most 65,535 bytes long: they come from MQTT or have been checked against its limits.
    pub(crate) fn encode(&self, flags: Flags, out: &mut Vec<u8>) {
        let mut body = self.body_len(flags);
        while body >= 0x80 {
            out.push(low_byte(body) | 0x80);
            body >>= 7;
        }
        out.push(low_byte(body));
        let expires = if self.expires_at.is_some() { EXPIRES } else { 0 };
        let properties = if self.properties.is_empty() { 0 } else { PROPERTIES };
        let retain = if flags.retain { RETAIN } else { 0 };
        let direct = if flags.direct { DIRECT } else { 0 };
        let exactly_once = if flags.exactly_once { EXACTLY_ONCE } else { 0 };
        let subscription = if flags.subscription == 0 { 0 } else { SUBSCRIPTION };
        out.push(retain | direct | expires | properties | exactly_once | subscription);
        if let Some(at) = self.expires_at {
            out.extend_from_slice(&at.millis().to_be_bytes());
        }
        if flags.subscription != 0 {
            out.extend_from_slice(&flags.subscription.to_be_bytes());
        }
        put_u16_prefixed(out, self.topic.as_bytes());
        if !self.properties.is_empty() {
            put_u16_prefixed(out, self.properties);
        }
        out.extend_from_slice(self.payload);
    }

    /// The record alone, as those receive it whose flags these are.
    pub(crate) fn to_bytes(self, flags: Flags) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_len(flags));
        self.encode(flags, &mut out);
        out.into()
    }

    /// The first record in `bytes`, and how long it is.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (body_len, prefix) = leb128(bytes)?;
        let end = prefix.checked_add(body_len)?;
        let body = bytes.get(prefix..end)?;
        let (&bits, mut rest) = body.split_first()?;
        let mut expires_at = None;
        if bits & EXPIRES != 0 {
            let (millis, after) = rest.split_first_chunk::<8>()?;
            expires_at = Some(Timestamp::from_millis(i64::from_be_bytes(*millis)));
            rest = after;
        }
        let mut subscription = 0;
        if bits & SUBSCRIPTION != 0 {
            let (identifier, after) = rest.split_first_chunk::<4>()?;
            subscription = u32::from_be_bytes(*identifier);
            rest = after;
        }
        let (topic, mut rest) = take_u16_prefixed(rest)?;
        let mut properties: &[u8] = &[];
        if bits & PROPERTIES != 0 {
            (properties, rest) = take_u16_prefixed(rest)?;
        }
        let topic = std::str::from_utf8(topic).ok()?;
        let flags = Flags {
            retain: bits & RETAIN != 0,
            direct: bits & DIRECT != 0,
            exactly_once: bits & EXACTLY_ONCE != 0,
            subscription,
        };
        Some((Self { flags, expires_at, topic, properties, payload: rest }, end))
    }
}

fn low_byte(n: usize) -> u8 {
    u8::try_from(n & 0x7F).unwrap_or_default()
}

fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

pub(crate) fn put_u16_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("checked against MQTT's limits before it came here");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn take_u16_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// Cuts the records out of a chunk, sharing its memory. None for a chunk that is damaged or of another version.
pub(crate) fn unpack(packed: &Bytes) -> Option<Vec<Bytes>> {
    let mut at = 1;
    if *packed.first()? != CHUNK_VERSION {
        return None;
    }
    let mut records = Vec::new();
    while at < packed.len() {
        let (_, len) = Record::decode(packed.get(at..)?)?;
        records.push(packed.slice(at..at + len));
        at += len;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flags_of((retain, direct, exactly_once, subscription): (bool, bool, bool, u32)) -> Flags {
        Flags { retain, direct, exactly_once, subscription }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out(
            messages in proptest::collection::vec(
                (any::<(bool, bool, bool, u32)>(), any::<Option<i64>>(), "[a-z/]{1,200}", proptest::collection::vec(any::<u8>(), 0..300),
                 proptest::collection::vec(any::<u8>(), 0..300)), 1..20)
        ) {
            let mut chunk = vec![CHUNK_VERSION];
            for (flags, expires, topic, properties, payload) in &messages {
                let record = Record {
                    flags: flags_of(*flags),
                    expires_at: expires.map(Timestamp::from_millis), topic, properties, payload,
                };
                let before = chunk.len();
                record.encode(record.flags, &mut chunk);
                prop_assert_eq!(chunk.len() - before, record.encoded_len(record.flags));
            }
            let records = unpack(&chunk.into()).expect("whole");
            prop_assert_eq!(records.len(), messages.len());
            for (bytes, (flags, expires, topic, properties, payload)) in records.iter().zip(&messages) {
                let (record, len) = Record::decode(bytes).expect("whole");
                prop_assert_eq!(len, bytes.len());
                prop_assert_eq!(record, Record {
                    flags: flags_of(*flags),
                    expires_at: expires.map(Timestamp::from_millis), topic, properties, payload,
                });
            }
        }

        #[test]
        fn anything_else_is_refused_in_peace(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            unpack(&bytes.into());
        }
    }
}
