//! A root that is kept offline: a folder on a machine of yours, with a certificate and a key that no server ever has.
//!
//! `root.pem` is the certificate, `root.key` the key, sealed under a passphrase (`root.salt` belongs to it) or the name of a key
//! in a PKCS#11 token. Nothing is ever overwritten, and others than their owner read neither key nor salt.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use fleetward_base::{Clock, SystemClock, SystemRng};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial, Signer, Validity, ca, offline, pem};
use fleetward_vault::{MasterKey, SecretSource, Tokens};
use serde_json::{Value, json};

use crate::commands::key::write_new;
use crate::failure::Failure;
use crate::session::Session;

/// The first word of a key file.
const FORMAT: &str = "fleetward-offline-root-v1";
/// What the seal of the key is bound to.
const SEALED_AS: &str = "root";
const KEY: &str = "root.key";
const SALT: &str = "root.salt";
const CERTIFICATE: &str = "root.pem";
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Subcommand)]
pub(crate) enum Root {
    /// Make a root on this machine, without a server: its key stays here
    Create {
        /// Say so: the root of a server that keeps its own is made by the server
        #[arg(long, required = true)]
        offline: bool,
        /// A folder for it; made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// What it is called
        #[arg(long, default_value = "Fleetward Offline Root")]
        name: String,
        /// How long it holds
        #[arg(long, default_value_t = 9125, value_parser = clap::value_parser!(u32).range(1..=18_250))]
        days: u32,
        /// Have the key made in a PKCS#11 token, under this name: pkcs11:token=LABEL;object=LABEL
        #[arg(long, value_name = "URI", requires = "pkcs11_module", conflicts_with = "passphrase")]
        key: Option<String>,
        #[command(flatten)]
        opens: Opens,
    },
    /// Show a root's certificate
    Show {
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
}

/// What opens the key.
#[derive(Debug, Args)]
pub(crate) struct Opens {
    /// Where the passphrase is, of at least twelve bytes: env:NAME, file:PATH or credential:NAME
    #[arg(long, value_name = "SOURCE")]
    passphrase: Option<SecretSource>,
    /// The library of the token that has the key
    #[arg(long, env = "FLEETWARD_PKCS11_MODULE", value_name = "PATH", requires = "pkcs11_pin")]
    pkcs11_module: Option<PathBuf>,
    /// Where its PIN is
    #[arg(long, env = "FLEETWARD_PKCS11_PIN", value_name = "SOURCE")]
    pkcs11_pin: Option<SecretSource>,
}

impl Opens {
    fn master(&self, folder: &Path) -> Result<MasterKey, Failure> {
        let missing = || Failure::usage("say where the passphrase is: --passphrase env:NAME or file:PATH");
        let passphrase = secret(self.passphrase.as_ref().ok_or_else(missing)?)?;
        MasterKey::from_passphrase(&passphrase, &folder.join(SALT), &SystemRng).map_err(text)
    }

    #[cfg(feature = "pkcs11")]
    fn token(&self) -> Result<Arc<dyn Tokens>, Failure> {
        let missing =
            || Failure::usage("the key is in a token: name its library with --pkcs11-module and --pkcs11-pin");
        let (Some(library), Some(pin)) = (&self.pkcs11_module, &self.pkcs11_pin) else { return Err(missing()) };
        let config = fleetward_vault::ModuleConfig { library: library.clone(), pin: secret(pin)? };
        Ok(Arc::new(fleetward_vault::Module::load(config).map_err(text)?))
    }

    #[cfg(not(feature = "pkcs11"))]
    fn token(&self) -> Result<Arc<dyn Tokens>, Failure> {
        Err(Failure::usage("this program was built without pkcs11"))
    }
}

fn secret(source: &SecretSource) -> Result<fleetward_base::Secret<String>, Failure> {
    source.read(|name| std::env::var(name).ok()).map_err(text)
}

fn text(error: impl std::fmt::Display) -> Failure {
    Failure::other(error.to_string())
}

impl Root {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { offline: _, out, name, days, key, opens } => {
                session.out.one(&create(&out, &name, days, key.as_deref(), &opens).await?)
            }
            Self::Show { root } => session.out.one(&shown(&certificate(&root)?)),
        }
    }
}

fn shown(root: &Certificate) -> Value {
    json!({
        "name": common_name(&root.subject),
        "fingerprint": root.fingerprint(),
        "not_before": root.not_before.to_string(),
        "not_after": root.not_after.to_string(),
    })
}

pub(super) fn common_name(subject: &[u8]) -> String {
    let names = fleetward_pki::name::read(subject).unwrap_or_default();
    names.common_names.first().cloned().unwrap_or_else(|| "(without a name)".to_owned())
}

/// Makes the folder, the key and the certificate; what is there already is left alone.
async fn create(out: &Path, name: &str, days: u32, uri: Option<&str>, opens: &Opens) -> Result<Value, Failure> {
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(Failure::usage("--name: 1 to 64 characters"));
    }
    make_folder(out)?;
    for file in [KEY, SALT, CERTIFICATE] {
        if out.join(file).exists() {
            return Err(Failure::usage(format!("{} is there already", out.join(file).display())));
        }
    }
    let (key, kept): (Arc<dyn Signer>, String) = match uri {
        Some(uri) => (opens.token()?.generate(uri).await.map_err(text)?, format!("{FORMAT} token {uri}\n")),
        None => {
            let (key, sealed) = opens.master(out)?.new_kept_key(&SystemRng, SEALED_AS);
            (Arc::new(key), format!("{FORMAT} sealed {}\n", STANDARD.encode(sealed)))
        }
    };
    let now = SystemClock::new().now();
    let validity = Validity { not_before: now.minus(DAY), not_after: now.plus(DAY * days) };
    let made = ca::root(name, Serial::generate(&SystemRng), validity, key.as_ref()).map_err(text)?;
    write_new(&out.join(KEY), &kept, 0o600)?;
    write_new(&out.join(CERTIFICATE), &pem::write(pem::CERTIFICATE, &made.der), 0o644)?;
    sync_folder(out)?;
    let mut value = shown(&Certificate::parse(&made.der).map_err(text)?);
    crate::commands::put(&mut value, "certificate_file", json!(out.join(CERTIFICATE).display().to_string()));
    crate::commands::put(&mut value, "key_file", json!(out.join(KEY).display().to_string()));
    Ok(value)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| Failure::other(format!("cannot make {}: {error}", path.display())))
}

/// A file is there for good when its folder says so.
pub(super) fn sync_folder(path: &Path) -> Result<(), Failure> {
    let synced = std::fs::File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Failure::other(format!("cannot write {}: {error}", path.display())))
}

/// A small file as text.
pub(super) fn small_file(path: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > fleetward_base::limits::CA_IMPORT_BYTES as u64 {
        return Err(Failure::usage(format!("{} is too large", path.display())));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

fn certificate(folder: &Path) -> Result<Certificate, Failure> {
    let path = folder.join(CERTIFICATE);
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let blocks = pem::read(pem::CERTIFICATE, &small_file(&path)?).map_err(|error| wrong(error.to_string()))?;
    let [der] = blocks.as_slice() else { return Err(wrong("one certificate was expected".to_owned())) };
    offline::read_root(der).map_err(|error| wrong(error.to_string()))
}

/// A root that was opened.
pub(super) struct Opened {
    pub(super) certificate: Certificate,
    key: Arc<dyn Signer>,
}

impl Opened {
    pub(super) async fn open(folder: &Path, opens: &Opens) -> Result<Self, Failure> {
        let certificate = certificate(folder)?;
        let path = folder.join(KEY);
        let wrong = |why: &str| Failure::usage(format!("{}: {why}", path.display()));
        check_private(&path)?;
        let file = small_file(&path)?;
        let words: Vec<&str> = file.split_whitespace().collect();
        let key: Arc<dyn Signer> = match words.as_slice() {
            [FORMAT, "sealed", sealed] => {
                let sealed = STANDARD.decode(sealed).map_err(|_| wrong("not the key of an offline root"))?;
                if !folder.join(SALT).exists() {
                    return Err(wrong("root.salt, which belongs to the passphrase, is not beside it"));
                }
                Arc::new(opens.master(folder)?.kept_key(SEALED_AS, &sealed).map_err(|error| wrong(&error.to_string()))?)
            }
            [FORMAT, "token", uri] => opens.token()?.signer(uri).await.map_err(text)?,
            _ => return Err(wrong("not the key of an offline root")),
        };
        let opened = Self { certificate, key };
        opened.issuer().map_err(|_| wrong("it is not the key of the certificate beside it"))?;
        Ok(opened)
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'_>, Failure> {
        Issuer::new(&self.certificate, self.key.as_ref()).map_err(text)
    }
}

fn check_private(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).map_err(cannot)?);
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Failure::other(format!("others can read {path}\nnext: chmod 600 {path}")));
        }
    }
    Ok(())
}
