//! The event log of a PC Client platform in its crypto-agile format (TCG PC Client Platform Firmware Profile 1.06 §10):
//! what was measured into which PCR, in order. Numbers are little-endian.
//!
//! Only digests are kept: what firmware writes beside them is not proven by anything and may be large.

use std::collections::BTreeMap;

use fleetward_base::limits;

use super::attest::PCRS;
use super::hash::Hash;

const NO_ACTION: u32 = 3;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub pcr: u8,
    pub kind: u32,
    /// SHA-256.
    pub digest: Vec<u8>,
}

impl Event {
    /// Events that say something and measure nothing are not extended.
    pub const fn extends(&self) -> bool {
        self.kind != NO_ACTION
    }
}

/// A log that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub events: Vec<Event>,
    /// The locality from which the platform was started, which PCR 0 begins with.
    pub locality: u8,
}

/// Why bytes are not a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLog {
    #[error("not an event log in the crypto-agile format, at byte {0}")]
    Malformed(usize),
    #[error("the event log has no digests of SHA-256")]
    NoSha256,
    #[error("the event log has more than {} events or {} bytes", limits::EVENT_LOG_EVENTS, limits::EVENT_LOG_BYTES)]
    TooLong,
}

/// # Errors
/// [`BadLog`].
pub fn parse(bytes: &[u8]) -> Result<Log, BadLog> {
    if bytes.len() > limits::EVENT_LOG_BYTES {
        return Err(BadLog::TooLong);
    }
    let mut reader = Reader { bytes, at: 0 };
    let sizes = header(&mut reader)?;
    if !sizes.contains_key(&Hash::Sha256.id()) {
        return Err(BadLog::NoSha256);
    }
    let mut log = Log::default();
    while reader.at < bytes.len() {
        if log.events.len() >= limits::EVENT_LOG_EVENTS {
            return Err(BadLog::TooLong);
        }
        event(&mut reader, &sizes, &mut log)?;
    }
    Ok(log)
}

impl Log {
    /// The values to which the events lead, of those PCRs that were extended.
    pub fn replay(&self) -> BTreeMap<u8, Vec<u8>> {
        let mut values: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        if self.locality != 0 {
            let mut start = vec![0; Hash::Sha256.size() - 1];
            start.push(self.locality);
            values.insert(0, start);
        }
        for event in self.events.iter().filter(|event| event.extends()) {
            let value = values.entry(event.pcr).or_insert_with(|| vec![0; Hash::Sha256.size()]);
            *value = Hash::Sha256.digest(&[value, &event.digest]);
        }
        values
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BadLog> {
        let end = self.at.checked_add(count).ok_or(BadLog::Malformed(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(BadLog::Malformed(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadLog> {
        let at = self.at;
        self.bytes(N)?.try_into().map_err(|_| BadLog::Malformed(at))
    }

    fn u16(&mut self) -> Result<u16, BadLog> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BadLog> {
        self.array().map(u32::from_le_bytes)
    }

    fn sized(&mut self) -> Result<&'a [u8], BadLog> {
        let count = self.u32()?;
        self.bytes(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// The first event has the old form and says which digests the others have, and how long they are.
fn header(reader: &mut Reader<'_>) -> Result<BTreeMap<u16, usize>, BadLog> {
    let (pcr, kind) = (reader.u32()?, reader.u32()?);
    reader.bytes(20)?;
    let mut inner = Reader { bytes: reader.sized()?, at: 0 };
    if pcr != 0 || kind != NO_ACTION || inner.bytes(SPEC_ID.len())? != SPEC_ID {
        return Err(BadLog::Malformed(0));
    }
    inner.bytes(8)?;
    let count = inner.u32()?;
    let mut sizes = BTreeMap::new();
    for _ in 0..count.min(16) {
        let (id, size) = (inner.u16()?, usize::from(inner.u16()?));
        let known = Hash::from_id(id).is_none_or(|hash| hash.size() == size);
        if !known || size > 64 || sizes.insert(id, size).is_some() {
            return Err(BadLog::Malformed(reader.at));
        }
    }
    Ok(sizes)
}

fn event(reader: &mut Reader<'_>, sizes: &BTreeMap<u16, usize>, log: &mut Log) -> Result<(), BadLog> {
    let at = reader.at;
    let (pcr, kind, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < PCRS).ok_or(BadLog::Malformed(at))?;
    if usize::try_from(count).map_or(true, |count| count > sizes.len()) {
        return Err(BadLog::Malformed(at));
    }
    let mut sha256 = None;
    for _ in 0..count {
        let id = reader.u16()?;
        let digest = reader.bytes(*sizes.get(&id).ok_or(BadLog::Malformed(at))?)?;
        if id == Hash::Sha256.id() {
            sha256 = Some(digest.to_vec());
        }
    }
    let data = reader.sized()?;
    if kind == NO_ACTION && pcr == 0 && data.get(..16) == Some(STARTUP_LOCALITY) {
        log.locality = data.get(16).copied().unwrap_or_default();
    }
    let digest = sha256.ok_or(BadLog::NoSha256)?;
    log.events.push(Event { pcr, kind, digest });
    Ok(())
}
