//! What of QoS 2 is half done in a session (§4.3.3), in both directions. It survives with the session: a message that is
//! sent again is not delivered again, and one that the client has is not sent again.

use bytes::Bytes;

/// The format of the packed state; its first byte.
const VERSION: u8 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchanges {
    /// Packet identifiers of the client's messages that have been accepted and that it has not released.
    received: Vec<u16>,
    /// Numbers of messages that the client has, and is told to release; ascending.
    released: Vec<u64>,
}

impl Exchanges {
    pub(crate) fn received(&self) -> usize {
        self.received.len()
    }

    pub(crate) fn has_received(&self, packet_id: u16) -> bool {
        self.received.contains(&packet_id)
    }

    pub(crate) fn receive(&mut self, packet_id: u16) {
        if !self.has_received(packet_id) {
            self.received.push(packet_id);
        }
    }

    /// Whether there was such a message.
    pub(crate) fn forget_received(&mut self, packet_id: u16) -> bool {
        let at = self.received.iter().position(|id| *id == packet_id);
        at.map(|at| self.received.swap_remove(at)).is_some()
    }

    pub(crate) fn forget_all_received(&mut self, packet_ids: &[u16]) {
        self.received.retain(|id| !packet_ids.contains(id));
    }

    pub(crate) fn released(&self) -> &[u64] {
        &self.released
    }

    pub(crate) fn release(&mut self, seq: u64) {
        if let Err(at) = self.released.binary_search(&seq) {
            self.released.insert(at, seq);
        }
    }

    /// Everything up to `seq` is done with. Whether that changed anything.
    pub(crate) fn settle(&mut self, seq: u64) -> bool {
        let done = self.released.partition_point(|released| *released <= seq);
        self.released.drain(..done);
        done > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.released.is_empty()
    }

    /// As the store keeps it; empty for nothing.
    pub(crate) fn pack(&self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        let count = u16::try_from(self.received.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(3 + 2 * self.received.len() + 8 * self.released.len());
        out.push(VERSION);
        out.extend_from_slice(&count.to_be_bytes());
        self.received.iter().take(usize::from(count)).for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
        self.released.iter().for_each(|seq| out.extend_from_slice(&seq.to_be_bytes()));
        out.into()
    }

    /// None for what is empty, damaged or of another version.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Self> {
        let (&[VERSION, high, low], rest) = packed.split_first_chunk::<3>()? else { return None };
        let (ids, seqs) = rest.split_at_checked(2 * usize::from(u16::from_be_bytes([high, low])))?;
        let (ids, (seqs, tail)) = (ids.as_chunks::<2>().0, seqs.as_chunks::<8>());
        let mut released: Vec<u64> = seqs.iter().map(|seq| u64::from_be_bytes(*seq)).collect();
        released.sort_unstable();
        let received = ids.iter().map(|id| u16::from_be_bytes(*id)).collect();
        tail.is_empty().then_some(Self { received, released })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out(
            received in proptest::collection::hash_set(any::<u16>(), 0..50),
            released in proptest::collection::btree_set(any::<u64>(), 0..50),
        ) {
            let mut exchanges = Exchanges::default();
            received.iter().for_each(|id| exchanges.receive(*id));
            released.iter().for_each(|seq| exchanges.release(*seq));
            let packed = exchanges.pack();
            prop_assert_eq!(Exchanges::unpack(&packed), (!exchanges.is_empty()).then_some(exchanges));
        }

        #[test]
        fn anything_else_is_refused_in_peace(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            Exchanges::unpack(&bytes);
        }
    }
}
