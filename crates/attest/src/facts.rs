//! What evidence proves, in one form for all kinds of it.

/// One thing that was measured, and its digest.
///
/// Names say what it is: `pcr/N` a PCR of the SHA-256 bank, `event/N` an event that went into it, `software/TYPE` a
/// component of a token, `fwid/LAYER/INDEX` firmware in a DICE chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measurement {
    pub name: String,
    /// Lower-case hex.
    pub digest: String,
}

impl Measurement {
    pub fn new(name: impl Into<String>, digest: &[u8]) -> Self {
        Self { name: name.into(), digest: hex(digest) }
    }
}

/// What was proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What no other device has: the hash of its endorsement key, its ueid, the hash of its DeviceID key.
    pub identity: Vec<u8>,
    /// Fingerprint of the configured root or key that vouches for it.
    pub anchor: String,
    pub measurements: Vec<Measurement>,
    /// Whether an event log came with it.
    pub has_log: bool,
    /// Whether somebody may have debugged it since it booted; none where it does not say.
    pub debug: Option<bool>,
    /// Whether its life-cycle is that of a product in the field; none where it does not say.
    pub secured: Option<bool>,
    /// How often it was started, ever.
    pub boots: Option<u32>,
    /// Milliseconds that its clock ran, ever.
    pub clock_ms: Option<u64>,
    /// Whether the key of the certificate that it uses is vouched for too.
    pub certified_key: bool,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}
