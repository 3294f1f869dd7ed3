//! `wardctl shadow`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, segment};

const COLUMNS: [Column; 6] = [
    ("NUMBER", "/number"),
    ("VERSION", "/version"),
    ("AT", "/at"),
    ("KIND", "/actor/kind"),
    ("BY", "/actor/name"),
    ("PATCH", "/patch"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Shadow {
    /// Print the whole document, and what the device goes to and fro on
    #[command(visible_alias = "show")]
    Get {
        device: String,
        /// A named shadow, such as `config`
        #[arg(long)]
        name: Option<String>,
    },
    /// Merge into the desired state; null takes a key out
    Set {
        device: String,
        /// JSON, or `-` to read it from standard input
        desired: String,
        /// Only if the document is at this version
        #[arg(long)]
        version: Option<u64>,
        /// A named shadow, such as `config`
        #[arg(long)]
        name: Option<String>,
    },
    /// Delete the document; its version goes on counting
    Delete {
        device: String,
        /// A named shadow, such as `config`
        #[arg(long)]
        name: Option<String>,
    },
    /// How the document came to be what it is, newest first, as merge patches
    History {
        device: String,
        /// A named shadow, such as `config`
        #[arg(long)]
        name: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Ask again for what the device goes to and fro on, which is otherwise left alone
    Reassert {
        device: String,
        /// A named shadow, such as `config`
        #[arg(long)]
        name: Option<String>,
    },
}

impl Shadow {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        // A document is JSON for people too.
        match self {
            Self::Get { device, name } => {
                let shown = client.get(&path(session, &device, "", name).await?).await?.value;
                output::json(&shown)?;
                warn_of(session, &device, &shown);
                Ok(())
            }
            Self::Set { device, desired, version, name } => {
                let desired = read(&desired)?;
                let mut body = json!({ "state": { "desired": desired } });
                if let Some(version) = version {
                    super::put(&mut body, "version", json!(version));
                }
                output::json(&client.post(&path(session, &device, "", name).await?, &body).await?.value)
            }
            Self::Delete { device, name } => {
                output::json(&client.delete(&path(session, &device, "", name).await?, Some("*")).await?.value)
            }
            Self::History { device, name, limit } => {
                let path = path(session, &device, "/history", name).await?;
                session.out.rows(&client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Reassert { device, name } => {
                let path = path(session, &device, "/reassert", name).await?;
                let done = client.post(&path, &json!({})).await?.value;
                if session.out == Format::Json {
                    return output::json(&done);
                }
                let paths = done.get("paths").and_then(Value::as_array).cloned().unwrap_or_default();
                let paths: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
                session.out.done(&match paths.as_slice() {
                    [] => format!("{device} goes to and fro on nothing"),
                    paths => format!("{device} is asked again for {}", paths.join(", ")),
                })
            }
        }
    }
}

/// Says aloud what the document says of oscillations.
fn warn_of(session: &Session, device: &str, shown: &Value) {
    if session.out == Format::Json {
        return;
    }
    for found in shown.get("oscillating").and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| output::cell(found.get(field));
        output::note(&format!(
            "{device} goes to and fro on {} since {}: {}. A hint: {}. It is no longer asked for; `wardctl shadow reassert` asks again.",
            text("path"),
            text("since"),
            text("explanation"),
            text("hint"),
        ));
    }
}

async fn path(session: &Session, device: &str, end: &str, name: Option<String>) -> Result<String, Failure> {
    let shadow = session.path(&["devices", device, "shadow"]).await?;
    let query = name.map(|name| format!("?name={}", segment(&name))).unwrap_or_default();
    Ok(format!("{shadow}{end}{query}"))
}

fn read(text: &str) -> Result<Value, Failure> {
    let text = match text {
        "-" => std::io::read_to_string(std::io::stdin())?,
        text => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the desired state is not JSON: {error}")))
}
