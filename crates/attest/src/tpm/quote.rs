//! A quote: the TPM says which values its PCRs have, and an event log says how they came about.
//!
//! The values that the device sends count because their digest is signed; the log counts because its replay gives these
//! values. What the values ought to be is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::attest::{Attested, ClockInfo, Statement};
use super::hash::Hash;
use super::log::{self, BadLog, Event};
use super::public::Public;
use super::signature::Signature;
use super::wire::Malformed;

/// What a device sends of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// TPMS_ATTEST.
    pub statement: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// Of the SHA-256 bank.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// In the crypto-agile format of the TCG.
    pub log: Option<Vec<u8>>,
}

/// What a quote proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    pub clock: ClockInfo,
    /// The TPM's own firmware.
    pub firmware: u64,
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// Those of quoted PCRs; none where there was no log.
    pub events: Option<Vec<Event>>,
}

/// Why a quote proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuote {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the quote is not signed by the attestation key")]
    Signature,
    #[error("the quote does not answer the challenge")]
    Nonce,
    #[error("the statement is not a quote of PCRs of the SHA-256 bank")]
    NotAQuote,
    #[error("the PCRs that were sent are not those that were quoted")]
    Pcrs,
    #[error("the quote is not about PCR {0}, which was asked for")]
    Missing(u8),
    #[error(transparent)]
    Log(#[from] BadLog),
    #[error("the event log does not lead to the value of PCR {0}")]
    Replay(u8),
}

/// Checks a quote by the key `attestation` for the challenge `nonce`. It may be about more PCRs than were `wanted`, and not
/// about fewer: what a device leaves out, it hides.
///
/// # Errors
/// [`BadQuote`].
pub fn verify(attestation: &Public, nonce: &[u8], wanted: &BTreeSet<u8>, quote: &Quote) -> Result<Quoted, BadQuote> {
    let signature = Signature::parse(&quote.signature)?;
    signature.verify(attestation, &quote.statement).map_err(|_| BadQuote::Signature)?;
    let statement = Statement::parse(&quote.statement)?;
    if statement.extra != nonce {
        return Err(BadQuote::Nonce);
    }
    let Attested::Quote { banks, digest } = &statement.attested else { return Err(BadQuote::NotAQuote) };
    let [(bank, selected)] = banks.as_slice() else { return Err(BadQuote::NotAQuote) };
    if *bank != Hash::Sha256.id() || selected.is_empty() {
        return Err(BadQuote::NotAQuote);
    }
    let sent: BTreeSet<u8> = quote.pcrs.keys().copied().collect();
    let values: Vec<&[u8]> = quote.pcrs.values().map(Vec::as_slice).collect();
    let whole = values.iter().all(|value| value.len() == Hash::Sha256.size());
    if sent != *selected || !whole || signature.hash.digest(&values) != *digest {
        return Err(BadQuote::Pcrs);
    }
    if let Some(missing) = wanted.difference(selected).next() {
        return Err(BadQuote::Missing(*missing));
    }
    let events = quote.log.as_deref().map(|log| replay(log, &quote.pcrs)).transpose()?;
    Ok(Quoted { clock: statement.clock, firmware: statement.firmware, pcrs: quote.pcrs.clone(), events })
}

fn replay(bytes: &[u8], pcrs: &BTreeMap<u8, Vec<u8>>) -> Result<Vec<Event>, BadQuote> {
    let log = log::parse(bytes)?;
    let replayed = log.replay();
    for (pcr, value) in pcrs {
        let zeros = vec![0; Hash::Sha256.size()];
        if replayed.get(pcr).unwrap_or(&zeros) != value {
            return Err(BadQuote::Replay(*pcr));
        }
    }
    Ok(log.events.into_iter().filter(|event| event.extends() && pcrs.contains_key(&event.pcr)).collect())
}
