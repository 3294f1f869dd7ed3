//! Commands seen from the device: what is run, what is answered, and that nothing runs twice unasked.
//!
//! A request arrives at least once; it runs once. [`Journal`] is on the disk before a program starts (`started`) and before its
//! answer leaves (`ended`), so that after a power cut the device knows what it did. One that ended is answered again and not run
//! again, until the server has said that it has the answer. One that was started and did not end is treated as its operation
//! says ([`Policy`]): by default the device says that it does not know. What arrives after its time is not run. An operation is
//! the name of a program in a directory that root, or the agent's own user, owns (`handlers`); a request names nothing else. No
//! I/O here but on [`Disk`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{Timestamp, limits};
use fleetward_wire::aws::commands::{
    Format, Kind, Part, Rejected, Response, ResultValue, Status, StatusReason, Topic, encode, parse,
};
use fleetward_wire::aws::jobs::RejectCode;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::mqtt::Message;

/// The journal's file beneath the data folder.
pub const FILE: &str = "commands";
/// Commands that are remembered.
pub const KEPT: usize = 256;
/// Programs that run at once; more than that the server does not send.
const RUNNING: usize = limits::COMMANDS_IN_FLIGHT;
/// Characters of what a program says that are sent.
const OUTPUT_CHARS: usize = 4096;
const REASON_CHARS: usize = 500;

/// What becomes of an operation that was started and did not end, because the power was cut or the agent died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Nobody knows what it did: that is said, and it is not run again.
    #[default]
    ReportUnknown,
    /// Doing it twice does no harm.
    RerunIfIdempotent,
    /// Its program is started again and told to go on.
    Resume,
    /// It ends with the device's restart: another boot than the one it began in is its success.
    Reboots,
}

impl Policy {
    /// As the file beside a program says it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "report_unknown" => Some(Self::ReportUnknown),
            "rerun_if_idempotent" => Some(Self::RerunIfIdempotent),
            "resume" => Some(Self::Resume),
            "reboots" => Some(Self::Reboots),
            _ => None,
        }
    }
}

/// How a command ended, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Ended {
    pub fn succeeded(output: &str) -> Self {
        let output = (!output.is_empty()).then(|| cut(output, OUTPUT_CHARS));
        Self { status: Status::Succeeded, reason: None, words: None, output }
    }

    pub fn failed(words: &str) -> Self {
        Self::because(Status::Failed, "FAILED", words)
    }

    pub fn because(status: Status, reason: &str, words: &str) -> Self {
        Self { status, reason: Some(reason.to_owned()), words: Some(cut(words, REASON_CHARS)), output: None }
    }

    fn response(&self) -> Response {
        let status_reason =
            self.reason.clone().map(|reason_code| StatusReason { reason_code, reason_description: self.words.clone() });
        let result =
            self.output.clone().map(|output| BTreeMap::from([("output".to_owned(), ResultValue::Text(output))]));
        Response { status: self.status, status_reason, result }
    }
}

/// A line without control characters, so that the server takes it; line ends stay visible as spaces.
fn cut(text: &str, chars: usize) -> String {
    text.trim().chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A command that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: String,
    op: String,
    /// It came on the topics of the connection and not on those of the registration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    clients: bool,
    /// The boot in which its program was last started.
    boot: String,
    /// How often its program was started.
    starts: u32,
    /// What it came with, until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<Given>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    /// The server has said that it has the answer, or that it wants none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    told: bool,
}

/// What a program is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    content_type: String,
    /// In base64.
    payload: String,
    run_timeout_s: Option<u64>,
}

impl Entry {
    fn new(request: &Request) -> Self {
        let given = Given {
            content_type: request.content_type.clone(),
            payload: STANDARD.encode(&request.payload),
            run_timeout_s: request.run_timeout.map(|span| span.as_secs()),
        };
        Self {
            id: request.id.clone(),
            op: request.op.clone(),
            clients: request.kind == Kind::Clients,
            boot: String::new(),
            starts: 0,
            given: Some(given),
            ended: None,
            told: false,
        }
    }

    const fn kind(&self) -> Kind {
        if self.clients { Kind::Clients } else { Kind::Things }
    }

    /// The request as it came, as far as a program sees it.
    fn request(&self) -> Request {
        let given = self.given.as_ref();
        Request {
            kind: self.kind(),
            id: self.id.clone(),
            op: self.op.clone(),
            content_type: given.map(|given| given.content_type.clone()).unwrap_or_default(),
            payload: given.and_then(|given| STANDARD.decode(&given.payload).ok()).unwrap_or_default(),
            sent_at: None,
            expires_at: None,
            run_timeout: given.and_then(|given| given.run_timeout_s).map(Duration::from_secs),
        }
    }

    fn end(&mut self, ended: Ended) {
        (self.ended, self.given, self.told) = (Some(ended), None, false);
    }
}

/// What must still be known after a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The newest last.
    entries: Vec<Entry>,
}

impl Journal {
    /// Reads it; one that was never written is empty.
    ///
    /// # Errors
    /// Where the disk does not answer, or what it has is none: going on would be to forget.
    pub fn load(disk: &dyn Disk) -> io::Result<Self> {
        let Some(bytes) = disk.read(FILE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        disk::replace(disk, FILE, &bytes)
    }

    fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Those at their end make room, the oldest first, before any that is not.
    fn put(&mut self, entry: Entry) {
        if let Some(place) = self.entries.iter_mut().find(|it| it.id == entry.id) {
            *place = entry;
            return;
        }
        while self.entries.len() >= KEPT {
            let oldest = self.entries.iter().position(|it| it.ended.is_some()).unwrap_or(0);
            self.entries.remove(oldest);
        }
        self.entries.push(entry);
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    pub id: String,
    pub op: String,
    pub content_type: String,
    pub payload: Vec<u8>,
    /// The server's time when it was sent, and when it is over; absent where the server does not say.
    pub sent_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// How long its program may take.
    pub run_timeout: Option<Duration>,
}

impl Request {
    /// The request that a message is, where it is one for this device.
    pub fn of(message: &Message, thing: &str) -> Option<Self> {
        let topic = parse(&message.topic).filter(|topic| topic.device == thing)?;
        let Part::Request(_) = topic.part else { return None };
        let said = |name: &str| message.user.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let time = |name| said(name).and_then(|text| text.parse().ok()).map(Timestamp::from_millis);
        Some(Self {
            kind: topic.kind,
            id: topic.execution.to_owned(),
            op: said("op").unwrap_or_default().to_owned(),
            content_type: message.content_type.clone().unwrap_or_default(),
            payload: message.payload.clone(),
            sent_at: time("now"),
            expires_at: time("expires-at"),
            run_timeout: said("run-timeout").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        })
    }
}

/// A program that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub request: Request,
    /// It was started before and did not end.
    pub resumes: bool,
}

/// What an arrival leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    Run(Box<Run>),
    /// Nothing is to be started; this is the answer.
    Answer(Message),
}

/// The commands of this device.
#[derive(Debug)]
pub struct Commands {
    thing: String,
    boot: String,
    journal: Journal,
    /// Those whose programs run in this process, or have run and wait for the device's restart.
    running: BTreeSet<String>,
    /// How many answers of this session the server has not said anything to. It answers in order.
    unanswered: BTreeMap<String, u32>,
}

impl Commands {
    /// `boot` names this start of the machine.
    ///
    /// # Errors
    /// As for [`Journal::load`].
    pub fn open(thing: &str, boot: String, disk: &dyn Disk) -> io::Result<Self> {
        Ok(Self {
            thing: thing.to_owned(),
            boot,
            journal: Journal::load(disk)?,
            running: BTreeSet::new(),
            unanswered: BTreeMap::new(),
        })
    }

    /// Filters to subscribe to.
    pub fn filters(thing: &str) -> Vec<String> {
        let base = format!("$aws/commands/things/{thing}/executions/+");
        ["request", "request/json", "request/cbor"].iter().map(|rest| format!("{base}/{rest}")).collect()
    }

    /// A request arrived. `policy` is what its operation says of itself; none where there is no such operation.
    ///
    /// # Errors
    /// Where the journal cannot be written: then nothing is run.
    pub fn arrived(
        &mut self,
        request: Request,
        policy: Option<Policy>,
        now: Timestamp,
        disk: &dyn Disk,
    ) -> io::Result<Arrived> {
        if self.running.contains(&request.id) {
            // What said so was lost.
            return Ok(Arrived::Answer(self.in_progress(request.kind, &request.id)));
        }
        if let Some(known) = self.journal.get(&request.id).cloned() {
            return self.go_on(known, policy, disk);
        }
        let refusal = match policy {
            _ if request.expires_at.is_some_and(|at| now.max(request.sent_at.unwrap_or(now)) >= at) => {
                Some(Ended::because(Status::TimedOut, "EXPIRED", "it arrived after its time"))
            }
            None => Some(Ended::because(Status::Rejected, "UNKNOWN_OPERATION", "there is no such operation here")),
            Some(_) if self.running.len() >= RUNNING => {
                Some(Ended::because(Status::Rejected, "BUSY", "too much is under way"))
            }
            Some(_) => None,
        };
        let mut entry = Entry::new(&request);
        match refusal {
            Some(ended) => {
                entry.end(ended.clone());
                self.keep(entry.clone(), disk)?;
                Ok(Arrived::Answer(self.answer(&entry, &ended)))
            }
            None => self.start(entry, disk),
        }
    }

    /// A session began: what an earlier life left is gone on with, and answers that the server may not have are given again.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn session_began(
        &mut self,
        policy: impl Fn(&str) -> Option<Policy>,
        disk: &dyn Disk,
    ) -> io::Result<Vec<Arrived>> {
        self.unanswered.clear();
        let left = |it: &&Entry| !it.told && !self.running.contains(&it.id);
        let left: Vec<Entry> = self.journal.entries.iter().filter(left).cloned().collect();
        left.into_iter()
            .map(|entry| {
                let policy = policy(&entry.op);
                self.go_on(entry, policy, disk)
            })
            .collect()
    }

    /// One that was begun: its answer again, or what its operation says where it did not end.
    fn go_on(&mut self, mut entry: Entry, policy: Option<Policy>, disk: &dyn Disk) -> io::Result<Arrived> {
        if let Some(ended) = entry.ended.clone() {
            return Ok(Arrived::Answer(self.answer(&entry, &ended)));
        }
        let Some(ended) = self.begun_before(&entry, policy.unwrap_or_default()) else {
            return self.start(entry, disk);
        };
        entry.end(ended.clone());
        self.keep(entry.clone(), disk)?;
        Ok(Arrived::Answer(self.answer(&entry, &ended)))
    }

    /// First the disk, then the program.
    fn start(&mut self, mut entry: Entry, disk: &dyn Disk) -> io::Result<Arrived> {
        let resumes = entry.starts > 0;
        entry.boot.clone_from(&self.boot);
        entry.starts = entry.starts.saturating_add(1);
        let run = Run { request: entry.request(), resumes };
        self.keep(entry, disk)?;
        self.running.insert(run.request.id.clone());
        Ok(Arrived::Run(Box::new(run)))
    }

    /// The server says that it has an answer, or that it wants none.
    ///
    /// # Errors
    /// Where the journal cannot be written: the answer is given again then, and does no harm.
    pub fn hear(&mut self, message: &Message, disk: &dyn Disk) -> io::Result<()> {
        let Some(topic) = parse(&message.topic).filter(|topic| topic.device == self.thing) else { return Ok(()) };
        let over = match topic.part {
            Part::Accepted(_) => true,
            // A fault of the moment is no refusal: the answer is given again on the next session.
            Part::Rejected(_) => serde_json::from_slice::<Rejected>(&message.payload).is_ok_and(|rejected| {
                !matches!(rejected.error, RejectCode::InternalError | RejectCode::RequestThrottled)
            }),
            Part::Request(_) | Part::Response(_) => return Ok(()),
        };
        let left = self.unanswered.get(topic.execution).copied().unwrap_or(1).saturating_sub(1);
        if left > 0 {
            self.unanswered.insert(topic.execution.to_owned(), left);
            return Ok(());
        }
        self.unanswered.remove(topic.execution);
        if !over {
            return Ok(());
        }
        match self.journal.get(topic.execution) {
            Some(entry) if entry.ended.is_some() && !entry.told => {
                self.keep(Entry { told: true, ..entry.clone() }, disk)
            }
            _ => Ok(()),
        }
    }

    /// What is to be said of one that was started in an earlier life; none where it is to be started again.
    fn begun_before(&self, entry: &Entry, policy: Policy) -> Option<Ended> {
        match policy {
            Policy::Resume | Policy::RerunIfIdempotent => None,
            Policy::Reboots if entry.boot != self.boot => Some(Ended::succeeded("")),
            Policy::Reboots | Policy::ReportUnknown => Some(Ended::because(
                Status::Failed,
                "OUTCOME_UNKNOWN",
                "it was begun, and the agent did not see its end",
            )),
        }
    }

    /// That it works on it, for the server to wait.
    pub fn began(&mut self, run: &Run) -> Message {
        self.in_progress(run.request.kind, &run.request.id)
    }

    fn in_progress(&mut self, kind: Kind, id: &str) -> Message {
        self.message(kind, id, &Response { status: Status::InProgress, status_reason: None, result: None })
    }

    /// Some seconds have passed: answers that the server could not take are given again.
    pub fn tick(&mut self) -> Vec<Message> {
        let waits = |it: &&Entry| it.ended.is_some() && !it.told && !self.unanswered.contains_key(&it.id);
        let waiting: Vec<Entry> = self.journal.entries.iter().filter(waits).cloned().collect();
        let again = |entry: Entry| entry.ended.clone().map(|ended| self.answer(&entry, &ended));
        waiting.into_iter().filter_map(again).collect()
    }

    /// A program ended. First the disk, then the answer.
    ///
    /// # Errors
    /// Where the journal cannot be written: nothing is answered then, and the end is not known in the next life.
    pub fn ended(&mut self, id: &str, ended: Ended, disk: &dyn Disk) -> io::Result<Option<Message>> {
        let Some(mut entry) = self.journal.get(id).filter(|it| it.ended.is_none()).cloned() else { return Ok(None) };
        self.running.remove(id);
        entry.end(ended.clone());
        self.keep(entry.clone(), disk)?;
        Ok(Some(self.answer(&entry, &ended)))
    }

    fn keep(&mut self, entry: Entry, disk: &dyn Disk) -> io::Result<()> {
        let mut next = self.journal.clone();
        next.put(entry);
        next.save(disk)?;
        self.journal = next;
        Ok(())
    }

    fn answer(&mut self, entry: &Entry, ended: &Ended) -> Message {
        self.message(entry.kind(), &entry.id, &ended.response())
    }

    fn message(&mut self, kind: Kind, execution: &str, response: &Response) -> Message {
        let unanswered = self.unanswered.entry(execution.to_owned()).or_default();
        *unanswered = unanswered.saturating_add(1);
        let part = Part::Response(Format::Json);
        let topic = Topic { kind, device: &self.thing, execution, part }.to_string();
        Message::new(topic, encode(Format::Json, response))
    }
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
