//! `wardctl rollout`

mod bars;

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::pause;
use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 8] = [
    ("NAME", "/name"),
    ("RELEASE", "/title"),
    ("STATE", "/state"),
    ("PHASE", "/progress"),
    ("DEVICES", "/target_count"),
    ("SUCCEEDED", "/counts/succeeded"),
    ("FAILED", "/counts/failed"),
    ("ID", "/id"),
];
const DEPLOYMENTS: [Column; 8] = [
    ("DEVICE", "/device"),
    ("KIND", "/kind"),
    ("PHASE", "/phase"),
    ("STATUS", "/status"),
    ("STEP", "/step"),
    ("HARDWARE", "/hardware"),
    ("UPDATED", "/updated_at"),
    ("DETAIL", "/detail"),
];

/// How often in a row a watched rollout may be out of reach, each time for some four seconds of tries.
const PATIENCE: u32 = 15;

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Begin a staged update
    Create(Create),
    /// Say what `create` would do, and do nothing
    Plan(Create),
    #[command(visible_alias = "ls")]
    List {
        /// running, paused, rolling_back, rolled_back, canceled or finished
        #[arg(long)]
        state: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// By id, or by name where only one has it
    Show { rollout: String },
    /// Follow it to its end
    Watch {
        rollout: String,
        /// Exit with 8 when it pauses, is canceled or rolls back
        #[arg(long)]
        exit_status: bool,
        /// Give up after this: seconds, or with s, m, h or d
        #[arg(long, value_parser = super::seconds)]
        give_up_after: Option<u64>,
    },
    /// What each device does
    Deployments {
        rollout: String,
        /// queued, in_progress, succeeded, failed, rejected, timed_out or canceled
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Hand out nothing more until resumed
    Pause {
        rollout: String,
        /// Why, for the others
        #[arg(long)]
        note: Option<String>,
    },
    /// Go on; what failed so far no longer counts against it
    Resume { rollout: String },
    /// End it; devices that have the update keep it
    Cancel { rollout: String },
    /// Take devices that have the update back to what they ran before
    Rollback { rollout: String },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// NAME@VERSION, or the release's id
    #[arg(long)]
    release: String,
    /// What people call it; otherwise NAME@VERSION
    #[arg(long)]
    name: Option<String>,
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
    /// Pause when more of the finished updates than this failed, in percent
    #[arg(long, value_name = "PERCENT")]
    max_failure: Option<u8>,
    /// Pause when more of the devices that began than this fell silent, in percent
    #[arg(long, value_name = "PERCENT")]
    max_silent: Option<u8>,
    /// A device without a sign of life for this long has fallen silent
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    silent_after: Option<u64>,
    /// Judge nothing on fewer finished updates than this
    #[arg(long, value_name = "COUNT")]
    min_finished: Option<u32>,
    /// How long a phase must look good before the next begins
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    soak: Option<u64>,
    /// An update that takes longer has failed
    #[arg(long = "step-timeout", value_parser = super::seconds, value_name = "SPAN")]
    timeout_s: Option<u64>,
}

/// How far a phase goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Count(u32),
    Percent(u8),
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| "must be a count such as 10 or a percentage such as 5%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent).map_err(bad),
            None => text.parse().map(Self::Count).map_err(bad),
        }
    }
}

impl Target {
    fn body(self, soak_s: Option<u64>) -> Value {
        let target = match self {
            Self::Count(count) => json!({ "count": count }),
            Self::Percent(percent) => json!({ "percent": percent }),
        };
        super::object([("target", Some(target)), ("soak_s", soak_s.map(|soak| json!(soak)))])
    }

    const fn is_all(self) -> bool {
        matches!(self, Self::Percent(100))
    }
}

impl Create {
    /// The body of the request. `release` is the release as the server knows it.
    fn body(&self, release: &Value) -> Value {
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
            ("max_silent_percent", self.max_silent.map(|percent| json!(percent))),
            ("silent_after_s", self.silent_after.map(|span| json!(span))),
            ("min_finished", self.min_finished.map(|count| json!(count))),
        ]);
        let policy = super::object([
            ("phases", Some(json!(phases(self.canary, &self.phases, self.soak)))),
            ("gates", Some(gates)),
            ("timeout_s", self.timeout_s.map(|span| json!(span))),
        ]);
        super::object([
            ("name", Some(json!(self.title(release)))),
            ("release", release.get("id").cloned()),
            ("selector", Some(selector)),
            ("policy", Some(policy)),
        ])
    }

    /// What people call it. By this name it can be watched at once.
    fn title(&self, release: &Value) -> String {
        let text = |key: &str| output::cell(release.get(key));
        self.name.clone().unwrap_or_else(|| format!("{}@{}", text("name"), text("version")))
    }
}

/// The phases of a policy: the canary, then those that were given, or the usual ones.
pub(super) fn phases(canary: Option<u32>, given: &[Target], soak: Option<u64>) -> Vec<Value> {
    let mut targets: Vec<Target> = canary.map(Target::Count).into_iter().collect();
    match given {
        [] => targets.extend([5, 25, 50, 100].map(Target::Percent)),
        given => targets.extend(given),
    }
    // The soak of the last phase would only delay the word "finished".
    let last = targets.len().saturating_sub(1);
    let soak = |at: usize, target: Target| soak.filter(|_| at != last || !target.is_all());
    targets.iter().enumerate().map(|(at, target)| target.body(soak(at, *target))).collect()
}

impl Rollout {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create(create) => {
                let release = super::release::find(session, &create.release).await?;
                let path = session.path(&["rollouts"]).await?;
                show(session, &client.post(&path, &create.body(&release)).await?.value)
            }
            Self::Plan(create) => {
                let release = super::release::find(session, &create.release).await?;
                let path = session.path(&["rollouts", "plan"]).await?;
                session.out.one(&client.post(&path, &create.body(&release)).await?.value)
            }
            Self::List { state, limit } => {
                let path = session.path(&["rollouts"]).await? + &query(&[("state", state.as_deref())]);
                let mut rows = client.list(&path, limit).await?;
                if session.out == Format::Table {
                    rows.iter_mut().for_each(summarize);
                }
                session.out.rows(&rows, &COLUMNS)
            }
            Self::Show { rollout } => show(session, &find(session, &rollout).await?),
            Self::Watch { rollout, exit_status, give_up_after } => {
                let id = id_of(session, &rollout).await?;
                let watched = watch(session, &id, exit_status);
                match give_up_after {
                    None => watched.await,
                    Some(secs) => tokio::time::timeout(std::time::Duration::from_secs(secs), watched)
                        .await
                        .unwrap_or_else(|_| Err(Failure::TimedOut(format!("not at its end after {secs} s")))),
                }
            }
            Self::Deployments { rollout, status, limit } => {
                let id = id_of(session, &rollout).await?;
                let path = session.path(&["rollouts", &id, "deployments"]).await?;
                let path = path + &query(&[("status", status.as_deref())]);
                session.out.rows(&client.list(&path, limit).await?, &DEPLOYMENTS)
            }
            Self::Pause { rollout, note } => {
                let body = super::object([("note", note.map(|note| json!(note)))]);
                control(session, &rollout, "pause", &body).await
            }
            Self::Resume { rollout } => control(session, &rollout, "resume", &json!({})).await,
            Self::Cancel { rollout } => control(session, &rollout, "cancel", &json!({})).await,
            Self::Rollback { rollout } => control(session, &rollout, "rollback", &json!({})).await,
        }
    }
}

async fn control(session: &Session, rollout: &str, verb: &str, body: &Value) -> Result<(), Failure> {
    let id = id_of(session, rollout).await?;
    let path = session.path(&["rollouts", &id, verb]).await?;
    show(session, &session.client.post(&path, body).await?.value)
}

pub(super) fn looks_like_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4
}

pub(super) async fn id_of(session: &Session, rollout: &str) -> Result<String, Failure> {
    if looks_like_id(rollout) {
        return Ok(rollout.to_owned());
    }
    let found = find(session, rollout).await?;
    Ok(output::cell(found.get("id")))
}

async fn find(session: &Session, rollout: &str) -> Result<Value, Failure> {
    if looks_like_id(rollout) {
        return Ok(session.client.get(&session.path(&["rollouts", rollout]).await?).await?.value);
    }
    let mut rows = session.client.list(&session.path(&["rollouts"]).await?, usize::MAX).await?;
    rows.retain(|row| row.get("name").and_then(Value::as_str) == Some(rollout));
    match rows.as_slice() {
        [one] => Ok(one.clone()),
        // The server's own refusal and exit code.
        [] => Ok(session.client.get(&session.path(&["rollouts", rollout]).await?).await?.value),
        _ => Err(Failure::usage(format!("several rollouts are called {rollout}: use the id"))),
    }
}

fn summarize(rollout: &mut Value) {
    let text = |value: &Value, at: &str| output::cell(value.pointer(at));
    let release = format!("{}@{}", text(rollout, "/release/name"), text(rollout, "/release/version"));
    let phase = rollout.get("phase").and_then(Value::as_u64).unwrap_or(0).saturating_add(1);
    let phases = rollout.pointer("/policy/phases").and_then(Value::as_array).map_or(0, Vec::len);
    super::put(rollout, "title", json!(release));
    super::put(rollout, "progress", json!(format!("{phase}/{phases}")));
}

fn show(session: &Session, rollout: &Value) -> Result<(), Failure> {
    match session.out {
        Format::Json => output::json(rollout),
        Format::Table => output::line(bars::text(rollout).trim_end()),
    }
}

/// Follows a rollout until nothing more will happen to it by itself.
async fn watch(session: &Session, id: &str, exit_status: bool) -> Result<(), Failure> {
    let path = session.path(&["rollouts", id]).await?;
    let live = bars::Live::new(session.out);
    let mut patience = 0;
    loop {
        let rollout = match session.client.get(&path).await {
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
        live.show(&rollout)?;
        let state = rollout.get("state").and_then(Value::as_str).unwrap_or_default();
        let ended = matches!(state, "finished" | "canceled" | "rolled_back");
        if ended || (exit_status && state == "paused") {
            live.end(&rollout)?;
            return match state {
                "finished" => Ok(()),
                _ if exit_status => Err(Failure::Rollout(bars::standing(&rollout))),
                _ => Ok(()),
            };
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

    fn body(line: &str) -> Value {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).expect("a command line");
        line.create.body(&json!({ "id": "R", "name": "os", "version": "2.0" }))
    }

    #[test]
    fn phases_are_what_was_asked_for() {
        let body = body("--release a@1 --canary 3 --phase 10%,100% --soak 5m --max-failure 20 --hardware b,a --tag eu");
        assert_eq!(
            body,
            json!({
                "name": "os@2.0",
                "release": "R",
                "selector": { "hardware": ["b", "a"], "tags": ["eu"] },
                "policy": {
                    "phases": [
                        { "target": { "count": 3 }, "soak_s": 300 },
                        { "target": { "percent": 10 }, "soak_s": 300 },
                        { "target": { "percent": 100 } },
                    ],
                    "gates": { "max_failure_percent": 20 },
                },
            })
        );
    }

    #[test]
    fn without_phases_it_goes_to_everybody_in_four_steps() {
        let phases = body("--release a@1")["policy"]["phases"].clone();
        let percents: Vec<u64> =
            phases.as_array().expect("a list").iter().filter_map(|phase| phase["target"]["percent"].as_u64()).collect();
        assert_eq!(percents, [5, 25, 50, 100]);
    }

    #[test]
    fn targets() {
        assert_eq!("5%".parse(), Ok(Target::Percent(5)));
        assert_eq!("10".parse(), Ok(Target::Count(10)));
        assert!("ten".parse::<Target>().is_err() && "300%".parse::<Target>().is_err());
    }
}
