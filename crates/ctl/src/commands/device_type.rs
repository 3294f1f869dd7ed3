//! `wardctl device-type`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 4] =
    [("NAME", "/name"), ("DESCRIPTION", "/description"), ("CREATED", "/created_at"), ("DEPRECATED", "/deprecated_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceType {
    /// Write a type down; a device says it in its attribute thing_type
    Create {
        name: String,
        #[arg(long)]
        description: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        name: String,
    },
    /// No device becomes one of it any more
    Deprecate {
        name: String,
        /// Devices may become one of it again
        #[arg(long)]
        undo: bool,
    },
    #[command(visible_alias = "rm")]
    Remove {
        name: String,
    },
}

impl DeviceType {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { name, description } => {
                let body =
                    super::object([("name", Some(json!(name))), ("description", description.map(|text| json!(text)))]);
                session.out.one(&session.client.post(&session.path(&["device-types"]).await?, &body).await?.value)
            }
            Self::List { limit } => {
                let path = session.path(&["device-types"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { name } => {
                let path = session.path(&["device-types", &name]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Deprecate { name, undo } => {
                let path = session.path(&["device-types", &name, "deprecate"]).await?;
                session.out.one(&session.client.post(&path, &json!({ "deprecated": !undo })).await?.value)
            }
            Self::Remove { name } => {
                session.client.delete(&session.path(&["device-types", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} removed"))
            }
        }
    }
}
