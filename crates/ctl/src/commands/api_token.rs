//! `wardctl api-token`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("LAST USED", "/last_used_at"),
    ("EXPIRES", "/expires_at"),
    ("REVOKED", "/revoked_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum ApiToken {
    /// Make a token: of the tenant, or with the role admin of the whole installation
    Create {
        /// Whose it is, for the audit log
        name: String,
        /// admin, owner, operator, viewer or broker
        #[arg(long, default_value = "operator")]
        role: String,
        /// How long it holds: seconds, or with s, m, h or d
        #[arg(long, value_parser = super::seconds)]
        ttl: Option<u64>,
    },
    #[command(visible_alias = "ls")]
    List {
        /// Those of the installation instead of a tenant's
        #[arg(long)]
        installation: bool,
    },
    Revoke {
        id: String,
        #[arg(long)]
        installation: bool,
    },
}

async fn path(session: &Session, installation: bool, id: &[&str]) -> Result<String, Failure> {
    let mut segments = vec!["api-tokens"];
    segments.extend(id);
    match installation {
        true => Ok(format!("/v1/{}", segments.join("/"))),
        false => session.path(&segments).await,
    }
}

impl ApiToken {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { name, role, ttl } => {
                let path = path(session, role == "admin", &[]).await?;
                let body = super::object([
                    ("name", Some(json!(name))),
                    ("role", Some(json!(role))),
                    ("ttl_s", ttl.map(|ttl| json!(ttl))),
                ]);
                let answer = session.client.post(&path, &body).await?.value;
                if session.out == Format::Json {
                    return output::json(&answer);
                }
                output::note("Shown only now:");
                output::line(&output::cell(answer.get("token")))
            }
            Self::List { installation } => {
                let path = path(session, installation, &[]).await?;
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Revoke { id, installation } => {
                let path = path(session, installation, &[&crate::session::segment(&id)]).await?;
                session.client.delete(&path, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
        }
    }
}
