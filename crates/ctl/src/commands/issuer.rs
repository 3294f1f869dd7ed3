//! `wardctl issuer`: who signs the certificates of a tenant's devices.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// A file with certificates or a key is smaller.
const FILE_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Issuer {
    /// Show who signs, and how it went of late
    Show,
    /// Ask the issuer whether it would sign
    Check,
    /// Have somebody else sign from now on
    #[command(subcommand)]
    Set(Box<Set>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Set {
    /// The key of the tenant's own issuing authority
    BuiltIn,
    /// step-ca, with the key of a JWK provisioner
    StepCa {
        #[command(flatten)]
        place: Place,
        /// The provisioner's name
        #[arg(long)]
        provisioner: String,
        /// SHA-256 of its root certificate
        #[arg(long)]
        root_sha256: Option<String>,
        /// File with the provisioner's private key as JSON (`step crypto jwe decrypt`)
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// The PKI engine of HashiCorp Vault or OpenBao
    Vault {
        #[command(flatten)]
        place: Place,
        #[arg(long, default_value = "pki")]
        mount: String,
        #[arg(long)]
        role: String,
        /// Send requests to sign-verbatim; devices must ask for their own URI
        #[arg(long)]
        verbatim: bool,
        #[arg(long)]
        namespace: Option<String>,
        /// File with a token
        #[arg(long = "vault-token", id = "vault_token", value_name = "FILE", conflicts_with = "role_id")]
        token: Option<PathBuf>,
        /// Role id of an AppRole
        #[arg(long, requires = "secret_id")]
        role_id: Option<String>,
        /// File with its secret id
        #[arg(long, value_name = "FILE", requires = "role_id")]
        secret_id: Option<PathBuf>,
        /// Where AppRole is mounted
        #[arg(long, default_value = "approle")]
        login: String,
    },
    /// cfssl
    Cfssl {
        #[command(flatten)]
        place: Place,
        #[arg(long, default_value = "")]
        profile: String,
        #[arg(long, default_value = "")]
        label: String,
        /// File with the hexadecimal authentication key of the profile
        #[arg(long, value_name = "FILE")]
        auth_key: Option<PathBuf>,
    },
}

/// Where an issuer is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// https://HOST, or https://HOST:PORT
    #[arg(id = "issuer_url", value_name = "URL")]
    address: String,
    /// File with the certificates (PEM) of the authorities that it signs with
    #[arg(long, value_name = "FILE")]
    authorities: PathBuf,
    /// File with the certificates (PEM) that its TLS certificate is trusted by
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl Issuer {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.path(&["issuer"]).await?;
        let client = &session.client;
        match self {
            Self::Show => session.out.one(&client.get(&path).await?.value),
            Self::Check => session.out.one(&client.post(&format!("{path}/check"), &json!({})).await?.value),
            Self::Set(set) => {
                let body = set.body()?;
                let etag = client.get(&path).await?.etag.unwrap_or_default();
                session.out.one(&client.put(&path, &etag, &body).await?.value)
            }
        }
    }
}

impl Set {
    fn body(self) -> Result<Value, Failure> {
        let (issuer, credential) = match self {
            Self::BuiltIn => (json!({ "kind": "built-in" }), None),
            Self::StepCa { place, provisioner, root_sha256, key } => {
                let mut issuer = place.fields("step-ca")?;
                super::put(&mut issuer, "provisioner", json!(provisioner));
                super::put(&mut issuer, "root_sha256", json!(root_sha256));
                let jwk = key.map(|file| secret(&file)).transpose()?;
                (issuer, jwk.map(|jwk| json!({ "jwk": jwk })))
            }
            Self::Vault { place, mount, role, verbatim, namespace, token, role_id, secret_id, login } => {
                let mut issuer = place.fields("vault")?;
                super::put(&mut issuer, "mount", json!(mount));
                super::put(&mut issuer, "role", json!(role));
                super::put(&mut issuer, "verbatim", json!(verbatim));
                super::put(&mut issuer, "namespace", json!(namespace));
                super::put(&mut issuer, "login", json!(login));
                let token = token.map(|file| secret(&file)).transpose()?.map(|token| json!({ "token": token }));
                let secret_id = secret_id.map(|file| secret(&file)).transpose()?;
                let role = role_id.zip(secret_id).map(|(id, secret)| json!({ "role_id": id, "secret_id": secret }));
                (issuer, token.or(role))
            }
            Self::Cfssl { place, profile, label, auth_key } => {
                let mut issuer = place.fields("cfssl")?;
                super::put(&mut issuer, "profile", json!(profile));
                super::put(&mut issuer, "label", json!(label));
                let key = auth_key.map(|file| secret(&file)).transpose()?;
                (issuer, key.map(|key| json!({ "auth_key": key })))
            }
        };
        let mut body = json!({ "issuer": issuer });
        if let Some(credential) = credential {
            super::put(&mut body, "credential", credential);
        }
        Ok(body)
    }
}

impl Place {
    fn fields(self, kind: &str) -> Result<Value, Failure> {
        let tls_ca = self.tls_ca.map(|file| text(&file)).transpose()?;
        let authorities = text(&self.authorities)?;
        Ok(json!({ "kind": kind, "url": self.address, "authorities": authorities, "tls_ca": tls_ca }))
    }
}

fn text(file: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    if std::fs::metadata(file).map_err(cannot)?.len() > FILE_BYTES {
        return Err(Failure::usage(format!("{} is too large", file.display())));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

/// From a file, since others on a machine see command lines; the line end is not part of it.
fn secret(file: &Path) -> Result<String, Failure> {
    text(file).map(|text| text.trim().to_owned())
}
