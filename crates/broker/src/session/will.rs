//! The will of a connection as it is kept while the connection lasts, so that a crash of the server does not lose it.
//!
//! A version byte, the connection that it is of (its number, and when it began), delay, expiry (0: none), QoS and retain,
//! topic and properties (2 bytes of length each), payload. Reading is total.

use bytes::Bytes;
use fleetward_base::Timestamp;

use super::LastWill;
use crate::hooks::Qos;
use crate::record::{put_u16_prefixed, take_u16_prefixed};

const VERSION: u8 = 1;
const RETAIN: u8 = 0x04;
const EXPIRES: u8 = 0x08;

/// What is to be done with a will that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WillChange {
    Keep(Bytes),
    /// Takes away this one, and no other that has come in its place.
    Drop(Bytes),
}

impl LastWill {
    pub(crate) fn pack(&self) -> Bytes {
        let mut out = Vec::with_capacity(32 + self.topic.len() + self.properties.len() + self.payload.len());
        let retain = if self.retain { RETAIN } else { 0 };
        let expires = if self.expiry_secs.is_some() { EXPIRES } else { 0 };
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.since.millis().to_be_bytes());
        out.extend_from_slice(&self.delay_secs.to_be_bytes());
        out.extend_from_slice(&self.expiry_secs.unwrap_or(0).to_be_bytes());
        out.push(self.qos as u8 | retain | expires);
        put_u16_prefixed(&mut out, self.topic.as_bytes());
        put_u16_prefixed(&mut out, &self.properties);
        out.extend_from_slice(&self.payload);
        out.into()
    }

    /// None for what [`Self::pack`] did not write.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Self> {
        let (&version, rest) = packed.split_first()?;
        if version != VERSION {
            return None;
        }
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (since, rest) = rest.split_first_chunk::<8>()?;
        let (delay, rest) = rest.split_first_chunk::<4>()?;
        let (expiry, rest) = rest.split_first_chunk::<4>()?;
        let (&bits, rest) = rest.split_first()?;
        let (topic, rest) = take_u16_prefixed(rest)?;
        let (properties, payload) = take_u16_prefixed(rest)?;
        Some(Self {
            epoch: u64::from_be_bytes(*epoch),
            since: Timestamp::from_millis(i64::from_be_bytes(*since)),
            topic: std::str::from_utf8(topic).ok()?.to_owned(),
            payload: payload.to_vec(),
            properties: properties.to_vec(),
            qos: Qos::from_bits(bits & 0x03),
            retain: bits & RETAIN != 0,
            delay_secs: u32::from_be_bytes(*delay),
            expiry_secs: (bits & EXPIRES != 0).then(|| u32::from_be_bytes(*expiry)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_will_reads_as_it_was_packed(
            epoch in any::<u64>(),
            millis in any::<i64>(),
            topic in "[a-z/]{1,40}",
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            properties in proptest::collection::vec(any::<u8>(), 0..32),
            (qos, retain, delay_secs, expiry_secs) in (0_u8..3, any::<bool>(), any::<u32>(), any::<Option<u32>>()),
        ) {
            let (qos, since) = (Qos::from_bits(qos), Timestamp::from_millis(millis));
            let will = LastWill { epoch, since, topic, payload, properties, qos, retain, delay_secs, expiry_secs };
            let packed = will.pack();
            prop_assert_eq!(LastWill::unpack(&packed), Some(will));
            for end in 0..packed.len().min(26) {
                prop_assert_eq!(LastWill::unpack(&packed[..end]), None);
            }
        }

        #[test]
        fn bytes_that_are_no_will_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            LastWill::unpack(&bytes);
        }
    }
}
