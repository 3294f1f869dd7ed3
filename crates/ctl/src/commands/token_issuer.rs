//! `wardctl token-issuer`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::text_file;
use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    ("NAME", "/name"),
    ("ISSUER", "/rules/issuer"),
    ("AUDIENCE", "/rules/audience"),
    ("KEYS AT", "/jwks_url"),
    ("DISABLED", "/disabled_at"),
    ("CREATED", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum TokenIssuer {
    /// Take its word for a device from now on, in place of what was said under the same name
    Register(Box<Register>),
    #[command(visible_alias = "ls")]
    List,
    Show {
        name: String,
    },
    /// Take its word no more; its sessions end
    Disable {
        name: String,
    },
    /// Take its word again
    Enable {
        name: String,
    },
    /// Forget it; its sessions end
    Remove {
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    name: String,
    /// The `iss` of its tokens, word for word
    #[arg(long)]
    issuer: String,
    /// One of these must be in `aud`
    #[arg(long, required = true, value_delimiter = ',')]
    audience: Vec<String>,
    /// Its public keys: a file with a JWK Set
    #[arg(long, value_name = "FILE", required_unless_present = "jwks_url", conflicts_with = "jwks_url")]
    jwks: Option<PathBuf>,
    /// Where its public keys are
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// A PEM file that the server of the keys is held to
    #[arg(long, value_name = "FILE", requires = "jwks_url")]
    anchors: Option<PathBuf>,
    /// ES256, ES384, EdDSA or RS256; all but ES384 unless said
    #[arg(long, value_delimiter = ',')]
    algorithm: Vec<String>,
    /// The claim that names the device; sub unless said
    #[arg(long)]
    device_claim: Option<String>,
    /// A token may not count for longer; an hour unless said
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    max_lifetime: Option<u64>,
    /// How far clocks may be apart; 30 seconds unless said
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    leeway: Option<u64>,
    /// Devices that are not known come in too
    #[arg(long)]
    registers: bool,
}

impl Register {
    fn body(self) -> Result<Value, Failure> {
        let list = |texts: Vec<String>| (!texts.is_empty()).then(|| json!(texts));
        let jwks = self.jwks.map(|file| {
            let text = text_file(&file)?;
            serde_json::from_str::<Value>(&text)
                .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())))
        });
        let rules = super::object([
            ("issuer", Some(json!(self.issuer))),
            ("audience", list(self.audience)),
            ("algorithms", list(self.algorithm)),
            ("device_claim", self.device_claim.map(Value::from)),
            ("max_lifetime_s", self.max_lifetime.map(Value::from)),
            ("leeway_s", self.leeway.map(Value::from)),
            ("registers", self.registers.then_some(json!(true))),
        ]);
        Ok(super::object([
            ("name", Some(json!(self.name))),
            ("rules", Some(rules)),
            ("jwks", jwks.transpose()?),
            ("jwks_url", self.jwks_url.map(Value::from)),
            ("anchors", self.anchors.map(|file| text_file(&file)).transpose()?.map(Value::from)),
        ]))
    }
}

impl TokenIssuer {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.path(&["token-issuers"]).await?;
        let of = async |name: &str| session.path(&["token-issuers", name]).await;
        match self {
            Self::Register(register) => session.out.one(&session.client.post(&path, &register.body()?).await?.value),
            Self::List => session.out.rows(&session.client.list(&path, usize::MAX).await?, &COLUMNS),
            Self::Show { name } => session.out.one(&session.client.get(&of(&name).await?).await?.value),
            Self::Disable { name } => {
                let path = of(&name).await? + "/disable";
                session.out.one(&session.client.post(&path, &json!({})).await?.value)
            }
            Self::Enable { name } => {
                let path = of(&name).await? + "/enable";
                session.out.one(&session.client.post(&path, &json!({})).await?.value)
            }
            Self::Remove { name } => {
                session.client.delete(&of(&name).await?, None).await?;
                session.out.done(&format!("{name} is believed no more"))
            }
        }
    }
}
