//! `wardctl device-group`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    ("NAME", "/name"),
    ("PARENT", "/parent"),
    ("QUESTION", "/query"),
    ("DESCRIPTION", "/description"),
    ("CREATED", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceGroup {
    /// Write a group down; devices with its name as a tag are in it
    Create {
        name: String,
        /// The group that it lies in
        #[arg(long)]
        parent: Option<String>,
        #[arg(long)]
        description: Option<String>,
        /// Have a question decide who is in it: 'site:berlin AND NOT tag:beta'
        #[arg(long, value_name = "QUESTION", conflicts_with = "parent")]
        query: Option<String>,
    },
    /// Say something else of the group
    Set {
        name: String,
        #[arg(long)]
        description: Option<String>,
        /// Another question, for a group that has one
        #[arg(long, value_name = "QUESTION", required_unless_present = "description")]
        query: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        name: String,
    },
    /// Take a device into the group
    Add {
        name: String,
        device: String,
    },
    /// Take a device out of the group
    TakeOut {
        name: String,
        device: String,
    },
    /// Remove the group; its devices leave it
    #[command(visible_alias = "rm")]
    Remove {
        name: String,
    },
}

impl DeviceGroup {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { name, parent, description, query } => {
                let body = super::object([
                    ("name", Some(json!(name))),
                    ("parent", parent.map(|text| json!(text))),
                    ("description", description.map(|text| json!(text))),
                    ("query", query.map(|text| json!(text))),
                ]);
                session.out.one(&session.client.post(&session.path(&["device-groups"]).await?, &body).await?.value)
            }
            Self::Set { name, description, query } => {
                let path = session.path(&["device-groups", &name]).await?;
                // The API takes what is said of a group whole: what is not said here stays as it was.
                let found = session.client.get(&path).await?;
                let was = |field: &str| found.value.get(field).cloned().filter(|value| !value.is_null());
                let body = super::object([
                    ("description", description.map(|text| json!(text)).or_else(|| was("description"))),
                    ("attributes", was("attributes")),
                    ("query", query.map(|text| json!(text))),
                ]);
                let etag = found.etag.unwrap_or_default();
                session.out.one(&session.client.patch(&path, &etag, &body).await?.value)
            }
            Self::List { limit } => {
                let path = session.path(&["device-groups"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { name } => {
                let path = session.path(&["device-groups", &name]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Add { name, device } => {
                let path = session.path(&["device-groups", &name, "devices", &device]).await?;
                session.client.put(&path, "*", &json!({})).await?;
                session.out.done(&format!("{device} is in {name}"))
            }
            Self::TakeOut { name, device } => {
                let path = session.path(&["device-groups", &name, "devices", &device]).await?;
                session.client.delete(&path, Some("*")).await?;
                session.out.done(&format!("{device} is not in {name}"))
            }
            Self::Remove { name } => {
                session.client.delete(&session.path(&["device-groups", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} removed"))
            }
        }
    }
}
