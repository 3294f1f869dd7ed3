//! `wardctl device`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::watch;
use crate::client::Tagged;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::session::{Session, query};

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("PRESENCE", "/presence"),
    ("FIRMWARE", "/firmware"),
    ("HARDWARE", "/hardware"),
    ("LAST SEEN", "/last_seen"),
    ("TAGS", "/tags"),
];
/// How often a change is tried again when somebody else was quicker.
const TRIES: usize = 5;

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    #[command(visible_alias = "ls")]
    List(List),
    Show {
        name: String,
    },
    /// Look for devices by a question: `wardctl device search 'site:berlin AND NOT tag:beta'`
    Search {
        question: String,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Add up the values of a field: `wardctl device stats firmware 'site:berlin'`
    Stats {
        /// As in a question: site, firmware, attributes.watts
        field: String,
        /// Over which devices; all if not given
        question: Option<String>,
        /// How many of the values that most devices have
        #[arg(long, default_value_t = 10)]
        values: usize,
    },
    /// Register a device before it enrols
    Create {
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Change fields of the record; an empty text clears one
    Set {
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Add and remove tags: `wardctl device tag gw-1 beta --remove old`
    Tag {
        name: String,
        #[arg(value_name = "TAG", required_unless_present = "remove")]
        tags: Vec<String>,
        #[arg(long, value_name = "TAG", value_delimiter = ',')]
        remove: Vec<String>,
    },
    /// Ask for a new certificate now
    Renew {
        #[command(flatten)]
        names: Names,
        /// Why, for the history and the device's log
        #[arg(long, default_value = "")]
        reason: String,
        /// The old certificate ends with the first use of the new one
        #[arg(long)]
        at_once: bool,
    },
    /// Revoke every certificate and end the session now; a new enrolment token brings the device back
    Revoke(Names),
    /// Keep out until resumed; its certificates are revoked
    Suspend(Names),
    /// Out of quarantine, suspension or loss
    Resume(Names),
    /// Keep out until somebody has looked at it; its certificate stays
    Quarantine(Names),
    /// Reported lost or stolen; its certificates are revoked
    Lost(Names),
    /// End its life for good; the record stays
    Decommission(Names),
    /// Take the record of a decommissioned device away; its history stays
    Delete(Names),
    /// Decentralised identifiers whose keys it holds
    #[command(subcommand)]
    Did(super::did::Did),
    /// What is known of it from its making
    Provenance {
        name: String,
    },
    /// Certificates that were issued to it
    Certificates {
        name: String,
    },
    /// Its time line, as it goes on
    Watch {
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    #[arg(required = true, value_name = "DEVICE")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// manufactured, claimed, active, quarantined, suspended, lost or decommissioned
    #[arg(long)]
    status: Option<String>,
    /// online or offline
    #[arg(long)]
    presence: Option<String>,
    #[arg(long)]
    hardware: Option<String>,
    #[arg(long)]
    firmware: Option<String>,
    #[arg(long)]
    tag: Option<String>,
    /// Names that begin so
    #[arg(long)]
    prefix: Option<String>,
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// Again every two seconds
    #[arg(long, short)]
    watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// sensor, gateway or endpoint
    #[arg(long)]
    class: Option<String>,
    #[arg(long)]
    hardware: Option<String>,
    #[arg(long)]
    owner: Option<String>,
    #[arg(long)]
    environment: Option<String>,
    #[arg(long)]
    site: Option<String>,
    #[arg(long)]
    location: Option<String>,
    /// The gateway that it stands behind
    #[arg(long)]
    parent: Option<String>,
    /// The broker that it is told to use
    #[arg(long)]
    endpoint: Option<String>,
    /// Expected sign of life: seconds, or with s, m, h or d
    #[arg(long, value_parser = super::seconds)]
    heartbeat: Option<u64>,
    /// KEY=VALUE, as often as needed; JSON numbers and booleans keep their type; `KEY=` takes it out
    #[arg(long = "attribute", value_name = "KEY=VALUE")]
    attributes: Vec<String>,
}

impl Fields {
    fn body(self) -> Result<Value, Failure> {
        // An empty text clears a field that may be absent.
        let optional = |text: Option<String>| text.map(|text| if text.is_empty() { Value::Null } else { json!(text) });
        let mut attributes = serde_json::Map::new();
        for pair in &self.attributes {
            let (key, text) = pair.split_once('=').ok_or_else(|| Failure::usage(format!("{pair}: not KEY=VALUE")))?;
            attributes.insert(key.to_owned(), scalar(text));
        }
        Ok(super::object([
            ("class", self.class.map(|class| json!(class))),
            ("hardware", self.hardware.map(|hardware| json!(hardware))),
            ("owner", optional(self.owner)),
            ("environment", optional(self.environment)),
            ("site", optional(self.site)),
            ("location", optional(self.location)),
            ("parent", optional(self.parent)),
            ("endpoint", optional(self.endpoint)),
            ("heartbeat_s", self.heartbeat.map(|secs| if secs == 0 { Value::Null } else { json!(secs) })),
            ("attributes", (!attributes.is_empty()).then_some(Value::Object(attributes))),
        ]))
    }
}

fn scalar(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => json!(text),
    }
}

impl Device {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(list) => watch::repeat(list.watch, || list.show(session)).await,
            Self::Show { name } => session.out.one(&read(session, &name).await?.value),
            Self::Search { question, limit } => {
                let path = session.path(&["device-search"]).await? + &query(&[("q", Some(question.as_str()))]);
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Stats { field, question, values } => {
                let values = values.to_string();
                let asked =
                    query(&[("field", Some(field.as_str())), ("q", question.as_deref()), ("values", Some(&values))]);
                let path = session.path(&["device-statistics"]).await? + &asked;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Create { name, fields } => {
                let mut body = fields.body()?;
                super::put(&mut body, "name", json!(name));
                session.out.one(&session.client.post(&session.path(&["devices"]).await?, &body).await?.value)
            }
            Self::Set { name, fields } => {
                let body = fields.body()?;
                if body.as_object().is_some_and(serde_json::Map::is_empty) {
                    return Err(Failure::usage("say what to set, e.g. --owner NAME"));
                }
                session.out.one(&amend(session, &name, |_| Ok(body.clone())).await?)
            }
            Self::Tag { name, tags, remove } => {
                session.out.one(&amend(session, &name, |device| Ok(tagged(device, &tags, &remove))).await?)
            }
            Self::Renew { names, reason, at_once } => {
                names.each(session, "renew", json!({ "reason": reason, "at_once": at_once })).await
            }
            Self::Revoke(names) => names.each(session, "revoke", json!({})).await,
            Self::Suspend(names) => names.transition(session, "suspend").await,
            Self::Resume(names) => names.transition(session, "reinstate").await,
            Self::Quarantine(names) => names.transition(session, "quarantine").await,
            Self::Lost(names) => names.transition(session, "report_lost").await,
            Self::Decommission(names) => names.transition(session, "decommission").await,
            Self::Delete(names) => names.delete(session).await,
            Self::Did(verb) => verb.run(session).await,
            Self::Provenance { name } => {
                let path = session.path(&["devices", &name, "provenance"]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Certificates { name } => {
                let path = session.path(&["devices", &name, "certificates"]).await?;
                let columns: [Column; 5] = [
                    ("SERIAL", "/serial"),
                    ("STATUS", "/status"),
                    ("ISSUED", "/issued_at"),
                    ("NOT AFTER", "/not_after"),
                    ("REASON", "/reason"),
                ];
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &columns)
            }
            Self::Watch { name } => super::event::watch(session, Some(&name)).await,
        }
    }
}

async fn read(session: &Session, name: &str) -> Result<Tagged, Failure> {
    session.client.get(&session.path(&["devices", name]).await?).await
}

/// Reads, changes and writes; again from the start when somebody else wrote in between.
async fn amend(
    session: &Session,
    name: &str,
    change: impl Fn(&Value) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let path = session.path(&["devices", name]).await?;
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let found = session.client.get(&path).await?;
        let etag = found.etag.unwrap_or_default();
        match session.client.patch(&path, &etag, &change(&found.value)?).await {
            Err(failure) if failure.is_stale() && tries > 0 => {}
            other => return Ok(other?.value),
        }
    }
}

fn tagged(device: &Value, add: &[String], remove: &[String]) -> Value {
    let mut tags: std::collections::BTreeSet<String> = device
        .get("tags")
        .and_then(Value::as_array)
        .map(|tags| tags.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    tags.extend(add.iter().cloned());
    tags.retain(|tag| !remove.contains(tag));
    json!({ "tags": tags })
}

impl List {
    async fn show(&self, session: &Session) -> Result<(), Failure> {
        let filter = query(&[
            ("status", self.status.as_deref()),
            ("presence", self.presence.as_deref()),
            ("hardware", self.hardware.as_deref()),
            ("firmware", self.firmware.as_deref()),
            ("tag", self.tag.as_deref()),
            ("prefix", self.prefix.as_deref()),
        ]);
        let path = session.path(&["devices"]).await? + &filter;
        session.out.rows(&session.client.list(&path, self.limit).await?, &COLUMNS)
    }
}

impl Names {
    async fn transition(self, session: &Session, transition: &str) -> Result<(), Failure> {
        self.each(session, "status", json!({ "transition": transition })).await
    }

    /// Posts to each; one device answers with itself, several with a table.
    async fn each(self, session: &Session, verb: &str, body: Value) -> Result<(), Failure> {
        if let [name] = self.names.as_slice() {
            let path = session.path(&["devices", name, verb]).await?;
            return session.out.one(&session.client.post(&path, &body).await?.value);
        }
        let mut done = Vec::new();
        for name in &self.names {
            let path = session.path(&["devices", name, verb]).await?;
            match session.client.post(&path, &body).await {
                Ok(answer) => done.push(answer.value),
                Err(failure) => output::note(&format!("{name}: {failure}")),
            }
        }
        session.out.rows(&done, &COLUMNS)?;
        partial(done.len(), self.names.len())
    }

    async fn delete(self, session: &Session) -> Result<(), Failure> {
        let mut done = 0;
        for name in &self.names {
            let path = session.path(&["devices", name]).await?;
            match session.client.delete(&path, Some("*")).await {
                Ok(_) => {
                    done += 1;
                    session.out.done(&format!("{name} deleted"))?;
                }
                Err(failure) if self.names.len() == 1 => return Err(failure),
                Err(failure) => output::note(&format!("{name}: {failure}")),
            }
        }
        partial(done, self.names.len())
    }
}

fn partial(done: usize, all: usize) -> Result<(), Failure> {
    if done == all { Ok(()) } else { Err(Failure::Partial { failed: all - done, all }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_and_go() {
        let device = json!({ "tags": ["old", "keep"] });
        let changed = tagged(&device, &["beta".into(), "eu".into()], &["old".into()]);
        assert_eq!(changed, json!({ "tags": ["beta", "eu", "keep"] }));
    }

    #[test]
    fn attributes_keep_their_type() {
        for (text, value) in [("1.5", json!(1.5)), ("true", json!(true)), ("x", json!("x")), ("[1]", json!("[1]"))] {
            assert_eq!(scalar(text), value);
        }
        assert_eq!(scalar(""), Value::Null);
    }
}
