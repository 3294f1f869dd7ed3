//! TPMS_ATTEST: what a TPM says and signs (TPM 2.0 Part 2 §10.12.8), a quote or the certification of a key.

use std::collections::BTreeSet;

use super::hash::Hash;
use super::wire::{Malformed, Reader, Writer};

const MAGIC: u32 = 0xff54_4347;
const QUOTE: u16 = 0x8018;
const CERTIFY: u16 = 0x8017;
/// PCRs of a PC Client TPM.
pub const PCRS: u8 = 24;

/// Time as the TPM keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM was powered, ever.
    pub clock_ms: u64,
    /// Starts of the machine, ever.
    pub resets: u32,
    /// Resumes since the last start.
    pub restarts: u32,
    /// Whether the clock cannot have been ahead of this before.
    pub safe: bool,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attested {
    Quote {
        /// Of each bank: the digest's number, and which PCRs.
        banks: Vec<(u16, BTreeSet<u8>)>,
        digest: Vec<u8>,
    },
    Certify {
        name: Vec<u8>,
    },
}

/// A statement that was read. It proves nothing before its signature does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What the verifier asked to be included.
    pub extra: Vec<u8>,
    pub clock: ClockInfo,
    pub firmware: u64,
    pub attested: Attested,
}

impl Statement {
    /// # Errors
    /// [`Malformed`] where it is no TPMS_ATTEST of a quote or a certification, with nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("TPMS_ATTEST of a quote or a certification", bytes);
        // The magic is what a restricted key signs for its TPM only: data from outside must not begin with it.
        if reader.u32()? != MAGIC {
            return Err(reader.fail());
        }
        let kind = reader.u16()?;
        reader.sized()?;
        let extra = reader.sized()?.to_vec();
        let clock = ClockInfo {
            clock_ms: reader.u64()?,
            resets: reader.u32()?,
            restarts: reader.u32()?,
            safe: reader.u8()? == 1,
        };
        let firmware = reader.u64()?;
        let attested = match kind {
            QUOTE => Attested::Quote { banks: selection(&mut reader)?, digest: reader.sized()?.to_vec() },
            CERTIFY => {
                let name = reader.sized()?.to_vec();
                reader.sized()?;
                Attested::Certify { name }
            }
            _ => return Err(reader.fail()),
        };
        reader.finish()?;
        Ok(Self { extra, clock, firmware, attested })
    }
}

/// TPML_PCR_SELECTION.
pub(crate) fn selection(reader: &mut Reader<'_>) -> Result<Vec<(u16, BTreeSet<u8>)>, Malformed> {
    let count = reader.u32()?;
    if count > 16 {
        return Err(reader.fail());
    }
    let mut banks = Vec::new();
    for _ in 0..count {
        let bank = reader.u16()?;
        let size = reader.u8()?;
        let bits = reader.bytes(usize::from(size))?;
        let set = (0..PCRS).filter(|pcr| bits.get(usize::from(pcr / 8)).is_some_and(|byte| byte >> (pcr % 8) & 1 == 1));
        banks.push((bank, set.collect()));
    }
    Ok(banks)
}

/// TPML_PCR_SELECTION of one bank of SHA-256.
pub(crate) fn select(pcrs: &BTreeSet<u8>) -> Vec<u8> {
    let mut bits = [0_u8; 3];
    for pcr in pcrs {
        if let Some(byte) = bits.get_mut(usize::from(pcr / 8)) {
            *byte |= 1 << (pcr % 8);
        }
    }
    Writer::new().u32(1).u16(Hash::Sha256.id()).u8(3).bytes(&bits).done()
}
