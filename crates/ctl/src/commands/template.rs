//! `wardctl template`: provisioning templates.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    ("NAME", "/name"),
    ("ENABLED", "/enabled"),
    ("HOOK", "/hook_url"),
    ("UPDATED", "/updated_at"),
    ("BY", "/created_by"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Template {
    /// Make a template from a file as AWS has it
    Create {
        name: String,
        /// JSON: the template's body, or a registration configuration that holds it
        file: PathBuf,
        #[command(flatten)]
        hook: Hook,
    },
    /// Read a template again from a file, or change its hook
    Set {
        name: String,
        #[arg(long)]
        file: Option<PathBuf>,
        #[command(flatten)]
        hook: Hook,
        /// Ask nobody from now on
        #[arg(long, conflicts_with = "hook_url")]
        no_hook: bool,
        /// Whether devices may come by it
        #[arg(long)]
        enabled: Option<bool>,
    },
    #[command(visible_alias = "ls")]
    List,
    Show {
        name: String,
    },
    /// Delete a template; claims that name it get nothing by it from then on
    Rm {
        name: String,
    },
    /// Make a claim of five minutes for whoever installs a device: one device, key included
    Claim {
        name: String,
    },
}

/// Who is asked before a device comes in.
#[derive(Debug, clap::Args)]
pub(crate) struct Hook {
    /// HTTPS address that is asked before a device comes in
    #[arg(long)]
    hook_url: Option<String>,
    /// Certificates in PEM that the hook's server is held to, in place of the public ones
    #[arg(long)]
    hook_ca: Option<PathBuf>,
}

impl Hook {
    fn put(&self, body: &mut Value) -> Result<(), Failure> {
        if let Some(url) = &self.hook_url {
            super::put(body, "hook_url", json!(url));
        }
        if let Some(file) = &self.hook_ca {
            super::put(body, "hook_ca", json!(super::text_file(file)?));
        }
        Ok(())
    }
}

impl Template {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create { name, file, hook } => {
                let mut body = json!({ "name": name, "body": super::text_file(&file)? });
                hook.put(&mut body)?;
                let made = client.post(&session.path(&["provisioning-templates"]).await?, &body).await?.value;
                shown(session, &made)
            }
            Self::Set { name, file, hook, no_hook, enabled } => {
                let mut body = super::object([("enabled", enabled.map(|enabled| json!(enabled)))]);
                if let Some(file) = &file {
                    super::put(&mut body, "body", json!(super::text_file(file)?));
                }
                hook.put(&mut body)?;
                if no_hook {
                    super::put(&mut body, "hook_url", Value::Null);
                }
                let path = session.path(&["provisioning-templates", &name]).await?;
                let etag = client.get(&path).await?.etag.unwrap_or_default();
                shown(session, &client.patch(&path, &etag, &body).await?.value)
            }
            Self::List => {
                let path = session.path(&["provisioning-templates"]).await?;
                session.out.rows(&client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Show { name } => {
                let found = client.get(&session.path(&["provisioning-templates", &name]).await?).await?.value;
                output::json(&found)
            }
            Self::Rm { name } => {
                client.delete(&session.path(&["provisioning-templates", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} deleted"))
            }
            Self::Claim { name } => {
                let path = session.path(&["provisioning-templates", &name, "provisioning-claim"]).await?;
                output::json(&client.post(&path, &json!({})).await?.value)
            }
        }
    }
}

/// The template's name with what is to be known of it now.
fn shown(session: &Session, template: &Value) -> Result<(), Failure> {
    if session.out == Format::Json {
        return output::json(template);
    }
    for warning in template.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        output::note(&format!("note: {}", warning.as_str().unwrap_or_default()));
    }
    if let Some(secret) = template.get("hook_secret").and_then(Value::as_str) {
        output::note("Requests to the hook are signed with this secret (Standard Webhooks). Shown only now:");
        output::line(secret)?;
    }
    session.out.done(&format!("{} kept", output::cell(template.get("name"))))
}
