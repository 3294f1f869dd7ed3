//! The root key sealed in a TPM 2.0, on Linux by its resource manager (`/dev/tpmrm0`), or by a TCP socket as swtpm has it.
//!
//! The storage key is made anew each time from the owner's seed (TPM2_CreatePrimary with one template always gives the same
//! key), so nothing is kept in the TPM. Where PCRs are named, the TPM opens the seal only while they are as they were when
//! it was made. Body: `1 | mask of PCRs (4) | length (2), private part | length (2), public part`.

mod wire;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base::Secret;

use fleetward_base as base;

use self::wire::{Fields, TpmError};
use crate::root::{RootKey, RootSeal, RootSealError, SealKind};

const DEADLINE: Duration = Duration::from_secs(10);
const BODY_VERSION: u8 = 1;
/// Of a PC client's TPM.
const PCRS: u32 = 24;

/// How the TPM is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmAddress {
    Device(PathBuf),
    /// Commands as they are on a TCP connection (swtpm's server channel).
    Tcp(SocketAddr),
}

/// Which TPM, and the state of the machine that the seal is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmSealConfig {
    pub address: TpmAddress,
    /// PCRs of the SHA-256 bank; none binds to the TPM alone.
    pub pcrs: Vec<u8>,
}

/// Seals by a TPM.
#[derive(Clone, Debug)]
pub struct TpmSeal {
    address: TpmAddress,
    mask: u32,
}

impl TpmSeal {
    /// # Errors
    /// Where a PCR is named that there is not.
    pub fn new(config: TpmSealConfig) -> Result<Self, RootSealError> {
        let known = config.pcrs.iter().all(|pcr| u32::from(*pcr) < PCRS);
        let mask = config.pcrs.iter().filter(|_| known).fold(0, |mask, pcr| mask | 1 << pcr);
        let seal = Self { address: config.address, mask };
        if known {
            return Ok(seal);
        }
        Err(RootSealError::Refused { seal: seal.describe(), reason: format!("PCRs are 0 to {}", PCRS - 1) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tpm) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, RootSealError> {
        let address = self.address.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut tpm = Tpm::open(&address)?;
            let done = work(&mut tpm);
            tpm.flush();
            done
        });
        let done = done.await.unwrap_or_else(|error| Err(TpmError::Io(error.to_string())));
        done.map_err(|error| {
            let (seal, reason) = (self.describe(), error.to_string());
            match error {
                TpmError::Io(_) | TpmError::Malformed => RootSealError::Unreachable { seal, reason },
                TpmError::Code(_) => RootSealError::Refused { seal, reason },
            }
        })
    }
}

#[async_trait]
impl RootSeal for TpmSeal {
    fn kind(&self) -> SealKind {
        SealKind::Tpm
    }

    fn describe(&self) -> String {
        let place = match &self.address {
            TpmAddress::Device(path) => format!("tpm:{}", path.display()),
            TpmAddress::Tcp(address) => format!("tpm:tcp:{address}"),
        };
        let pcrs: Vec<String> = (0..PCRS).filter(|pcr| self.mask >> pcr & 1 == 1).map(|pcr| pcr.to_string()).collect();
        if pcrs.is_empty() { place } else { format!("{place}?pcrs={}", pcrs.join(",")) }
    }

    async fn wrap(&self, key: &RootKey) -> Result<Vec<u8>, RootSealError> {
        let (key, mask) = (key.clone(), self.mask);
        let (private, public) = self.run(move |tpm| tpm.seal(key.expose(), mask)).await?;
        let mut body = vec![BODY_VERSION];
        body.extend_from_slice(&mask.to_be_bytes());
        for part in [private, public] {
            wire::put_sized(&mut body, &part);
        }
        Ok(body)
    }

    async fn unwrap(&self, body: &[u8]) -> Result<RootKey, RootSealError> {
        let (mask, private, public) = parse(body).ok_or(RootSealError::Malformed)?;
        // What the seal was bound to counts, not what a later start is told.
        let plain = self.run(move |tpm| tpm.unseal(&private, &public, mask)).await?;
        RootKey::from_bytes(&plain)
    }
}

fn parse(body: &[u8]) -> Option<(u32, Vec<u8>, Vec<u8>)> {
    let mut fields = Fields::new(body);
    let version = fields.u8().ok()?;
    let mask = fields.u32().ok()?;
    let (private, public) = (fields.sized().ok()?.to_vec(), fields.sized().ok()?.to_vec());
    (version == BODY_VERSION && mask >> PCRS == 0 && fields.is_empty()).then_some((mask, private, public))
}

enum Link {
    Device(File),
    Tcp(TcpStream),
}

/// An open TPM and what it holds for us, which is given back at the end: it has room for three objects.
struct Tpm {
    link: Link,
    handles: Vec<u32>,
}

impl Tpm {
    fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        let io = |error: std::io::Error| TpmError::Io(error.to_string());
        let link = match address {
            TpmAddress::Device(path) => Link::Device(OpenOptions::new().read(true).write(true).open(path).map_err(io)?),
            TpmAddress::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, DEADLINE).map_err(io)?;
                stream.set_read_timeout(Some(DEADLINE)).map_err(io)?;
                stream.set_write_timeout(Some(DEADLINE)).map_err(io)?;
                Link::Tcp(stream)
            }
        };
        Ok(Self { link, handles: Vec::new() })
    }

    fn seal(&mut self, data: &[u8], mask: u32) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let policy = if mask == 0 { Vec::new() } else { self.policy_digest(mask)? };
        let parent = self.storage_key()?;
        let answer = self.command(&wire::create(parent, data, &policy))?;
        let mut fields = answer.parameters()?;
        Ok((fields.sized()?.to_vec(), fields.sized()?.to_vec()))
    }

    fn unseal(&mut self, private: &[u8], public: &[u8], mask: u32) -> Result<Secret<Vec<u8>>, TpmError> {
        let parent = self.storage_key()?;
        let object = self.command(&wire::load(parent, private, public))?.handle()?;
        self.handles.push(object);
        let session = if mask == 0 { None } else { Some(self.policy(wire::Session::Policy, mask)?) };
        let answer = self.command(&wire::unseal(object, session))?;
        Ok(Secret::new(answer.parameters()?.sized()?.to_vec()))
    }

    fn storage_key(&mut self) -> Result<u32, TpmError> {
        let handle = self.command(&wire::create_primary())?.handle()?;
        self.handles.push(handle);
        Ok(handle)
    }

    /// A session in which the PCRs are as they are now.
    fn policy(&mut self, kind: wire::Session, mask: u32) -> Result<u32, TpmError> {
        let session = self.command(&wire::start_session(kind))?.handle()?;
        self.handles.push(session);
        self.command(&wire::policy_pcr(session, mask))?;
        Ok(session)
    }

    fn policy_digest(&mut self, mask: u32) -> Result<Vec<u8>, TpmError> {
        let session = self.policy(wire::Session::Trial, mask)?;
        let answer = self.command(&wire::policy_digest(session))?;
        let digest = answer.body()?.sized()?.to_vec();
        Ok(digest)
    }

    /// Gives back what the TPM holds. What it let go of by itself (a session that was used) it does not know any more.
    fn flush(&mut self) {
        for handle in std::mem::take(&mut self.handles).into_iter().rev() {
            self.command(&wire::flush(handle)).ok();
        }
    }

    fn command(&mut self, command: &Secret<Vec<u8>>) -> Result<wire::Answer, TpmError> {
        let io = |error: std::io::Error| TpmError::Io(error.to_string());
        let mut answer = Secret::new(vec![0; wire::BYTES_MAX]);
        let room = answer.expose_mut();
        let length = match &mut self.link {
            // The driver takes a command in one write and gives its answer in one read.
            Link::Device(file) => {
                file.write_all(command.expose()).map_err(io)?;
                file.read(room).map_err(io)?
            }
            Link::Tcp(stream) => {
                stream.write_all(command.expose()).map_err(io)?;
                let (head, rest) = room.split_at_mut(wire::HEADER_BYTES);
                stream.read_exact(head).map_err(io)?;
                let body = wire::length(head)?.checked_sub(wire::HEADER_BYTES).ok_or(TpmError::Malformed)?;
                stream.read_exact(rest.get_mut(..body).ok_or(TpmError::Malformed)?).map_err(io)?;
                wire::HEADER_BYTES + body
            }
        };
        room.truncate(length);
        wire::Answer::of(answer)
    }
}
