//! `wardctl revoke`

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::client;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::session::Session;

const LIST: [Column; 8] = [
    ("ID", "/id"),
    ("KIND", "/kind"),
    ("TARGET", "/target/kind"),
    ("STATUS", "/status"),
    ("DONE", "/done"),
    ("TOTAL", "/total"),
    ("DUE", "/due_at"),
    ("CREATED", "/created_at"),
];
/// How often the server is asked how far it came.
const LOOK: Duration = Duration::from_millis(300);
/// How often in a row it may be out of reach while it is followed.
const PATIENCE: u32 = 15;

#[derive(Debug, Subcommand)]
pub(crate) enum Revoke {
    /// One certificate, by its serial number; its device may enrol again
    Certificate {
        serial: String,
        #[command(flatten)]
        how: How,
    },
    /// One device: all its certificates and unused tokens
    Device {
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Every device that all given conditions choose
    Group {
        #[arg(long, value_name = "TAG", value_delimiter = ',')]
        tag: Vec<String>,
        #[arg(long, value_delimiter = ',')]
        hardware: Vec<String>,
        #[arg(long, value_delimiter = ',')]
        device: Vec<String>,
        #[arg(long)]
        environment: Option<String>,
        #[arg(long)]
        site: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Every device that came by a claim, template, token or factory
    Claim {
        source: String,
        /// token, factory, claim, challenge, symmetric_key, jwt or approval, where names are used twice
        #[arg(long)]
        way: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// An issuing authority with everything that it issued, by its fingerprint
    Authority {
        fingerprint: String,
        #[command(flatten)]
        how: How,
    },
    /// Every device of the tenant
    Tenant {
        #[command(flatten)]
        how: How,
    },
    /// Revocations and replacements, newest first
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        id: String,
    },
    /// Call off a replacement, or the rest of a revocation
    Cancel {
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct How {
    /// For the history; key_compromise, ca_compromise, superseded, cessation_of_operation and the like go into lists too
    #[arg(long)]
    reason: Option<String>,
    /// Say what it would meet and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Not at once: have devices replace their certificate within this, and revoke what was not; e.g. 24h
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    replace_within: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

impl Revoke {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (target, how) = match self {
            Self::Certificate { serial, how } => {
                (json!({ "kind": "certificate", "serial": serial.to_lowercase() }), how)
            }
            Self::Device { name, how } => (json!({ "kind": "device", "device": name }), how),
            Self::Group { tag, hardware, device, environment, site, how } => {
                let list = |texts: Vec<String>| (!texts.is_empty()).then(|| json!(texts));
                let selector = super::object([
                    ("tags", list(tag)),
                    ("hardware", list(hardware)),
                    ("devices", list(device)),
                    ("environment", environment.map(Value::from)),
                    ("site", site.map(Value::from)),
                ]);
                (json!({ "kind": "group", "selector": selector }), how)
            }
            Self::Claim { source, way, how } => {
                let target = super::object([
                    ("kind", Some(json!("claim"))),
                    ("source", Some(json!(source))),
                    ("way", way.map(Value::from)),
                ]);
                (target, how)
            }
            Self::Authority { fingerprint, how } => {
                (json!({ "kind": "authority", "fingerprint": fingerprint.to_lowercase() }), how)
            }
            Self::Tenant { how } => (json!({ "kind": "tenant" }), how),
            Self::List { limit } => {
                let path = session.path(&["revocations"]).await?;
                return session.out.rows(&session.client.list(&path, limit).await?, &LIST);
            }
            Self::Show { id } => {
                let path = session.path(&["revocations", &id]).await?;
                return session.out.one(&session.client.get(&path).await?.value);
            }
            Self::Cancel { id } => {
                let path = session.path(&["revocations", &id, "cancel"]).await?;
                return session.out.one(&session.client.post(&path, &json!({})).await?.value);
            }
        };
        how.revoke(session, target).await
    }
}

impl How {
    async fn revoke(self, session: &Session, target: Value) -> Result<(), Failure> {
        let path = session.path(&["revocations", "preview"]).await?;
        let preview = session.client.post(&path, &json!({ "target": target })).await?.value;
        if self.dry_run {
            return session.out.one(&preview);
        }
        if !self.yes {
            self.confirm(&preview)?;
        }
        let body = super::object([
            ("target", Some(target)),
            ("reason", self.reason.clone().map(Value::from)),
            ("replace_within_s", self.replace_within.map(Value::from)),
        ]);
        let begun = session.client.post(&session.path(&["revocations"]).await?, &body).await?.value;
        if self.no_wait {
            return session.out.one(&begun);
        }
        session.out.one(&follow(session, begun).await?)
    }

    /// Asks whoever sits there to type how many devices it is; a script says `--yes`.
    fn confirm(&self, preview: &Value) -> Result<(), Failure> {
        let count = |at: &str| preview.get(at).and_then(Value::as_u64).unwrap_or(0);
        let (devices, certificates) = (count("devices"), count("certificates"));
        if devices <= 1 {
            return Ok(());
        }
        let verb = if self.replace_within.is_some() { "have replaced" } else { "revoke" };
        output::note(&format!("This would {verb} {certificates} certificates of {devices} devices."));
        if !output::stderr_is_terminal() {
            return Err(Failure::usage("say --yes where nobody can be asked; --dry-run shows what it would meet"));
        }
        output::note(&format!("Type {devices} to go on:"));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| Failure::usage(error.to_string()))?;
        if line.trim() == devices.to_string() { Ok(()) } else { Err(Failure::usage("not confirmed; nothing was done")) }
    }
}

/// Shows how far it is until it is done, or until it waits for its moment.
pub(super) async fn follow(session: &Session, mut revocation: Value) -> Result<Value, Failure> {
    let id = revocation.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let path = session.path(&["revocations", &id]).await?;
    let number = |value: &Value, at: &str| value.get(at).and_then(Value::as_u64).unwrap_or(0);
    let bar = if output::stderr_is_terminal() {
        let bar = ProgressBar::new(number(&revocation, "total"));
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar
    } else {
        ProgressBar::hidden()
    };
    let mut patience = PATIENCE;
    while revocation.get("status").and_then(Value::as_str) == Some("running") {
        client::pause(LOOK).await;
        match session.client.get(&path).await {
            Ok(found) => (revocation, patience) = (found.value, PATIENCE),
            // The server goes on by itself; one that restarts is waited for.
            Err(Failure::Unreachable { .. } | Failure::TimedOut(_)) if patience > 0 => patience -= 1,
            Err(failure) => {
                bar.finish_and_clear();
                output::note(&format!("It goes on without this command: wardctl revoke show {id}"));
                return Err(failure);
            }
        }
        bar.set_position(number(&revocation, "done"));
    }
    bar.finish_and_clear();
    if revocation.get("status").and_then(Value::as_str) == Some("canceled") {
        return Err(Failure::other(format!("somebody canceled it: wardctl revoke show {id} says how far it came")));
    }
    Ok(revocation)
}
