//! Where a secret of the server's settings is read from: a PIN, a passphrase, a token, a master key.
//!
//! Never from an argument of the command line, which every user of the machine sees.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base::Secret;

use fleetward_base as base;

use crate::master::{self, MasterKeyError};

/// `env:NAME`, `file:PATH` or `credential:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment.
    Variable(String),
    /// A file that only its owner may read.
    File(PathBuf),
    /// A file of systemd's `$CREDENTIALS_DIRECTORY` (`LoadCredential=`, `LoadCredentialEncrypted=`).
    Credential(String),
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("a secret is read from env:NAME, file:PATH or credential:NAME")]
    Malformed,
    #[error("the environment variable {0} is not there")]
    NoVariable(String),
    #[error("there are no credentials: $CREDENTIALS_DIRECTORY is not set, as systemd does with LoadCredential=")]
    NoCredentials,
    #[error("{0}: there is no such file")]
    NoFile(PathBuf),
    #[error(transparent)]
    File(#[from] MasterKeyError),
}

impl FromStr for SecretSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (kind, rest) = text.split_once(':').ok_or(SourceError::Malformed)?;
        let is_name = !rest.is_empty() && !rest.contains(['/', '\0']) && rest != "." && rest != "..";
        match kind {
            "env" if is_name && !rest.contains('=') => Ok(Self::Variable(rest.to_owned())),
            "credential" if is_name => Ok(Self::Credential(rest.to_owned())),
            "file" if !rest.is_empty() => Ok(Self::File(rest.into())),
            _ => Err(SourceError::Malformed),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl SecretSource {
    /// The secret, without the line end of a file. `variable` reads the environment.
    ///
    /// # Errors
    /// Where it is not there, or lies in a file that others may read.
    pub fn read(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Secret<String>, SourceError> {
        let text = match self {
            Self::Variable(name) => {
                variable(name).map(Secret::new).ok_or_else(|| SourceError::NoVariable(name.clone()))?
            }
            Self::File(path) => present(master::read_private(path)?, path)?,
            Self::Credential(name) => {
                let folder = variable("CREDENTIALS_DIRECTORY").ok_or(SourceError::NoCredentials)?;
                let path = Path::new(&folder).join(name);
                // systemd gives the service's user its right by an access list, which shows as a right of the group.
                present(master::read_text(&path)?, &path)?
            }
        };
        Ok(Secret::new(text.expose().trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn present(text: Option<Secret<String>>, path: &Path) -> Result<Secret<String>, SourceError> {
    text.ok_or_else(|| SourceError::NoFile(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn sources_are_written_as_they_are_read() {
        for text in ["env:PIN", "file:/etc/fleetward/pin", "credential:pin"] {
            assert_eq!(text.parse::<SecretSource>().expect(text).to_string(), text);
        }
        for bad in ["", "1234", "env:", "env:A=B", "credential:../shadow", "credential:..", "file:", "vault:x"] {
            assert!(bad.parse::<SecretSource>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_comes_from_where_it_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234\n").expect("written");
        let credentials = folder.path().to_str().expect("text").to_owned();
        let environment = |name: &str| match name {
            "PIN" => Some("4321".to_owned()),
            "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
            _ => None,
        };
        let read = |text: &str| text.parse::<SecretSource>().expect(text).read(environment);
        assert_eq!(read("env:PIN").expect("there").expose(), "4321");
        assert!(matches!(read("env:OTHER"), Err(SourceError::NoVariable(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert_eq!(read("credential:pin").expect("there").expose(), "1234");
        assert!(matches!(read("credential:other"), Err(SourceError::NoFile(_))));
        let file = format!("file:{}", path.display());
        assert!(matches!(read(&file), Err(SourceError::File(MasterKeyError::Readable { .. }))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(read(&file).expect("there").expose(), "1234");
        let nowhere = "credential:pin".parse::<SecretSource>().expect("a source").read(|_| None);
        assert!(matches!(nowhere, Err(SourceError::NoCredentials)));
    }
}
