//! `wardctl access-key`: what boto3, the AWS CLI and Terraform sign their requests with.

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, segment};

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("CREATED", "/created_at"),
    ("LAST USED", "/last_used_at"),
    ("DISABLED", "/disabled_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum AccessKey {
    /// Make a key of the tenant, and print it as the environment of AWS's clients
    Create {
        /// Whose it is, for the audit log
        name: String,
        /// owner, operator or viewer
        #[arg(long, default_value = "operator")]
        role: String,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// The key counts no more, from the next request on
    Disable { id: String },
    #[command(visible_alias = "rm")]
    Remove { id: String },
}

impl AccessKey {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { name, role } => {
                let path = session.path(&["access-keys"]).await?;
                let made = session.client.post(&path, &json!({ "name": name, "role": role })).await?.value;
                if session.out == Format::Json {
                    return output::json(&made);
                }
                output::note("Shown only now:");
                output::line(&format!("export AWS_ACCESS_KEY_ID={}", output::cell(made.get("id"))))?;
                output::line(&format!("export AWS_SECRET_ACCESS_KEY={}", output::cell(made.get("secret"))))
            }
            Self::List { limit } => {
                let path = session.path(&["access-keys"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Disable { id } => {
                let path = session.path(&["access-keys", &segment(&id), "disable"]).await?;
                session.client.post(&path, &json!({})).await?;
                session.out.done(&format!("{id} disabled"))
            }
            Self::Remove { id } => {
                let path = session.path(&["access-keys", &segment(&id)]).await?;
                session.client.delete(&path, Some("*")).await?;
                session.out.done(&format!("{id} removed"))
            }
        }
    }
}
