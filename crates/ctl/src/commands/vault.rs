//! `wardctl vault`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    ("KIND", "/kind"),
    ("VERSION", "/version"),
    ("KEY ID", "/key_id"),
    ("ACTIVE", "/active"),
    ("WRAPPED BY", "/wrapped_by"),
    ("RETIRED", "/retired_at"),
];

/// Whose keys: those of the tenant that the command works in, or the installation's.
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// The root key, or the keys of all tenants at once, instead of one tenant's
    #[arg(long)]
    installation: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Show the keys by name, what is under what, and whether they are disabled
    #[command(visible_alias = "show")]
    Status(Whose),
    /// Make a new version of a tenant's key, or of the root key; the old one opens until nothing needs it
    Rotate(Whose),
    /// Emergency: use no key of a tenant, or of any tenant, on any server from now on
    Disable {
        #[command(flatten)]
        whose: Whose,
        /// Why, for the journal
        #[arg(long)]
        reason: String,
    },
    /// Use them again; for an administrator of the installation
    Enable(Whose),
}

impl Vault {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (whose, verb, body) = match self {
            Self::Status(whose) => (whose, None, Value::Null),
            Self::Rotate(whose) => (whose, Some("rotate"), json!({})),
            Self::Disable { whose, reason } => (whose, Some("disable"), json!({ "reason": reason })),
            Self::Enable(whose) => (whose, Some("enable"), json!({})),
        };
        let base = match whose.installation {
            true => "/v1/vault".to_owned(),
            false => session.path(&["vault"]).await?,
        };
        let answer = match verb {
            None => session.client.get(&base).await?.value,
            Some(verb) => session.client.post(&format!("{base}/{verb}"), &body).await?.value,
        };
        show(session, &answer)
    }
}

fn show(session: &Session, view: &Value) -> Result<(), Failure> {
    if session.out == Format::Json {
        return output::json(view);
    }
    if let Some(seal) = view.get("seal").and_then(Value::as_str) {
        output::line(&format!("seal: {seal}"))?;
    }
    if let Some(reason) = view.pointer("/disabled/reason").and_then(Value::as_str) {
        let by = output::cell(view.pointer("/disabled/by"));
        output::line(&format!("DISABLED by {by} at {}: {reason}", output::cell(view.pointer("/disabled/at"))))?;
    }
    let keys = view.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    session.out.rows(&keys, &COLUMNS)
}
