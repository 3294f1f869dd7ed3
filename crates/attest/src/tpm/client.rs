//! Talking to a TPM: commands and responses as bytes (TPM 2.0 Part 3). How they get there is a [`Transport`].
//!
//! Hierarchies and keys are used with empty passwords. Transient objects are flushed by whoever made them, since a TPM
//! has room for three.

use std::collections::{BTreeMap, BTreeSet};

use super::attest;
use super::public::{ECDSA, NULL, Public};
use super::signature::Signature;
use super::wire::{Malformed, Reader, Writer};
use crate::tpm::hash::Hash;

/// Carries one command to a TPM and its response back.
pub trait Transport: Send {
    /// # Errors
    /// What keeps the TPM from answering.
    fn transmit(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>>;
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    #[error("the TPM does not answer: {0}")]
    Transport(#[from] std::io::Error),
    #[error("the TPM refused command 0x{command:x}: 0x{code:03x}")]
    Refused { command: u32, code: u32 },
    #[error("the TPM's answer is {0}")]
    Answer(#[from] Malformed),
}

/// A number by which the TPM knows a hierarchy, a key, an index or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

impl Handle {
    pub const OWNER: Self = Self(0x4000_0001);
    pub const ENDORSEMENT: Self = Self(0x4000_000b);
    const NULL: Self = Self(0x4000_0007);
    const PASSWORD: Self = Self(0x4000_0009);
}

/// A key that was made and not loaded: its sealed private half, and its public area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub private: Vec<u8>,
    pub public: Vec<u8>,
}

/// A statement as the TPM made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// TPMS_ATTEST.
    pub statement: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

mod code {
    pub(super) const EVICT_CONTROL: u32 = 0x120;
    pub(super) const CREATE_PRIMARY: u32 = 0x131;
    pub(super) const STARTUP: u32 = 0x144;
    pub(super) const ACTIVATE_CREDENTIAL: u32 = 0x147;
    pub(super) const CERTIFY: u32 = 0x148;
    pub(super) const NV_READ: u32 = 0x14e;
    pub(super) const POLICY_SECRET: u32 = 0x151;
    pub(super) const CREATE: u32 = 0x153;
    pub(super) const LOAD: u32 = 0x157;
    pub(super) const QUOTE: u32 = 0x158;
    pub(super) const SIGN: u32 = 0x15d;
    pub(super) const FLUSH_CONTEXT: u32 = 0x165;
    pub(super) const NV_READ_PUBLIC: u32 = 0x169;
    pub(super) const READ_PUBLIC: u32 = 0x173;
    pub(super) const START_AUTH_SESSION: u32 = 0x176;
    pub(super) const PCR_READ: u32 = 0x17e;
    pub(super) const PCR_EXTEND: u32 = 0x182;
}

/// Digests that one TPM2_PCR_Read gives at most.
const PCRS_PER_READ: usize = 8;
/// Bytes of one TPM2_NV_Read that every TPM gives.
const NV_PIECE: u16 = 512;

/// A TPM.
pub struct Tpm {
    transport: Box<dyn Transport>,
}

impl Tpm {
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport }
    }

    /// Where nobody started it yet: a simulated one.
    pub fn startup(&mut self) -> Result<(), TpmError> {
        self.call(code::STARTUP, &[], &[], &Writer::new().u16(0).done(), 0).map(drop)
    }

    /// The primary key of this template: the same one each time, until its hierarchy is cleared.
    pub fn create_primary(&mut self, hierarchy: Handle, template: &[u8]) -> Result<(Handle, Public), TpmError> {
        let (handles, body) =
            self.call(code::CREATE_PRIMARY, &[hierarchy], &[Handle::PASSWORD], &creation(template), 1)?;
        let mut reader = answer(&body);
        Ok((first(&handles)?, Public::parse(reader.sized()?)?))
    }

    pub fn create(&mut self, parent: Handle, template: &[u8]) -> Result<Made, TpmError> {
        let (_, body) = self.call(code::CREATE, &[parent], &[Handle::PASSWORD], &creation(template), 0)?;
        let mut reader = answer(&body);
        Ok(Made { private: reader.sized()?.to_vec(), public: reader.sized()?.to_vec() })
    }

    pub fn load(&mut self, parent: Handle, key: &Made) -> Result<Handle, TpmError> {
        let parameters = Writer::new().sized(&key.private).sized(&key.public).done();
        let (handles, _) = self.call(code::LOAD, &[parent], &[Handle::PASSWORD], &parameters, 1)?;
        first(&handles)
    }

    /// Keeps a loaded key under `persistent`; or takes it away, where `key` is the persistent handle itself.
    pub fn evict_control(&mut self, key: Handle, persistent: Handle) -> Result<(), TpmError> {
        let parameters = Writer::new().u32(persistent.0).done();
        self.call(code::EVICT_CONTROL, &[Handle::OWNER, key], &[Handle::PASSWORD], &parameters, 0).map(drop)
    }

    pub fn read_public(&mut self, key: Handle) -> Result<Public, TpmError> {
        let (_, body) = self.call(code::READ_PUBLIC, &[key], &[], &[], 0)?;
        Ok(Public::parse(answer(&body).sized()?)?)
    }

    /// Signs a SHA-256 digest with ECDSA.
    pub fn sign(&mut self, key: Handle, digest: &[u8]) -> Result<Signature, TpmError> {
        // Without a ticket: only a key that is not restricted signs what it did not hash itself.
        let no_ticket = Writer::new().u16(0x8024).u32(Handle::NULL.0).sized(&[]).done();
        let parameters = Writer::new().sized(digest).u16(ECDSA).u16(Hash::Sha256.id()).bytes(&no_ticket).done();
        let (_, body) = self.call(code::SIGN, &[key], &[Handle::PASSWORD], &parameters, 0)?;
        Ok(Signature::parse(&body)?)
    }

    pub fn flush(&mut self, transient: Handle) -> Result<(), TpmError> {
        self.call(code::FLUSH_CONTEXT, &[transient], &[], &[], 0).map(drop)
    }

    /// What stands under an index, or nothing where there is none.
    pub fn nv_read(&mut self, index: Handle) -> Result<Option<Vec<u8>>, TpmError> {
        let (_, body) = match self.call(code::NV_READ_PUBLIC, &[index], &[], &[], 0) {
            Err(TpmError::Refused { .. }) => return Ok(None),
            other => other?,
        };
        let mut reader = answer(&body);
        let mut about = Reader::new("TPM2B_NV_PUBLIC", reader.sized()?);
        about.u32()?;
        about.u16()?;
        about.u32()?;
        about.sized()?;
        let size = about.u16()?;
        let mut out = Vec::new();
        let mut offset = 0;
        while offset < size {
            let piece = NV_PIECE.min(size - offset);
            let parameters = Writer::new().u16(piece).u16(offset).done();
            let (_, body) = self.call(code::NV_READ, &[Handle::OWNER, index], &[Handle::PASSWORD], &parameters, 0)?;
            out.extend_from_slice(answer(&body).sized()?);
            offset += piece;
        }
        Ok(Some(out))
    }

    /// TPM2_ActivateCredential with an endorsement key of the profile's templates L-1 and L-2, whose policy is the
    /// endorsement hierarchy's password.
    pub fn activate_credential(
        &mut self,
        attestation: Handle,
        endorsement: Handle,
        blob: &[u8],
        secret: &[u8],
        nonce: &[u8; 16],
    ) -> Result<Vec<u8>, TpmError> {
        let session = self.start_policy_session(nonce)?;
        let activated = self.activate(attestation, endorsement, session, blob, secret);
        if activated.is_err() {
            // A session that did its work is gone; one that did not is in the way of the next.
            self.flush(session).ok();
        }
        activated
    }

    fn activate(
        &mut self,
        attestation: Handle,
        endorsement: Handle,
        session: Handle,
        blob: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        let nothing = Writer::new().sized(&[]).sized(&[]).sized(&[]).u32(0).done();
        self.call(code::POLICY_SECRET, &[Handle::ENDORSEMENT, session], &[Handle::PASSWORD], &nothing, 0)?;
        let parameters = [blob, secret].concat();
        let (handles, sessions) = ([attestation, endorsement], [Handle::PASSWORD, session]);
        let (_, body) = self.call(code::ACTIVATE_CREDENTIAL, &handles, &sessions, &parameters, 0)?;
        Ok(answer(&body).sized()?.to_vec())
    }

    fn start_policy_session(&mut self, nonce: &[u8; 16]) -> Result<Handle, TpmError> {
        const POLICY: u8 = 1;
        let parameters = Writer::new().sized(nonce).sized(&[]).u8(POLICY).u16(NULL).u16(Hash::Sha256.id()).done();
        let (handles, _) = self.call(code::START_AUTH_SESSION, &[Handle::NULL, Handle::NULL], &[], &parameters, 1)?;
        first(&handles)
    }

    /// Values of PCRs of the SHA-256 bank.
    pub fn pcr_read(&mut self, pcrs: &BTreeSet<u8>) -> Result<BTreeMap<u8, Vec<u8>>, TpmError> {
        let mut values = BTreeMap::new();
        let all: Vec<u8> = pcrs.iter().copied().collect();
        for some in all.chunks(PCRS_PER_READ) {
            let some: BTreeSet<u8> = some.iter().copied().collect();
            let (_, body) = self.call(code::PCR_READ, &[], &[], &attest::select(&some), 0)?;
            let mut reader = answer(&body);
            reader.u32()?;
            attest::selection(&mut reader)?;
            reader.u32()?;
            for pcr in some {
                values.insert(pcr, reader.sized()?.to_vec());
            }
        }
        Ok(values)
    }

    pub fn pcr_extend(&mut self, pcr: u8, digest: &[u8]) -> Result<(), TpmError> {
        let parameters = Writer::new().u32(1).u16(Hash::Sha256.id()).bytes(digest).done();
        self.call(code::PCR_EXTEND, &[Handle(u32::from(pcr))], &[Handle::PASSWORD], &parameters, 0).map(drop)
    }

    pub fn quote(&mut self, key: Handle, nonce: &[u8], pcrs: &BTreeSet<u8>) -> Result<Signed, TpmError> {
        let parameters = Writer::new().sized(nonce).u16(NULL).bytes(&attest::select(pcrs)).done();
        let (_, body) = self.call(code::QUOTE, &[key], &[Handle::PASSWORD], &parameters, 0)?;
        signed(&body)
    }

    /// Has `key` say that `object` is in this TPM.
    pub fn certify(&mut self, object: Handle, key: Handle, nonce: &[u8]) -> Result<Signed, TpmError> {
        let parameters = Writer::new().sized(nonce).u16(NULL).done();
        let sessions = [Handle::PASSWORD, Handle::PASSWORD];
        let (_, body) = self.call(code::CERTIFY, &[object, key], &sessions, &parameters, 0)?;
        signed(&body)
    }

    /// Sends a command; the handles and the parameters of its answer.
    fn call(
        &mut self,
        command: u32,
        handles: &[Handle],
        sessions: &[Handle],
        parameters: &[u8],
        answers: usize,
    ) -> Result<(Vec<Handle>, Vec<u8>), TpmError> {
        const NO_SESSIONS: u16 = 0x8001;
        const SESSIONS: u16 = 0x8002;
        let mut body = Writer::new();
        for handle in handles {
            body = body.u32(handle.0);
        }
        if !sessions.is_empty() {
            let mut area = Writer::new();
            for session in sessions {
                // Only the password goes on; a policy session has done its work with this command.
                let goes_on = u8::from(*session == Handle::PASSWORD);
                area = area.u32(session.0).sized(&[]).u8(goes_on).sized(&[]);
            }
            let area = area.done();
            body = body.u32(u32::try_from(area.len()).unwrap_or_default()).bytes(&area);
        }
        let body = body.bytes(parameters).done();
        let size = u32::try_from(body.len() + 10).unwrap_or_default();
        let tag = if sessions.is_empty() { NO_SESSIONS } else { SESSIONS };
        let response = self.transport.transmit(&Writer::new().u16(tag).u32(size).u32(command).bytes(&body).done())?;
        parse_response(command, &response, answers)
    }
}

/// The handles and parameters of a response.
///
/// # Errors
/// What the TPM refused, or where the bytes are no response.
pub fn parse_response(command: u32, response: &[u8], handles: usize) -> Result<(Vec<Handle>, Vec<u8>), TpmError> {
    let mut reader = Reader::new("a response", response);
    let (tag, size, code) = (reader.u16()?, reader.u32()?, reader.u32()?);
    if usize::try_from(size).ok() != Some(response.len()) {
        return Err(reader.fail().into());
    }
    if code != 0 {
        return Err(TpmError::Refused { command, code });
    }
    let mut found = Vec::new();
    for _ in 0..handles {
        found.push(Handle(reader.u32()?));
    }
    let body = if tag == 0x8002 {
        let size = reader.u32()?;
        reader.bytes(usize::try_from(size).unwrap_or(usize::MAX))?
    } else {
        reader.rest()
    };
    Ok((found, body.to_vec()))
}

fn answer(body: &[u8]) -> Reader<'_> {
    Reader::new("an answer to this command", body)
}

fn first(handles: &[Handle]) -> Result<Handle, TpmError> {
    handles.first().copied().ok_or(TpmError::Answer(Malformed("an answer with a handle")))
}

/// TPM2B_SENSITIVE_CREATE without password and data, the template, no outside information, no PCRs.
fn creation(template: &[u8]) -> Vec<u8> {
    let sensitive = Writer::new().sized(&[]).sized(&[]).done();
    Writer::new().sized(&sensitive).sized(template).sized(&[]).u32(0).done()
}

fn signed(body: &[u8]) -> Result<Signed, TpmError> {
    let mut reader = answer(body);
    let statement = reader.sized()?.to_vec();
    Ok(Signed { statement, signature: reader.rest().to_vec() })
}
