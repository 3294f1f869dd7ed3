//! The shadow seen from the device: what is wanted is applied, kept, and only then reported.
//!
//! No I/O. A delta message is only a signal: the whole document is fetched and compared, so that a message lost, doubled or
//! out of order changes nothing. The order is always fetch, apply, persist, report (state design, §4); `reported._meta` says
//! which version was applied by which start of the agent, and `reported._errors` which keys could not be applied, and why.

use std::collections::BTreeMap;

use fleetward_wire::aws::topic::{self, ShadowOp, ShadowPart, Topic, What};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::disk::{self, Disk};
use crate::mqtt::Message;

/// Where what was applied is kept, beneath the data folder.
pub const FILE: &str = "configuration";
/// Keys that are the agent's own and cannot be wanted: of `reported`, and a handler that runs for nobody who wishes it.
const OWN: [&str; 4] = ["firmware", "_meta", "_errors", crate::handlers::WIPE];
/// Characters of an error that is reported; the whole state may have 8 KiB.
const ERROR_CHARS: usize = 160;
/// Ticks after which a fetch is given up and repeated.
const TICKS_PATIENCE: u32 = 4;

/// What was applied, as it is kept on the disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The shadow's version that was fetched for it.
    pub version: u64,
    pub values: Map<String, Value>,
    /// Keys that could not be applied, and why.
    pub errors: BTreeMap<String, String>,
    /// What was applied was taken away since, whatever the server has as reported: all that is wanted is applied anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl Applied {
    /// Reads what was kept; what cannot be read counts as nothing, since all of it is wanted again.
    ///
    /// # Errors
    /// What the disk says.
    pub fn load(disk: &dyn Disk) -> std::io::Result<Self> {
        Ok(disk.read(FILE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// For a device whose configuration was taken away, and that stays all the same.
    pub fn lost() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// # Errors
    /// What the disk says; the old one is still there then.
    pub fn save(&self, disk: &dyn Disk) -> std::io::Result<()> {
        disk::replace(disk, FILE, &serde_json::to_vec(self).expect("JSON values are always JSON"))
    }
}

/// One key to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: String,
    pub value: Value,
}

/// What a message leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Send this.
    Send(Message),
    /// Apply these, in this order, and come back with [`Shadow::applied`]; there may be none.
    Apply(Vec<Change>),
    Nothing,
}

/// The conversation about the shadow.
#[derive(Debug)]
pub struct Shadow {
    thing: String,
    boot_id: String,
    applied: Applied,
    /// What the server has as reported, as far as is known.
    reported: Map<String, Value>,
    /// Values that failed in this session; they are not tried again before the next one or another value.
    failed: BTreeMap<String, Value>,
    /// A fetch is under way, for how many ticks.
    fetching: Option<u32>,
    applying: bool,
    /// News came while a fetch or its application was under way.
    again: bool,
    version: u64,
}

impl Shadow {
    pub fn new(thing: &str, boot_id: String, applied: Applied) -> Self {
        Self {
            thing: thing.to_owned(),
            boot_id,
            applied,
            reported: Map::new(),
            failed: BTreeMap::new(),
            fetching: None,
            applying: false,
            again: false,
            version: 0,
        }
    }

    pub const fn state(&self) -> &Applied {
        &self.applied
    }

    /// Filters to subscribe to.
    pub fn filters(thing: &str) -> Vec<String> {
        let parts = [
            ShadowPart::Accepted(ShadowOp::Get),
            ShadowPart::Rejected(ShadowOp::Get),
            ShadowPart::Rejected(ShadowOp::Update),
            ShadowPart::Delta,
        ];
        parts.into_iter().map(|part| Topic::shadow(thing, None, part).to_string()).collect()
    }

    /// A session began: the whole document is fetched.
    /// What the last session began to apply is waited for first.
    pub fn session_began(&mut self) -> Option<Message> {
        self.failed.clear();
        self.again = self.applying;
        self.fetching = None;
        (!self.applying).then(|| self.fetch())
    }

    /// Some seconds have passed.
    pub fn tick(&mut self) -> Option<Message> {
        let ticks = self.fetching.as_mut()?;
        *ticks += 1;
        (*ticks >= TICKS_PATIENCE).then(|| self.fetch())
    }

    fn fetch(&mut self) -> Message {
        self.fetching = Some(0);
        self.message(ShadowOp::Get, json!({}))
    }

    fn message(&self, op: ShadowOp, body: Value) -> Message {
        let topic = Topic::shadow(&self.thing, None, ShadowPart::Request(op)).to_string();
        Message::new(topic, body.to_string().into_bytes())
    }

    /// Takes a message of the shadow service; of others it knows nothing.
    pub fn hear(&mut self, message: &Message) -> Heard {
        let Some(Topic { what: What::Shadow { name: None, part }, .. }) = topic::parse(&message.topic) else {
            return Heard::Nothing;
        };
        match part {
            ShadowPart::Delta if self.fetching.is_some() || self.applying => {
                self.again = true;
                Heard::Nothing
            }
            ShadowPart::Delta => Heard::Send(self.fetch()),
            ShadowPart::Accepted(ShadowOp::Get) => self.fetched(&message.payload),
            // No shadow yet: it comes to be with the first report. Any other refusal is asked again by the tick.
            ShadowPart::Rejected(ShadowOp::Get) if code(&message.payload) == Some(404) => self.fetched(b"{}"),
            ShadowPart::Rejected(ShadowOp::Update) => {
                let text: String = String::from_utf8_lossy(&message.payload).chars().take(200).collect();
                tracing::warn!(answer = %text, "the server rejected a shadow report");
                Heard::Nothing
            }
            _ => Heard::Nothing,
        }
    }

    fn fetched(&mut self, payload: &[u8]) -> Heard {
        if self.fetching.take().is_none() {
            return Heard::Nothing;
        }
        let document: Value = serde_json::from_slice(payload).unwrap_or_default();
        let section = |name: &str| {
            document.pointer(&format!("/state/{name}")).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let desired = section("desired");
        self.reported = section("reported");
        self.version = document.get("version").and_then(Value::as_u64).unwrap_or(0);
        let (reported, lost) = (&self.reported, self.applied.lost);
        // What is wanted no more, or has been reached otherwise, is no error any more.
        self.applied.errors.retain(|key, _| desired.get(key).is_some_and(|value| reported.get(key) != Some(value)));
        let differs = |(key, value): &(String, Value)| lost || reported.get(key) != Some(value);
        let changes = desired.into_iter().filter(differs);
        let changes: Vec<Change> = changes
            .filter(|(key, value)| self.failed.get(key) != Some(value))
            .map(|(key, value)| Change { key, value })
            .collect();
        self.applying = true;
        Heard::Apply(changes)
    }

    /// The changes were tried, with these results. Gives what is to be kept on the disk; the report follows once it is.
    pub fn applied(&mut self, results: Vec<(Change, Result<(), String>)>) -> &Applied {
        for (Change { key, value }, result) in results {
            match result {
                Ok(()) => {
                    self.failed.remove(&key);
                    self.applied.errors.remove(&key);
                    self.applied.values.insert(key, value);
                }
                Err(reason) => {
                    let reason = reason.chars().filter(|c| !c.is_control()).take(ERROR_CHARS).collect();
                    self.applied.errors.insert(key.clone(), reason);
                    self.failed.insert(key, value);
                }
            }
        }
        self.applied.version = self.version;
        self.applied.lost = false;
        &self.applied
    }

    /// What was applied could not be kept: it is not reported, and wanted again on the next news.
    pub fn not_kept(&mut self) {
        self.applying = false;
    }

    /// What the server is to be told now that it is kept, and the next fetch where there was news meanwhile.
    pub fn report(&mut self, firmware: &str) -> Vec<Message> {
        self.applying = false;
        let mut changes = Map::new();
        let mut wanted = self.applied.values.clone();
        wanted.insert("firmware".to_owned(), json!(firmware));
        if !self.applied.errors.is_empty() || self.reported.contains_key("_errors") {
            wanted.insert("_errors".to_owned(), json!(self.applied.errors));
        }
        for (key, value) in &wanted {
            if let Some(change) = difference(self.reported.get(key), value) {
                changes.insert(key.clone(), change);
                self.reported.insert(key.clone(), value.clone());
            }
        }
        if self.applied.errors.is_empty() && changes.contains_key("_errors") {
            // A section without members is taken away whole.
            changes.insert("_errors".to_owned(), Value::Null);
            self.reported.remove("_errors");
        }
        let boot_id = self.reported.get("_meta").and_then(|meta| meta.get("boot_id"));
        let same_boot = boot_id.and_then(Value::as_str) == Some(self.boot_id.as_str());
        let mut messages = Vec::new();
        if !changes.is_empty() || !same_boot {
            let meta = json!({"applied_version": self.applied.version, "boot_id": self.boot_id});
            self.reported.insert("_meta".to_owned(), meta.clone());
            changes.insert("_meta".to_owned(), meta);
            messages.push(self.message(ShadowOp::Update, json!({"state": {"reported": changes}})));
        }
        if std::mem::take(&mut self.again) {
            messages.push(self.fetch());
        }
        messages
    }
}

/// What has to be sent so that the server's merge makes `from` equal to `to`; none where it is already. What an object no
/// longer has must be taken away by name.
fn difference(from: Option<&Value>, to: &Value) -> Option<Value> {
    match (from, to) {
        (Some(from), to) if from == to => None,
        (Some(Value::Object(from)), Value::Object(to)) => {
            let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let new =
                to.iter().filter_map(|(key, to)| difference(from.get(key), to).map(|change| (key.clone(), change)));
            Some(Value::Object(gone.chain(new).collect()))
        }
        _ => Some(to.clone()),
    }
}

/// Whether a key is the agent's own and cannot be wanted.
pub fn is_own(key: &str) -> bool {
    OWN.contains(&key)
}

fn code(payload: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(payload).ok()?.get("code")?.as_u64()
}

#[cfg(test)]
mod tests;
