//! The few commands that sealing needs, as bytes (TCG "TPM 2.0 Library", Part 3), and what comes back.

use base::Secret;
use base::{Rng, SystemRng};

use fleetward_base as base;

pub(super) const HEADER_BYTES: usize = 10;
/// The largest command and answer of the PC client profile.
pub(super) const BYTES_MAX: usize = 4096;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const OWNER: u32 = 0x4000_0001;
const NULL_HANDLE: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;
const SHA256: u16 = 0x000b;
const NULL_ALG: u16 = 0x0010;
/// fixedTPM, fixedParent, noDA (Part 2, TPMA_OBJECT).
const SEALED: u32 = 1 << 1 | 1 << 4 | 1 << 10;
const USER_WITH_AUTH: u32 = 1 << 6;
/// The same with sensitiveDataOrigin, userWithAuth, restricted and decrypt: a storage key.
const STORAGE: u32 = SEALED | 1 << 5 | USER_WITH_AUTH | 1 << 16 | 1 << 17;

/// Why a TPM did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TpmError {
    #[error("{0}")]
    Io(String),
    #[error("its answer is not one of a TPM 2.0")]
    Malformed,
    #[error("{}", meaning(*.0))]
    Code(u32),
}

fn meaning(code: u32) -> String {
    // The low bits of a format-one code say what; the others which parameter or session (Part 2, §6.6).
    let what = match (code & 0x80 != 0, code & 0x3f) {
        (true, 0x1d) => "the PCRs are not as they were when the key was sealed",
        (true, 0x1f) => "what it sealed was changed, or another TPM sealed it",
        (true, 0x22 | 0x0e) => "it wants an authorisation that we do not have",
        (false, _) if code & 0x7ff == 0x128 => "the PCRs changed while it was asked",
        (false, _) if code & 0x7ff == 0x100 => "it was not started",
        (false, _) if code & 0xfff == 0x921 => "it is locked against guessing",
        _ => return format!("it answers with the code {code:#05x}"),
    };
    format!("{what} ({code:#05x})")
}

/// Reads an answer from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (found, rest) = self.0.split_first_chunk::<N>().ok_or(TpmError::Malformed)?;
        self.0 = rest;
        Ok(*found)
    }

    pub(super) fn u8(&mut self) -> Result<u8, TpmError> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, TpmError> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TpmError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A TPM2B: a length of two bytes, and that many.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let length = usize::from(self.u16()?);
        let (found, rest) = self.0.split_at_checked(length).ok_or(TpmError::Malformed)?;
        self.0 = rest;
        Ok(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How long the answer is that begins so.
pub(super) fn length(head: &[u8]) -> Result<usize, TpmError> {
    let mut fields = Fields::new(head);
    fields.u16()?;
    usize::try_from(fields.u32()?).map_err(|_| TpmError::Malformed)
}

/// An answer that says that it worked.
pub(super) struct Answer {
    bytes: Secret<Vec<u8>>,
    sessions: bool,
}

impl Answer {
    pub(super) fn of(bytes: Secret<Vec<u8>>) -> Result<Self, TpmError> {
        let mut fields = Fields::new(bytes.expose());
        let (tag, size, code) = (fields.u16()?, fields.u32()?, fields.u32()?);
        if usize::try_from(size) != Ok(bytes.expose().len()) {
            return Err(TpmError::Malformed);
        }
        match code {
            0 => Ok(Self { sessions: tag == SESSIONS, bytes }),
            code => Err(TpmError::Code(code)),
        }
    }

    pub(super) fn body(&self) -> Result<Fields<'_>, TpmError> {
        self.bytes.expose().get(HEADER_BYTES..).map(Fields::new).ok_or(TpmError::Malformed)
    }

    /// The handle that stands first in answers that make something.
    pub(super) fn handle(&self) -> Result<u32, TpmError> {
        self.body()?.u32()
    }

    /// What follows the length that answers with sessions have.
    pub(super) fn parameters(&self) -> Result<Fields<'_>, TpmError> {
        let mut fields = self.body()?;
        if self.sessions {
            fields.u32()?;
        }
        Ok(fields)
    }
}

pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    // Whatever is put here is shorter than an answer of a TPM.
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn command(tag: u16, code: u32, body: &[u8]) -> Secret<Vec<u8>> {
    let size = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(body);
    Secret::new(out)
}

/// A handle with the session that authorises it: the password is empty, as is what a policy needs beside itself.
fn authorised(out: &mut Vec<u8>, handle: u32, session: u32) {
    out.extend_from_slice(&handle.to_be_bytes());
    out.extend_from_slice(&9u32.to_be_bytes());
    out.extend_from_slice(&session.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 0]);
}

fn put_u16s(out: &mut Vec<u8>, values: &[u16]) {
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// TPM2_CreatePrimary of an ECC storage key under the owner's hierarchy.
pub(super) fn create_primary() -> Secret<Vec<u8>> {
    let mut public = Vec::new();
    put_u16s(&mut public, &[0x0023, SHA256]);
    public.extend_from_slice(&STORAGE.to_be_bytes());
    // No policy; AES-128 in CFB; no scheme; P-256; no KDF; an empty point.
    put_u16s(&mut public, &[0, 0x0006, 128, 0x0043, NULL_ALG, 0x0003, NULL_ALG, 0, 0]);
    let mut body = Vec::new();
    authorised(&mut body, OWNER, PASSWORD);
    // No secret of its own.
    put_sized(&mut body, &[0, 0, 0, 0]);
    put_sized(&mut body, &public);
    body.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    command(SESSIONS, 0x131, &body)
}

/// TPM2_Create of a sealed object; with a policy, that alone opens it.
pub(super) fn create(parent: u32, data: &[u8], policy: &[u8]) -> Secret<Vec<u8>> {
    let mut public = Vec::new();
    put_u16s(&mut public, &[0x0008, SHA256]);
    let attributes = if policy.is_empty() { SEALED | USER_WITH_AUTH } else { SEALED };
    public.extend_from_slice(&attributes.to_be_bytes());
    put_sized(&mut public, policy);
    put_u16s(&mut public, &[NULL_ALG, 0]);
    let mut sensitive = Secret::new(vec![0, 0]);
    put_sized(sensitive.expose_mut(), data);
    let mut body = Secret::new(Vec::with_capacity(BYTES_MAX));
    let out = body.expose_mut();
    authorised(out, parent, PASSWORD);
    put_sized(out, sensitive.expose());
    put_sized(out, &public);
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    command(SESSIONS, 0x153, body.expose())
}

/// TPM2_Load.
pub(super) fn load(parent: u32, private: &[u8], public: &[u8]) -> Secret<Vec<u8>> {
    let mut body = Vec::new();
    authorised(&mut body, parent, PASSWORD);
    put_sized(&mut body, private);
    put_sized(&mut body, public);
    command(SESSIONS, 0x157, &body)
}

/// TPM2_Unseal, by a policy session or by the empty password.
pub(super) fn unseal(object: u32, session: Option<u32>) -> Secret<Vec<u8>> {
    let mut body = Vec::new();
    authorised(&mut body, object, session.unwrap_or(PASSWORD));
    command(SESSIONS, 0x15e, &body)
}

/// TPM2_FlushContext.
pub(super) fn flush(handle: u32) -> Secret<Vec<u8>> {
    command(NO_SESSIONS, 0x165, &handle.to_be_bytes())
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Session {
    Policy,
    Trial,
}

/// TPM2_StartAuthSession, unbound and unsalted.
pub(super) fn start_session(kind: Session) -> Secret<Vec<u8>> {
    let mut nonce = [0; 32];
    SystemRng.fill(&mut nonce);
    let mut body = Vec::new();
    body.extend_from_slice(&NULL_HANDLE.to_be_bytes());
    body.extend_from_slice(&NULL_HANDLE.to_be_bytes());
    put_sized(&mut body, &nonce);
    put_sized(&mut body, &[]);
    body.push(match kind {
        Session::Policy => 1,
        Session::Trial => 3,
    });
    put_u16s(&mut body, &[NULL_ALG, SHA256]);
    command(NO_SESSIONS, 0x176, &body)
}

/// TPM2_PolicyPCR with the PCRs of the SHA-256 bank as they are.
pub(super) fn policy_pcr(session: u32, mask: u32) -> Secret<Vec<u8>> {
    let mut body = session.to_be_bytes().to_vec();
    put_sized(&mut body, &[]);
    body.extend_from_slice(&1u32.to_be_bytes());
    put_u16s(&mut body, &[SHA256]);
    let [low, middle, high, _] = mask.to_le_bytes();
    body.extend_from_slice(&[3, low, middle, high]);
    command(NO_SESSIONS, 0x17f, &body)
}

/// TPM2_PolicyGetDigest.
pub(super) fn policy_digest(session: u32) -> Secret<Vec<u8>> {
    command(NO_SESSIONS, 0x189, &session.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_told_by_meaning() {
        assert!(TpmError::Code(0x99d).to_string().contains("PCRs"));
        assert!(TpmError::Code(0x1df).to_string().contains("another TPM"));
        assert!(TpmError::Code(0x100).to_string().contains("not started"));
        assert!(TpmError::Code(0x921).to_string().contains("locked"));
        assert_eq!(TpmError::Code(0x143).to_string(), "it answers with the code 0x143");
    }

    proptest! {
        #[test]
        fn reading_an_answer_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(answer) = Answer::of(Secret::new(bytes)) {
                answer.handle().ok();
                answer.parameters().and_then(|mut fields| fields.sized().map(drop)).ok();
            }
        }
    }
}
