//! Where the master key comes from.
//!
//! A file that is made when it is absent, a passphrase with its salt beside the data, or a variable of the environment.
//! It refuses a file or salt that it cannot trust (others may read it, or it is not what this module wrote) rather than
//! make another: a new master key would lose everything sealed under the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base::{Rng, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use fleetward_base as base;

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// The first word of a key file and of a variable, so that a wrong file is not taken for a key.
const FORMAT: &str = "fleetward-master-key-v1";
const SALT_FORMAT: &str = "fleetward-passphrase-v1";
/// Argon2id as RFC 9106 §4 recommends where memory is dear: 64 MiB, three passes, four lanes.
const ARGON2: (u32, u32, u32) = (64 * 1024, 3, 4);
/// What a salt file may ask for at most: it must not be a way to exhaust the machine.
const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
const ARGON2_PASSES_MAX: u32 = 16;
const PASSPHRASE_BYTES_MIN: usize = 12;
const FILE_BYTES_MAX: u64 = 4096;

/// The key that opens an installation.
#[derive(Clone, Debug)]
pub struct MasterKey(pub(crate) Secret<[u8; KEY_BYTES]>);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("{path}: others than its owner may read it (mode {mode:o}); run chmod 600 on it")]
    Readable { path: PathBuf, mode: u32 },
    #[error("{path}: not a {format} file")]
    Malformed { path: PathBuf, format: &'static str },
    #[error("the variable does not hold a master key: 64 hexadecimal digits, or the text of a key file")]
    Variable,
    #[error("the passphrase is shorter than {PASSPHRASE_BYTES_MIN} bytes")]
    Short,
    #[error("the passphrase could not be worked on")]
    Derivation,
    #[error("{path}: {what}")]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl MasterKey {
    /// From the file at `path`, which is made with mode 0600 where it is absent.
    ///
    /// # Errors
    /// Where group or others may read it, where it holds something else, or where it cannot be read or written.
    pub fn from_file(path: &Path, rng: &dyn Rng) -> Result<Self, MasterKeyError> {
        match read_private(path)? {
            Some(text) => {
                Self::parse(&text).ok_or_else(|| MasterKeyError::Malformed { path: path.to_owned(), format: FORMAT })
            }
            None => {
                let key = Self::random(rng);
                create_private(path, &key.text())?;
                Ok(key)
            }
        }
    }

    /// From a passphrase by Argon2id. The salt and the cost lie in the file at `salt_path`, made where it is absent; it
    /// is no secret, and without it the passphrase opens nothing.
    ///
    /// # Errors
    /// As [`Self::from_file`], and where the passphrase is shorter than twelve bytes.
    pub fn from_passphrase(
        passphrase: &Secret<String>,
        salt_path: &Path,
        rng: &dyn Rng,
    ) -> Result<Self, MasterKeyError> {
        let passphrase = passphrase.expose().trim_end_matches(['\r', '\n']);
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(MasterKeyError::Short);
        }
        let stretch = match read_private(salt_path)? {
            Some(text) => Stretch::parse(&text)
                .ok_or_else(|| MasterKeyError::Malformed { path: salt_path.to_owned(), format: SALT_FORMAT })?,
            None => {
                let stretch = Stretch::random(rng);
                create_private(salt_path, &Secret::new(stretch.text()))?;
                stretch
            }
        };
        stretch.derive(passphrase).map(Self)
    }

    /// From the text of a variable of the environment, which the caller has read: 64 hexadecimal digits, or what a
    /// key file holds.
    ///
    /// # Errors
    /// Where it is not a master key.
    pub fn from_variable(text: &Secret<String>) -> Result<Self, MasterKeyError> {
        Self::parse(text).ok_or(MasterKeyError::Variable)
    }

    /// A new one.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut bytes = [0; KEY_BYTES];
        rng.fill(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// The text that a file or a variable holds.
    pub fn text(&self) -> Secret<String> {
        Secret::new(format!("{FORMAT} {}\n", STANDARD.encode(self.0.expose())))
    }

    fn parse(text: &Secret<String>) -> Option<Self> {
        let text = text.expose().trim();
        let encoded = text.strip_prefix(FORMAT).map_or(text, str::trim_start);
        let bytes = Secret::new(decode_hex(encoded).or_else(|| STANDARD.decode(encoded).ok())?);
        Some(Self(Secret::new(bytes.expose().as_slice().try_into().ok()?)))
    }
}

/// 64 hexadecimal digits, as `openssl rand -hex 32` gives them.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    if text.len() == KEY_BYTES * 2 { text.as_bytes().chunks(2).map(pair).collect() } else { None }
}

/// How a passphrase becomes a key.
struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
}

impl Stretch {
    fn random(rng: &dyn Rng) -> Self {
        let mut salt = [0; SALT_BYTES];
        rng.fill(&mut salt);
        let (memory_kib, passes, lanes) = ARGON2;
        Self { memory_kib, passes, lanes, salt }
    }

    fn text(&self) -> String {
        let salt = STANDARD.encode(self.salt);
        format!("{SALT_FORMAT} argon2id {} {} {} {salt}\n", self.memory_kib, self.passes, self.lanes)
    }

    fn parse(text: &Secret<String>) -> Option<Self> {
        let mut words = text.expose().split_whitespace();
        if words.next() != Some(SALT_FORMAT) || words.next() != Some("argon2id") {
            return None;
        }
        let mut number = || words.next()?.parse::<u32>().ok();
        let (memory_kib, passes, lanes) = (number()?, number()?, number()?);
        let salt = STANDARD.decode(words.next()?).ok()?.try_into().ok()?;
        let bounded = memory_kib <= ARGON2_MEMORY_KIB_MAX && passes <= ARGON2_PASSES_MAX;
        (bounded && words.next().is_none()).then_some(Self { memory_kib, passes, lanes, salt })
    }

    fn derive(&self, passphrase: &str) -> Result<Secret<[u8; KEY_BYTES]>, MasterKeyError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES))
            .map_err(|_| MasterKeyError::Derivation)?;
        let mut out = [0; KEY_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, &mut out)
            .map_err(|_| MasterKeyError::Derivation)?;
        Ok(Secret::new(out))
    }
}

/// The text of a file that only its owner may read; `None` where there is no such file. The mode is that of the opened
/// file, so that it cannot be changed between the check and the reading.
pub(crate) fn read_private(path: &Path) -> Result<Option<Secret<String>>, MasterKeyError> {
    read(path, true)
}

/// As [`read_private`], for a file whose rights somebody else answers for.
pub(crate) fn read_text(path: &Path) -> Result<Option<Secret<String>>, MasterKeyError> {
    read(path, false)
}

fn read(path: &Path, private: bool) -> Result<Option<Secret<String>>, MasterKeyError> {
    let io = |what: &'static str| {
        let path = path.to_owned();
        move |source| MasterKeyError::Io { path, what, source }
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("cannot be opened")(error)),
    };
    let mode = file.metadata().map_err(io("cannot be examined"))?.mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(MasterKeyError::Readable { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io("cannot be read as text"))?;
    Ok(Some(Secret::new(text)))
}

/// Writes a new file that only its owner may read, whole or not at all: a power cut must not leave half a key that is
/// refused for ever, nor a start beside this one a second key.
fn create_private(path: &Path, text: &Secret<String>) -> Result<(), MasterKeyError> {
    let io = |what: &'static str| {
        let path = path.to_owned();
        move |source| MasterKeyError::Io { path, what, source }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()
    };
    let placed = write().and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    placed.map_err(io("cannot be written"))?;
    removed.map_err(io("cannot be cleared of its draft"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("cannot be made durable"))
}

#[cfg(test)]
mod tests;
