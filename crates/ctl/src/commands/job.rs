//! `wardctl job`

mod bars;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fleetward_base::Timestamp;
use serde_json::{Value, json};

use crate::client::pause;
use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};
use bars::{Live, count, text};

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("STATUS", "/status"),
    ("SELECTION", "/selection"),
    ("DESCRIPTION", "/description"),
    ("CREATED", "/created_at"),
    ("COMPLETED", "/completed_at"),
];
const EXECUTIONS: [Column; 7] = [
    ("DEVICE", "/device"),
    ("JOB", "/job"),
    ("NO", "/number"),
    ("STATUS", "/status"),
    ("UPDATED", "/updated_at"),
    ("DUE", "/due_at"),
    ("DETAIL", "/detail"),
];
/// How often in a row a followed job may be out of reach, each time for some four seconds of tries.
const PATIENCE: u32 = 15;

#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Give devices a document to work on
    Create(Box<Create>),
    #[command(visible_alias = "ls")]
    List {
        /// scheduled, in_progress, canceled, completed or deletion_in_progress
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Where it stands
    Show {
        job: String,
        /// Go on showing until it is at its end; exit with 8 where that is no success
        #[arg(long)]
        follow: bool,
    },
    /// The document, as it was given
    Document { job: String },
    /// What each device does
    Executions {
        /// Of this job
        #[arg(required_unless_present = "device")]
        job: Option<String>,
        /// Of this device instead, at all jobs
        #[arg(long, conflicts_with = "job")]
        device: Option<String>,
        /// queued, in_progress, succeeded, failed, timed_out, rejected, removed or canceled
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Change how it goes on
    Update {
        job: String,
        #[arg(long)]
        description: Option<String>,
        /// Executions a minute at most; 0 for no limit
        #[arg(long, value_name = "COUNT")]
        rate: Option<u32>,
        /// How long a device may be at it, from now on
        #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
        timeout: Option<u64>,
    },
    /// End it: what is queued is canceled
    Cancel {
        job: String,
        /// Only what this device is to do
        #[arg(long)]
        device: Option<String>,
        /// A sentence for the others
        #[arg(long, conflicts_with = "device")]
        comment: Option<String>,
        /// Also what is in progress
        #[arg(long)]
        force: bool,
    },
    /// What jobs have pending for a device, in its order
    Pending { device: String },
    /// Begin the next job of a device, in its place
    StartNext {
        device: String,
        /// What is said of it, as KEY=VALUE; may be given more than once
        #[arg(long = "detail", value_name = "KEY=VALUE", value_parser = pair)]
        detail: Vec<(String, String)>,
    },
    /// Say what became of a job, in its device's place
    Report {
        job: String,
        device: String,
        /// in_progress, succeeded, failed or rejected
        status: String,
        /// What is said of it, as KEY=VALUE; may be given more than once
        #[arg(long = "detail", value_name = "KEY=VALUE", value_parser = pair)]
        detail: Vec<(String, String)>,
    },
    /// Delete it with what devices did
    Delete {
        job: String,
        /// Also one that is under way
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is called: a-z, A-Z, 0-9, _ and -
    job: String,
    /// A file with a JSON object; nobody but the devices looks into it
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    #[arg(long)]
    description: Option<String>,
    /// Every device
    #[arg(long, conflicts_with_all = ["devices", "tags", "hardware", "site", "environment"])]
    all: bool,
    /// These devices
    #[arg(long = "device", value_delimiter = ',')]
    devices: Vec<String>,
    /// Devices with all of these tags
    #[arg(long = "tag", value_delimiter = ',')]
    tags: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    hardware: Vec<String>,
    #[arg(long)]
    environment: Option<String>,
    #[arg(long)]
    site: Option<String>,
    /// Also devices that come to be meant; it ends when it is canceled
    #[arg(long)]
    continuous: bool,
    /// Executions a minute at most
    #[arg(long, value_name = "COUNT")]
    rate: Option<u32>,
    /// How long a device may be at it
    #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
    timeout: Option<u64>,
    /// How often a device tries again when it failed or ran out of time
    #[arg(long, value_name = "COUNT")]
    retries: Option<u32>,
    /// Cancel when so many of the devices failed, in percent
    #[arg(long, value_name = "PERCENT")]
    abort_at: Option<f64>,
    /// But judge nothing on fewer devices than this
    #[arg(long, value_name = "COUNT", requires = "abort_at", default_value_t = 1)]
    abort_min: u32,
    /// When it begins: a moment such as 2026-11-28T03:00:00Z
    #[arg(long, value_name = "MOMENT")]
    start: Option<Timestamp>,
    /// When it hands out nothing more
    #[arg(long, value_name = "MOMENT")]
    end: Option<Timestamp>,
    /// What its end does besides: stop_rollout (nothing), cancel what is queued, or force_cancel everything
    #[arg(long, value_name = "HOW", requires = "end")]
    at_end: Option<String>,
    /// Show how far it is until it is at its end; exit with 8 where that is no success. As JSON the last word is shown alone
    #[arg(long, conflicts_with = "continuous")]
    wait: bool,
    /// A file with the whole policy, for schedules, windows and rates that grow
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "timeout", "retries", "abort_at", "start", "end"])]
    policy: Option<PathBuf>,
}

impl Create {
    fn body(&self, document: Value, policy: Option<Value>) -> Result<Value, Failure> {
        let list = |values: &[String]| (!values.is_empty()).then(|| json!(values));
        let selector = super::object([
            ("hardware", list(&self.hardware)),
            ("tags", list(&self.tags)),
            ("devices", list(&self.devices)),
            ("environment", self.environment.as_ref().map(|one| json!(one))),
            ("site", self.site.as_ref().map(|one| json!(one))),
        ]);
        if !self.all && selector.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Failure::usage(
                "say which devices: --device, --tag, --hardware, --site, --environment, or --all",
            ));
        }
        let minutes = self.timeout.map(minutes).transpose()?;
        let abort =
            |percent| json!([{ "failure": "all", "threshold_percent": percent, "minimum_executed": self.abort_min }]);
        let schedule = super::object([
            ("start_at_ms", self.start.map(|at| json!(at.millis()))),
            ("end_at_ms", self.end.map(|at| json!(at.millis()))),
            ("at_end", self.at_end.as_ref().map(|how| json!(how))),
        ]);
        let spelled = super::object([
            ("schedule", (self.start.is_some() || self.end.is_some()).then_some(schedule)),
            ("rate", self.rate.map(|rate| json!({ "maximum_per_minute": rate }))),
            ("timeout_minutes", minutes.map(|minutes| json!(minutes))),
            ("retry", self.retries.map(|retries| json!([{ "failure": "all", "retries": retries }]))),
            ("abort", self.abort_at.map(abort)),
        ]);
        Ok(super::object([
            ("id", Some(json!(self.job))),
            ("document", Some(document)),
            ("description", self.description.as_ref().map(|text| json!(text))),
            ("targets", Some(json!([selector]))),
            ("selection", Some(json!(if self.continuous { "continuous" } else { "snapshot" }))),
            ("policy", Some(policy.unwrap_or(spelled))),
        ]))
    }
}

/// Limits of jobs are whole minutes.
fn minutes(secs: u64) -> Result<u64, Failure> {
    if secs > 0 && secs.is_multiple_of(60) {
        return Ok(secs / 60);
    }
    Err(Failure::usage("a time limit is of whole minutes, such as 30m"))
}

fn object_of(file: &std::path::Path) -> Result<Value, Failure> {
    let text = super::text_file(file)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())))?;
    if value.is_object() { Ok(value) } else { Err(Failure::usage(format!("{} is no JSON object", file.display()))) }
}

impl Job {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create(create) => {
                let policy = create.policy.as_deref().map(object_of).transpose()?;
                let body = create.body(object_of(&create.document)?, policy)?;
                let made = client.post(&session.path(&["jobs"]).await?, &body).await?.value;
                if create.wait {
                    return follow(session, &create.job, &Live::new(session.out, false)).await;
                }
                show(session, &made)
            }
            Self::List { status, limit } => {
                let path = session.path(&["jobs"]).await? + &query(&[("status", status.as_deref())]);
                session.out.rows(&client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { job, follow: true } => follow(session, &job, &Live::new(session.out, true)).await,
            Self::Show { job, follow: false } => {
                show(session, &client.get(&session.path(&["jobs", &job]).await?).await?.value)
            }
            Self::Document { job } => {
                let path = session.path(&["jobs", &job, "document"]).await?;
                output::json(&client.get(&path).await?.value)
            }
            Self::Executions { job, device, status, limit } => {
                let path = match (&job, &device) {
                    (_, Some(device)) => session.path(&["devices", device, "jobs"]).await?,
                    (job, None) => session.path(&["jobs", job.as_deref().unwrap_or_default(), "executions"]).await?,
                };
                let path = path + &query(&[("status", status.as_deref())]);
                session.out.rows(&client.list(&path, limit).await?, &EXECUTIONS)
            }
            Self::Update { job, description, rate, timeout } => {
                let rate = rate.map(|rate| if rate == 0 { Value::Null } else { json!({ "maximum_per_minute": rate }) });
                let body = super::object([
                    ("description", description.map(|text| json!(text))),
                    ("rate", rate),
                    ("timeout_minutes", timeout.map(minutes).transpose()?.map(|minutes| json!(minutes))),
                ]);
                let path = session.path(&["jobs", &job]).await?;
                show(session, &client.patch(&path, "*", &body).await?.value)
            }
            Self::Cancel { job, device: Some(device), force, .. } => {
                let path = session.path(&["jobs", &job, "executions", &device, "cancel"]).await?;
                session.out.one(&client.post(&path, &json!({ "force": force })).await?.value)
            }
            Self::Cancel { job, device: None, comment, force } => {
                let body = super::object([("comment", comment.map(|text| json!(text))), ("force", Some(json!(force)))]);
                show(session, &client.post(&session.path(&["jobs", &job, "cancel"]).await?, &body).await?.value)
            }
            Self::Pending { device } => {
                let found = client.get(&session.path(&["devices", &device, "pending-jobs"]).await?).await?.value;
                let items = found.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                session.out.rows(&items, &EXECUTIONS)
            }
            Self::StartNext { device, detail } => {
                let path = session.path(&["devices", &device, "pending-jobs", "start-next"]).await?;
                let body = super::object([("detail", said(detail))]);
                session.out.one(&client.post(&path, &body).await?.value)
            }
            Self::Report { job, device, status, detail } => {
                let path = session.path(&["jobs", &job, "executions", &device, "report"]).await?;
                let body = super::object([("status", Some(json!(status))), ("detail", said(detail))]);
                session.out.one(&client.post(&path, &body).await?.value)
            }
            Self::Delete { job, force } => {
                let path = session.path(&["jobs", &job]).await? + &query(&[("force", force.then_some("true"))]);
                client.delete(&path, Some("*")).await?;
                session.out.done(&format!("{job} goes, with what devices did"))
            }
        }
    }
}

/// Nothing where nothing was said: what was said before stays then.
fn said(detail: Vec<(String, String)>) -> Option<Value> {
    let fields: serde_json::Map<_, _> = detail.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn show(session: &Session, job: &Value) -> Result<(), Failure> {
    match session.out {
        Format::Json => output::json(job),
        Format::Table => output::line(text(job).trim_end()),
    }
}

/// Follows a job until nothing more will happen to it by itself.
async fn follow(session: &Session, job: &str, live: &Live) -> Result<(), Failure> {
    let path = session.path(&["jobs", job]).await?;
    let mut patience = 0;
    loop {
        let found = match session.client.get(&path).await {
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
        live.show(&found)?;
        let status = found.get("status").and_then(Value::as_str).unwrap_or_default();
        let working = count(&found, "in_progress") > 0;
        match status {
            "completed" => {
                live.end(&found)?;
                return ended(&found);
            }
            "canceled" if !working => {
                live.end(&found)?;
                return Err(Failure::Rollout(format!("the job is {status}")));
            }
            _ => pause(Duration::from_secs(1)).await,
        }
    }
}

/// A job is completed whatever its devices made of it.
fn ended(job: &Value) -> Result<(), Failure> {
    let bad: u64 = ["failed", "timed_out", "rejected"].iter().map(|status| count(job, status)).sum();
    match bad {
        0 => Ok(()),
        bad => Err(Failure::Rollout(format!("the job is completed, and {bad} devices did not succeed"))),
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

    fn body(line: &str) -> Result<Value, Failure> {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).expect("a command line");
        line.create.body(json!({ "operation": "reboot" }), None)
    }

    #[test]
    fn a_job_is_what_was_asked_for() {
        let line =
            "reboot --document f --tag eu,beta --rate 100 --timeout 30m --retries 2 --abort-at 12.5 --abort-min 20";
        let expected = json!({
            "id": "reboot",
            "document": { "operation": "reboot" },
            "targets": [{ "tags": ["eu", "beta"] }],
            "selection": "snapshot",
            "policy": {
                "rate": { "maximum_per_minute": 100 },
                "timeout_minutes": 30,
                "retry": [{ "failure": "all", "retries": 2 }],
                "abort": [{ "failure": "all", "threshold_percent": 12.5, "minimum_executed": 20 }],
            },
        });
        assert_eq!(body(line).expect("good"), expected);
        assert_eq!(body("x --document f --all --continuous").expect("good")["targets"], json!([{}]));
        let timed =
            body("x --document f --all --start 2026-11-28T03:00:00Z --end 2026-11-28T04:00:00+01:00 --at-end cancel");
        let schedule =
            json!({ "start_at_ms": 1_795_834_800_000_i64, "end_at_ms": 1_795_834_800_000_i64, "at_end": "cancel" });
        assert_eq!(timed.expect("good")["policy"]["schedule"], schedule);
        assert!(body("x --document f").is_err(), "nobody is not everybody");
        assert!(body("x --document f --all --timeout 90s").is_err(), "not whole minutes");
    }
}
