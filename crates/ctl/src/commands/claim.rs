//! `wardctl claim`: certificates that devices may share, good for asking for an identity. The key is made here and is
//! never sent anywhere.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("TEMPLATE", "/template"),
    ("STATE", "/state"),
    ("USED", "/used"),
    ("CAP", "/count_cap"),
    ("EXPIRES", "/expires_at"),
    ("BY", "/created_by"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Claim {
    /// Make a claim: NAME.claim.key (yours alone) and NAME.claim.pem
    Create {
        /// a-z, A-Z, 0-9, _ and -
        name: String,
        /// The only template that it is good for
        #[arg(long)]
        template: String,
        /// How many devices may come with it
        #[arg(long)]
        count_cap: Option<u64>,
        /// How long it holds: seconds, or with s, m, h or d; a year otherwise
        #[arg(long, value_parser = super::seconds)]
        expires: Option<u64>,
        /// A request in PEM whose key is elsewhere; then no key is made here
        #[arg(long)]
        csr: Option<PathBuf>,
        /// Where the files go
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// End a claim; devices that came with it stay
    Revoke { name: String },
}

impl Claim {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { name, template, count_cap, expires, csr, dir } => {
                let path = |end: &str| dir.join(format!("{name}.claim.{end}"));
                let csr = match csr {
                    Some(file) => super::text_file(&file)?,
                    None => new_request(&name, &path("key"))?,
                };
                let body = super::object([
                    ("name", Some(json!(name))),
                    ("template", Some(json!(template))),
                    ("csr", Some(json!(csr))),
                    ("count_cap", count_cap.map(|cap| json!(cap))),
                    ("ttl_s", expires.map(|secs| json!(secs))),
                ]);
                let made = session.client.post(&session.path(&["claims"]).await?, &body).await?.value;
                // As it is: a cell of a table has no ends of lines.
                let pem = made.get("certificate_pem").and_then(serde_json::Value::as_str).unwrap_or_default();
                super::key::write_new(&path("pem"), pem, 0o644)?;
                if session.out == Format::Json {
                    return output::json(&made);
                }
                let until = output::cell(made.get("expires_at"));
                session.out.done(&format!("{} holds until {until}", path("pem").display()))
            }
            Self::List { limit } => {
                let path = session.path(&["claims"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Revoke { name } => {
                session.client.delete(&session.path(&["claims", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} revoked"))
            }
        }
    }
}

/// Makes a key, keeps it in `file`, and gives a request for it in PEM.
fn new_request(name: &str, file: &Path) -> Result<String, Failure> {
    let failed = |error: rcgen::Error| Failure::other(format!("no request could be made: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
    super::key::write_new(file, &key.serialize_pem(), 0o600)?;
    Ok(request)
}
