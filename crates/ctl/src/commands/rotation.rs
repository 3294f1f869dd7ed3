//! `wardctl rotation`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::rollout::{Target, looks_like_id, phases};
use crate::client::pause;
use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("STATE", "/state"),
    ("PHASE", "/progress"),
    ("DEVICES", "/target_count"),
    ("RENEWED", "/counts/renewed"),
    ("FAILED", "/counts/failed"),
    ("ID", "/id"),
];
const DEVICES: [Column; 6] = [
    ("DEVICE", "/device"),
    ("PHASE", "/phase"),
    ("STATUS", "/status"),
    ("HARDWARE", "/hardware"),
    ("ASKED", "/asked_at"),
    ("FINISHED", "/finished_at"),
];
/// How often in a row a watched rotation may be out of reach.
const PATIENCE: u32 = 15;

#[derive(Debug, Subcommand)]
pub(crate) enum Rotation {
    /// Have a fleet renew its certificates, in phases
    Create(Create),
    #[command(visible_alias = "ls")]
    List {
        /// running, paused, canceled or finished
        #[arg(long)]
        state: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// By id, or by name where only one has it
    Show { rotation: String },
    /// Follow it to its end
    Watch {
        rotation: String,
        /// Exit with 8 when it pauses or is canceled
        #[arg(long)]
        exit_status: bool,
        /// Give up after this: seconds, or with s, m, h or d
        #[arg(long, value_parser = super::seconds)]
        give_up_after: Option<u64>,
    },
    /// How each device stands
    Devices {
        rotation: String,
        /// waiting, asked, renewed, failed or canceled
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Ask nobody else until resumed
    Pause {
        rotation: String,
        /// Why, for the others
        #[arg(long)]
        note: Option<String>,
    },
    /// Go on; what failed so far no longer counts against it
    Resume { rotation: String },
    /// End it; devices that were asked may go on
    Cancel { rotation: String },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What people call it
    name: String,
    /// An emergency: the old certificate ends with the first use of the new one
    #[arg(long)]
    at_once: bool,
    /// Only these hardware revisions
    #[arg(long, value_delimiter = ',')]
    hardware: Vec<String>,
    /// Only devices with all of these tags
    #[arg(long = "tag", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only these devices
    #[arg(long = "device", value_delimiter = ',')]
    devices: Vec<String>,
    #[arg(long)]
    environment: Option<String>,
    #[arg(long)]
    site: Option<String>,
    /// First phase: so many devices
    #[arg(long, value_name = "COUNT")]
    canary: Option<u32>,
    /// A further phase: `5%` or a count, cumulative; as often as needed. Without any: 5, 25, 50 and 100 %
    #[arg(long = "phase", value_delimiter = ',', value_name = "N%|COUNT")]
    phases: Vec<Target>,
    /// Pause when more of the renewals than this failed, in percent
    #[arg(long, value_name = "PERCENT")]
    max_failure: Option<u8>,
    /// Judge nothing on fewer renewals than this
    #[arg(long, value_name = "COUNT")]
    min_finished: Option<u32>,
    /// How long a phase must look good before the next begins
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    soak: Option<u64>,
    /// A device that was asked and takes longer has failed
    #[arg(long = "step-timeout", value_parser = super::seconds, value_name = "SPAN")]
    timeout_s: Option<u64>,
}

impl Create {
    fn body(&self) -> Value {
        let list = |values: &[String]| (!values.is_empty()).then(|| json!(values));
        let selector = super::object([
            ("hardware", list(&self.hardware)),
            ("tags", list(&self.tags)),
            ("devices", list(&self.devices)),
            ("environment", self.environment.as_ref().map(|one| json!(one))),
            ("site", self.site.as_ref().map(|one| json!(one))),
        ]);
        let gates = super::object([
            ("max_failure_percent", self.max_failure.map(|percent| json!(percent))),
            ("min_finished", self.min_finished.map(|count| json!(count))),
        ]);
        let policy = super::object([
            ("phases", Some(json!(phases(self.canary, &self.phases, self.soak)))),
            ("gates", Some(gates)),
            ("timeout_s", self.timeout_s.map(|span| json!(span))),
        ]);
        json!({ "name": self.name, "at_once": self.at_once, "selector": selector, "policy": policy })
    }
}

impl Rotation {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create(create) => {
                let path = session.path(&["rotations"]).await?;
                show(session, &client.post(&path, &create.body()).await?.value)
            }
            Self::List { state, limit } => {
                let path = session.path(&["rotations"]).await? + &query(&[("state", state.as_deref())]);
                let mut rows = client.list(&path, limit).await?;
                if session.out == Format::Table {
                    rows.iter_mut().for_each(|row| super::put(row, "progress", json!(progress(row))));
                }
                session.out.rows(&rows, &COLUMNS)
            }
            Self::Show { rotation } => show(session, &find(session, &rotation).await?),
            Self::Watch { rotation, exit_status, give_up_after } => {
                let id = output::cell(find(session, &rotation).await?.get("id"));
                let watched = watch(session, &id, exit_status);
                match give_up_after {
                    None => watched.await,
                    Some(secs) => tokio::time::timeout(std::time::Duration::from_secs(secs), watched)
                        .await
                        .unwrap_or_else(|_| Err(Failure::TimedOut(format!("not at its end after {secs} s")))),
                }
            }
            Self::Devices { rotation, status, limit } => {
                let id = output::cell(find(session, &rotation).await?.get("id"));
                let path = session.path(&["rotations", &id, "devices"]).await?;
                let path = path + &query(&[("status", status.as_deref())]);
                session.out.rows(&client.list(&path, limit).await?, &DEVICES)
            }
            Self::Pause { rotation, note } => {
                let body = super::object([("note", note.map(|note| json!(note)))]);
                control(session, &rotation, "pause", &body).await
            }
            Self::Resume { rotation } => control(session, &rotation, "resume", &json!({})).await,
            Self::Cancel { rotation } => control(session, &rotation, "cancel", &json!({})).await,
        }
    }
}

async fn control(session: &Session, rotation: &str, verb: &str, body: &Value) -> Result<(), Failure> {
    let id = output::cell(find(session, rotation).await?.get("id"));
    let path = session.path(&["rotations", &id, verb]).await?;
    show(session, &session.client.post(&path, body).await?.value)
}

async fn find(session: &Session, rotation: &str) -> Result<Value, Failure> {
    let by_id = async { Ok(session.client.get(&session.path(&["rotations", rotation]).await?).await?.value) };
    if looks_like_id(rotation) {
        return by_id.await;
    }
    let mut rows = session.client.list(&session.path(&["rotations"]).await?, usize::MAX).await?;
    rows.retain(|row| row.get("name").and_then(Value::as_str) == Some(rotation));
    match rows.as_slice() {
        [one] => Ok(one.clone()),
        // The server's own refusal and exit code.
        [] => by_id.await,
        _ => Err(Failure::usage(format!("several rotations are called {rotation}: use the id"))),
    }
}

fn progress(rotation: &Value) -> String {
    let phase = rotation.get("phase").and_then(Value::as_u64).unwrap_or(0).saturating_add(1);
    let phases = rotation.get("phases").and_then(Value::as_array).map_or(0, Vec::len);
    format!("{phase}/{phases}")
}

/// One line about where it stands.
fn summary(rotation: &Value) -> String {
    let text = |at: &str| output::cell(rotation.pointer(at));
    let mut line = format!(
        "{} {} phase {}: {} of {} renewed, {} asked, {} waiting, {} failed",
        text("/name"),
        text("/state"),
        progress(rotation),
        text("/counts/renewed"),
        text("/target_count"),
        text("/counts/asked"),
        text("/counts/waiting"),
        text("/counts/failed"),
    );
    if let Some(reason) = rotation.pointer("/pause/text") {
        line.push_str(&format!(": {}", output::cell(Some(reason))));
    }
    line
}

fn show(session: &Session, rotation: &Value) -> Result<(), Failure> {
    match session.out {
        Format::Json => output::json(rotation),
        Format::Table => {
            output::line(&summary(rotation))?;
            output::line(&format!("id {}", output::cell(rotation.get("id"))))
        }
    }
}

/// Follows a rotation until nothing more will happen to it by itself; a line for each change.
async fn watch(session: &Session, id: &str, exit_status: bool) -> Result<(), Failure> {
    let path = session.path(&["rotations", id]).await?;
    let (mut patience, mut last) = (0, String::new());
    loop {
        let rotation = match session.client.get(&path).await {
            Ok(found) => found.value,
            // Once it was seen, a server that restarts is waited for.
            Err(failure @ (Failure::Unreachable { .. } | Failure::TimedOut(_))) if patience > 0 => {
                patience -= 1;
                output::note(&format!("{failure}"));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        patience = PATIENCE;
        let line = summary(&rotation);
        if session.out == Format::Table && line != last {
            output::line(&line)?;
        }
        last = line;
        let state = rotation.get("state").and_then(Value::as_str).unwrap_or_default();
        if matches!(state, "finished" | "canceled") || (exit_status && state == "paused") {
            if session.out == Format::Json {
                output::json(&rotation)?;
            }
            return if exit_status && state != "finished" { Err(Failure::Rollout(last)) } else { Ok(()) };
        }
        pause(std::time::Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    #[test]
    fn a_rotation_is_what_was_asked_for() {
        let words =
            "x spring --at-once --canary 2 --phase 100% --soak 5m --max-failure 20 --site berlin --step-timeout 2h";
        let line = Line::try_parse_from(words.split_whitespace()).expect("a command line");
        assert_eq!(
            line.create.body(),
            json!({
                "name": "spring",
                "at_once": true,
                "selector": { "site": "berlin" },
                "policy": {
                    "phases": [
                        { "target": { "count": 2 }, "soak_s": 300 },
                        { "target": { "percent": 100 } },
                    ],
                    "gates": { "max_failure_percent": 20 },
                    "timeout_s": 7200,
                },
            })
        );
    }

    #[test]
    fn one_line_says_where_it_stands_and_why() {
        let rotation = json!({
            "name": "spring", "state": "paused", "phase": 0, "phases": [{}, {}], "target_count": 10,
            "counts": { "waiting": 0, "asked": 1, "renewed": 2, "failed": 2, "canceled": 0 },
            "pause": { "text": "2 of 4 renewals failed" },
        });
        assert_eq!(
            summary(&rotation),
            "spring paused phase 1/2: 2 of 10 renewed, 1 asked, 0 waiting, 2 failed: 2 of 4 renewals failed"
        );
    }
}
