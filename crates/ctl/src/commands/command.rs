//! `wardctl command`

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::pause;
use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

/// How often one that is followed is looked at.
const EVERY: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 8] = [
    ("ID", "/id"),
    ("DEVICE", "/device"),
    ("OP", "/op"),
    ("LANE", "/lane"),
    ("STATUS", "/status"),
    ("REASON", "/reason/code"),
    ("SENT", "/attempts"),
    ("EXPIRES", "/expires_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Send a command to a device, to several, or to those that a selection means
    Send(Box<Send>),
    /// Commands of a device, the newest first; without one, of all
    #[command(visible_alias = "ls")]
    List {
        device: Option<String>,
        /// One command on all its devices
        #[arg(long, conflicts_with = "device")]
        id: Option<String>,
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// One command of a device, with what it carries and what came of it
    Show {
        device: String,
        id: String,
        /// Wait for its end; exit code 10 where it did not succeed
        #[arg(long)]
        follow: bool,
    },
    /// Forget one that nothing can follow
    Delete { device: String, id: String },
    /// Take a command back from a device; without one, from all that have it
    Cancel {
        id: String,
        #[arg(long)]
        device: Option<String>,
        /// Also where the device may have it: it may run all the same, and its answer does not count
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// What is to be done, in a word that the device knows
    op: String,
    /// A device; may be repeated
    #[arg(long = "device", short, required_unless_present_any = ["tags", "hardware", "site", "environment"])]
    devices: Vec<String>,
    /// Devices with this tag; with several, those that have all
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Devices of this hardware revision, or of one of these
    #[arg(long)]
    hardware: Vec<String>,
    #[arg(long)]
    site: Option<String>,
    #[arg(long)]
    environment: Option<String>,
    /// JSON for the device, or `-` to read it from standard input
    #[arg(long, conflicts_with = "file")]
    payload: Option<String>,
    /// A file of any bytes for the device
    #[arg(long)]
    file: Option<PathBuf>,
    /// The media type of the payload
    #[arg(long)]
    content_type: Option<String>,
    /// Chosen by you, so that sending it again is harmless
    #[arg(long)]
    id: Option<String>,
    /// Commands of one lane follow each other; lanes do not wait for each other
    #[arg(long)]
    lane: Option<String>,
    /// Takes the place of one that waits, of the same operation and key
    #[arg(long)]
    dedupe: Option<String>,
    /// Not to be sent before this has passed: seconds, or with s, m, h or d
    #[arg(long, value_parser = super::seconds)]
    wait: Option<u64>,
    /// Not to be sent before then: a moment such as 2026-11-28T03:00:00Z
    #[arg(long, conflicts_with = "wait", value_name = "MOMENT")]
    not_before: Option<fleetward_base::Timestamp>,
    /// How long it may wait for its device
    #[arg(long, value_parser = super::seconds)]
    ttl: Option<u64>,
    /// How long the device may take to say that it has it
    #[arg(long, value_parser = super::seconds)]
    ack_timeout: Option<u64>,
    /// How long it may take from then to its end
    #[arg(long, value_parser = super::seconds)]
    run_timeout: Option<u64>,
    /// How often it is sent while nothing is heard of it
    #[arg(long)]
    attempts: Option<u32>,
    /// Should it expire, those behind it in its lane are canceled
    #[arg(long)]
    cancel_lane: bool,
    /// Wait for its end on all devices; exit code 10 where it did not succeed
    #[arg(long)]
    follow: bool,
}

impl DeviceCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Send(send) => send.run(session).await,
            Self::List { device, id, status, limit } => {
                let path = match &device {
                    Some(device) => session.path(&["devices", device, "commands"]).await?,
                    None => session.path(&["commands"]).await?,
                };
                let filter = query(&[("id", id.as_deref()), ("status", status.as_deref())]);
                session.out.rows(&session.client.list(&format!("{path}{filter}"), limit).await?, &COLUMNS)
            }
            Self::Show { device, id, follow: false } => {
                session.out.one(&session.client.get(&of(session, &device, &id).await?).await?.value)
            }
            Self::Show { device, id, follow: true } => follow(session, vec![(device, id)]).await,
            Self::Delete { device, id } => {
                let path = session.path(&["devices", &device, "commands", &id]).await?;
                session.client.delete(&path, None).await?;
                session.out.done(&format!("{id} is forgotten"))
            }
            Self::Cancel { id, device, force } => {
                let body = json!({ "force": force });
                let path = match &device {
                    Some(device) => session.path(&["devices", device, "commands", &id, "cancel"]).await?,
                    None => session.path(&["commands", &id, "cancel"]).await?,
                };
                let answer = session.client.post(&path, &body).await?.value;
                session.out.one(&answer)
            }
        }
    }
}

impl Send {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let to = super::object([
            ("devices", list(&self.devices)),
            ("tags", list(&self.tags)),
            ("hardware", list(&self.hardware)),
            ("site", self.site.as_ref().map(|site| json!(site))),
            ("environment", self.environment.as_ref().map(|environment| json!(environment))),
        ]);
        let follows = self.follow;
        let body = json!({ "to": to, "command": self.body()? });
        let answer = session.client.post(&session.path(&["commands"]).await?, &body).await?.value;
        let sent = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        if !follows {
            return session.out.rows(&sent, &COLUMNS);
        }
        let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        follow(session, sent.iter().map(|row| (text(row, "device"), text(row, "id"))).collect()).await
    }

    fn body(self) -> Result<Value, Failure> {
        let payload = match self.payload.as_deref() {
            Some("-") => Some(std::io::read_to_string(std::io::stdin())?),
            other => other.map(str::to_owned),
        };
        let payload: Option<Value> = payload
            .map(|text| {
                serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the payload is not JSON: {error}")))
            })
            .transpose()?;
        let bytes = match &self.file {
            None => None,
            Some(file) => Some(
                std::fs::read(file)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?,
            ),
        };
        Ok(super::object([
            ("op", Some(json!(self.op))),
            ("id", self.id.map(|id| json!(id))),
            ("payload", payload),
            ("payload_base64", bytes.map(|bytes| json!(STANDARD.encode(bytes)))),
            ("content_type", self.content_type.map(|media| json!(media))),
            ("lane", self.lane.map(|lane| json!(lane))),
            ("dedupe", self.dedupe.map(|key| json!(key))),
            ("wait_s", self.wait.map(|secs| json!(secs))),
            ("not_before", self.not_before.map(|at| json!(at.to_string()))),
            ("ttl_s", self.ttl.map(|secs| json!(secs))),
            ("ack_timeout_s", self.ack_timeout.map(|secs| json!(secs))),
            ("run_timeout_s", self.run_timeout.map(|secs| json!(secs))),
            ("max_attempts", self.attempts.map(|attempts| json!(attempts))),
            ("on_expiry", self.cancel_lane.then(|| json!("cancel_lane"))),
        ]))
    }
}

fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| json!(texts))
}

async fn of(session: &Session, device: &str, id: &str) -> Result<String, Failure> {
    session.path(&["devices", device, "commands", id]).await
}

/// Tells of each step until nothing is under way any more, then how it all ended.
async fn follow(session: &Session, commands: Vec<(String, String)>) -> Result<(), Failure> {
    let mut ended: Vec<Value> = Vec::new();
    let mut open: Vec<(String, String, String)> =
        commands.into_iter().map(|(device, id)| (device, id, String::new())).collect();
    loop {
        let mut still = Vec::new();
        for (device, id, before) in open {
            let now = session.client.get(&of(session, &device, &id).await?).await?.value;
            let status = output::cell(now.get("status"));
            if status != before && session.out == Format::Table {
                let reason = now.pointer("/reason/code").map(|code| format!(" ({})", output::cell(Some(code))));
                output::note(&format!("{device} {id}: {status}{}", reason.unwrap_or_default()));
            }
            // What the server gave up on may be answered late; whoever waits is not made to.
            if matches!(status.as_str(), "queued" | "sent" | "running") {
                still.push((device, id, status));
            } else {
                ended.push(now);
            }
        }
        open = still;
        if open.is_empty() {
            break;
        }
        pause(EVERY).await;
    }
    match ended.as_slice() {
        [one] => session.out.one(one)?,
        many => session.out.rows(many, &COLUMNS)?,
    }
    let failed = ended.iter().filter(|it| it.get("status").and_then(Value::as_str) != Some("succeeded")).count();
    if failed == 0 { Ok(()) } else { Err(Failure::NotDone { failed, all: ended.len() }) }
}
