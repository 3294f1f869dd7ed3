//! `wardctl key`: key pairs for releases. The private half is made and used here and is never sent anywhere.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fleetward_base::SystemRng;
use fleetward_supply::sign::KEY_FILE_BYTES;
use fleetward_supply::{SigningKey, VerifyingKey};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 5] =
    [("ID", "/id"), ("NAME", "/name"), ("KEY ID", "/key_id"), ("CREATED", "/created_at"), ("REVOKED", "/revoked_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make an Ed25519 key pair: FILE (private, only you can read it) and FILE.pub
    Create { file: PathBuf },
    /// Show the id and public half of a key file, private or public
    Show { file: PathBuf },
    /// Let the tenant accept releases signed with this key
    Register {
        /// The private file or its .pub; only the public half is sent
        file: PathBuf,
        /// What people call it
        #[arg(long)]
        name: String,
    },
    /// Keys that the tenant accepts
    #[command(visible_alias = "ls")]
    List,
    /// Accept no new releases signed with this key
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

impl Key {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { file } => session.out.one(&create(&file)?),
            Self::Show { file } => session.out.one(&described(&public_key(&file)?)),
            Self::Register { file, name } => {
                let body = json!({ "name": name, "public_key": public_key(&file)?.to_pem() });
                session.out.one(&session.client.post(&session.path(&["signers"]).await?, &body).await?.value)
            }
            Self::List => {
                let path = session.path(&["signers"]).await?;
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Revoke { id } => {
                session.client.delete(&session.path(&["signers", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
        }
    }
}

fn described(key: &VerifyingKey) -> Value {
    json!({ "key_id": key.key_id().to_string(), "public_key": key.to_pem() })
}

fn public_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Makes both files and never overwrites one: a lost signing key cannot be had back.
fn create(file: &Path) -> Result<Value, Failure> {
    let key = SigningKey::generate(&SystemRng);
    let public = public_file(file);
    if public.exists() {
        return Err(Failure::usage(format!("{} is there already", public.display())));
    }
    write_new(file, key.to_pem().expose(), 0o600)?;
    write_new(&public, &key.verifying_key().to_pem(), 0o644)?;
    let mut shown = described(&key.verifying_key());
    super::put(&mut shown, "private_file", json!(file.display().to_string()));
    super::put(&mut shown, "public_file", json!(public.display().to_string()));
    Ok(shown)
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(path).and_then(|mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::other(format!("cannot write {}: {error}", path.display())))
}

/// The private key in a file that only its owner can read.
pub(super) fn signing_key(file: &Path) -> Result<SigningKey, Failure> {
    let bytes = read(file)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file)?);
        if mode & 0o077 != 0 {
            let path = file.display();
            return Err(Failure::other(format!("others can read {path}\nnext: chmod 600 {path}")));
        }
    }
    SigningKey::from_pem(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn public_key(file: &Path) -> Result<VerifyingKey, Failure> {
    let bytes = read(file)?;
    let from_private = || SigningKey::from_pem(&bytes).map(|key| key.verifying_key());
    VerifyingKey::from_pem(&bytes)
        .or_else(|_| from_private())
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > KEY_FILE_BYTES as u64 {
        return Err(Failure::usage(format!("{} is too large to be a key", file.display())));
    }
    std::fs::read(file).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_file_is_for_its_owner_and_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("release.key");
        let shown = create(&file).expect("made");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).expect("there"));
        assert_eq!(mode & 0o777, 0o600);
        assert!(create(&file).is_err());
        let private = signing_key(&file).expect("reads back").verifying_key();
        assert_eq!(private, public_key(&public_file(&file)).expect("reads back"));
        assert_eq!(shown["key_id"], private.key_id().to_string());
        assert!(!shown.to_string().contains("PRIVATE KEY"));
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("release.key");
        create(&file).expect("made");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
        assert!(signing_key(&file).is_err());
    }
}
