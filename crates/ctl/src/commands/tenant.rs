//! `wardctl tenant`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::{Session, segment};

const COLUMNS: [Column; 3] = [("NAME", "/name"), ("DISPLAY NAME", "/display_name"), ("CREATED", "/created_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant and its issuing CA
    Create {
        /// a-z, 0-9 and -, fixed for good: it stands in certificates
        name: String,
        #[arg(long)]
        display_name: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List,
    Show {
        name: String,
    },
    /// Change what people see
    Set {
        name: String,
        #[arg(long)]
        display_name: String,
    },
}

impl Tenant {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let path = |name: &str| format!("/v1/tenants/{}", segment(name));
        match self {
            Self::Create { name, display_name } => {
                let mut body = json!({ "name": name });
                if let Some(display_name) = display_name {
                    super::put(&mut body, "display_name", json!(display_name));
                }
                session.out.one(&client.post("/v1/tenants", &body).await?.value)
            }
            Self::List => session.out.rows(&client.list("/v1/tenants", usize::MAX).await?, &COLUMNS),
            Self::Show { name } => session.out.one(&client.get(&path(&name)).await?.value),
            Self::Set { name, display_name } => {
                let found = client.get(&path(&name)).await?;
                let etag = found.etag.unwrap_or_default();
                session
                    .out
                    .one(&client.patch(&path(&name), &etag, &json!({ "display_name": display_name })).await?.value)
            }
        }
    }
}
