//! The jobs service seen from the device (`$aws/things/NAME/jobs/...`): asking, telling, and knowing what was heard.
//!
//! No I/O: messages in, messages and events out. Each report carries the version that the server has, so that two who tell
//! the same job cannot overwrite each other; where the version is unknown, as after a restart, it is asked for first. What
//! stays unanswered is asked again by [`Jobs::tick`]. Two work on jobs: `machine` on updates, `steps` on all others; here is
//! one queue for both, as the server has one.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_supply::SignedRelease;
use fleetward_wire::aws::document::{JobDocument, Operation as Wanted};
use fleetward_wire::aws::jobs::{
    DescribeRequest, Execution, ExecutionAccepted, RejectCode, Rejected, StartNextRequest, Status, UpdateAccepted,
    UpdateRequest,
};
use fleetward_wire::aws::steps;
use fleetward_wire::aws::topic::{self, JobsOp, JobsPart, Topic, What};

use crate::machine::{Content, Event, Offer, Operation, Report};
use crate::mqtt::Message;
use crate::record::{Image, Verdict};
use crate::steps::{self as tasks, Key};

/// Steps that may wait to be told; older ones are dropped before an end is.
const WORDS_WAITING: usize = 32;
/// Ticks after which an answer is given up and the request repeated.
const TICKS_PATIENCE: u32 = 4;
/// Characters of a text among the status details (AWS allows 1024).
const DETAIL_CHARS: usize = 500;

/// Which job is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    pub job: String,
    /// Its try; none for an update, which has one.
    pub number: Option<i64>,
}

/// What the server is to hear of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub which: Which,
    /// None while it goes on.
    pub verdict: Option<Verdict>,
    pub details: BTreeMap<String, String>,
    /// How long the server waits for the next word.
    pub step_timeout_minutes: Option<i64>,
}

impl From<Report> for Word {
    fn from(report: Report) -> Self {
        let mut details = vec![("step", report.step), ("firmware", report.version)];
        details.extend(report.reason.map(|reason| ("reason", reason.chars().take(DETAIL_CHARS).collect())));
        Self {
            which: Which { job: report.job, number: None },
            verdict: report.verdict,
            details: details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            step_timeout_minutes: None,
        }
    }
}

/// What was asked and not yet answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Next,
    Describe(Which),
    Update(Which),
}

/// The conversation about jobs within one session.
#[derive(Debug)]
pub struct Jobs {
    thing: String,
    /// The job whose version is known, and that version.
    known: Option<(Which, u64)>,
    words: VecDeque<Word>,
    want_next: bool,
    /// The request under way, its token, and for how many ticks.
    asked: Option<(Asked, String, u32)>,
    tokens: u64,
}

/// What a message leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// For updates.
    pub events: Vec<Event>,
    /// For jobs of steps.
    pub steps: Vec<tasks::Event>,
    pub send: Vec<Message>,
}

impl Heard {
    /// Its end is known to the server.
    fn acknowledged(&mut self, which: Which) {
        match which.number {
            None => self.events.push(Event::Acknowledged { job: which.job }),
            Some(_) => self.steps.push(tasks::Event::Acknowledged(which)),
        }
    }

    fn withdrawn(&mut self, which: Which) {
        match which.number {
            None => self.events.push(Event::Withdrawn { job: which.job }),
            Some(_) => self.steps.push(tasks::Event::Withdrawn(which)),
        }
    }
}

impl Jobs {
    pub fn new(thing: &str) -> Self {
        let thing = thing.to_owned();
        Self { thing, known: None, words: VecDeque::new(), want_next: false, asked: None, tokens: 0 }
    }

    /// Filters to subscribe to.
    pub fn filters(thing: &str) -> Vec<String> {
        let base = format!("{}{thing}/jobs", topic::PREFIX);
        ["notify-next", "start-next/+", "+/get/+", "+/update/+"].iter().map(|rest| format!("{base}/{rest}")).collect()
    }

    /// A new session began: what was asked in the last one will not be answered.
    pub fn session_began(&mut self) {
        (self.asked, self.known) = (None, None);
        self.words.clear();
        self.want_next = false;
    }

    /// Tells the server of a step or an end.
    pub fn say(&mut self, word: impl Into<Word>) -> Vec<Message> {
        if self.words.len() >= WORDS_WAITING {
            let drop = self.words.iter().skip(1).position(|word| word.verdict.is_none()).map_or(0, |at| at + 1);
            self.words.remove(drop);
        }
        self.words.push_back(word.into());
        self.go_on()
    }

    /// Asks for the next job, once nothing is left to be told.
    pub fn ask_next(&mut self) -> Vec<Message> {
        self.want_next = true;
        self.go_on()
    }

    /// Whether all was told and answered.
    pub fn is_idle(&self) -> bool {
        self.asked.is_none() && self.words.is_empty()
    }

    /// Some seconds have passed.
    pub fn tick(&mut self) -> Vec<Message> {
        if let Some((_, _, ticks)) = &mut self.asked {
            *ticks += 1;
            if *ticks < TICKS_PATIENCE {
                return Vec::new();
            }
            self.want_next |= self.asked.take().is_some_and(|(asked, ..)| asked == Asked::Next);
        }
        self.go_on()
    }

    /// The next request, where none is under way.
    fn go_on(&mut self) -> Vec<Message> {
        if self.asked.is_some() {
            return Vec::new();
        }
        let token = format!("j{}", self.tokens);
        let asked = match self.words.front() {
            Some(word) if self.known.as_ref().is_some_and(|(which, _)| *which == word.which) => {
                Asked::Update(word.which.clone())
            }
            Some(word) => Asked::Describe(word.which.clone()),
            // Unset now and not when the answer comes: news in between asks once more.
            None if std::mem::take(&mut self.want_next) => Asked::Next,
            None => return Vec::new(),
        };
        let message = self.request(&asked, &token);
        self.tokens += 1;
        self.asked = Some((asked, token, 0));
        message.into_iter().collect()
    }

    fn request(&self, asked: &Asked, token: &str) -> Option<Message> {
        let client_token = Some(token.to_owned());
        let (op, payload) = match asked {
            Asked::Next => {
                let request = StartNextRequest { client_token, ..StartNextRequest::default() };
                (JobsOp::StartNext, serde_json::to_vec(&request))
            }
            Asked::Describe(which) => {
                let request =
                    DescribeRequest { include_job_document: Some(false), client_token, execution_number: which.number };
                (JobsOp::Describe(&which.job), serde_json::to_vec(&request))
            }
            Asked::Update(which) => {
                let word = self.words.front()?;
                let version = self.known.as_ref().map(|(_, version)| *version);
                (JobsOp::Update(&which.job), serde_json::to_vec(&update(word, version, client_token)))
            }
        };
        let topic = Topic::jobs(&self.thing, JobsPart::Request(op)).to_string();
        Some(Message::new(topic, payload.expect("texts and numbers are always JSON")))
    }

    /// Takes a message of the jobs service; of others it knows nothing.
    pub fn hear(&mut self, message: &Message) -> Heard {
        let Some(Topic { what: What::Jobs(part), .. }) = topic::parse(&message.topic) else { return Heard::default() };
        let payload = message.payload.as_slice();
        let mut heard = Heard::default();
        match part {
            JobsPart::NotifyNext => self.notified(payload, &mut heard),
            JobsPart::Accepted(JobsOp::StartNext) => self.next_came(payload, &mut heard),
            JobsPart::Accepted(JobsOp::Describe(_)) => self.described(payload, &mut heard),
            JobsPart::Accepted(JobsOp::Update(_)) => self.updated(payload, &mut heard),
            JobsPart::Rejected(_) => self.rejected(payload, &mut heard),
            _ => {}
        }
        heard.send.extend(self.go_on());
        heard
    }

    /// Whether the token is that of the request under way, which is over then.
    fn answers(&mut self, token: Option<&str>) -> Option<Asked> {
        let (_, wanted, _) = self.asked.as_ref()?;
        if token != Some(wanted.as_str()) {
            return None;
        }
        self.asked.take().map(|(asked, _, _)| asked)
    }

    /// The head of the queue has changed: the current job may be gone, and there may be a new one.
    fn notified(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<ExecutionAccepted>(payload) else { return };
        let same = |execution: &Execution| {
            self.known.as_ref().filter(|(which, _)| {
                which.job == execution.job_id && which.number.is_none_or(|number| number == execution.execution_number)
            })
        };
        match body.execution.as_ref().and_then(|execution| Some((same(execution)?.0.clone(), execution.version_number)))
        {
            Some(known) => self.known = Some(known),
            None => {
                if let Some((which, _)) = self.known.take() {
                    // Whether it is over is only known from the server itself.
                    self.asked = None;
                    let token = format!("j{}", self.tokens);
                    self.tokens += 1;
                    let asked = Asked::Describe(which);
                    heard.send.extend(self.request(&asked, &token));
                    self.asked = Some((asked, token, 0));
                }
                self.want_next = true;
            }
        }
    }

    fn next_came(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<ExecutionAccepted>(payload) else { return };
        if self.answers(body.client_token.as_deref()).is_none() {
            return;
        }
        let Some(execution) = body.execution else { return };
        let version = execution.version_number;
        let which = match offered(execution) {
            Offered::Update(offer) => {
                let which = Which { job: offer.job.clone(), number: None };
                heard.events.push(Event::Offered(Box::new(offer)));
                which
            }
            Offered::Steps(offer) => {
                let which = Which { job: offer.key.job.clone(), number: Some(offer.key.number) };
                heard.steps.push(tasks::Event::Offered(Box::new(offer)));
                which
            }
        };
        self.known = Some((which, version));
    }

    fn described(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<ExecutionAccepted>(payload) else { return };
        let Some(Asked::Describe(which)) = self.answers(body.client_token.as_deref()) else { return };
        match body.execution {
            Some(execution) if matches!(execution.status, Status::Queued | Status::InProgress) => {
                self.known = Some((which, execution.version_number));
            }
            _ => self.is_over(which, heard),
        }
    }

    fn updated(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<UpdateAccepted>(payload) else { return };
        if self.answers(body.client_token.as_deref()).is_none() {
            return;
        }
        let Some(told) = self.words.pop_front() else { return };
        match (told.verdict, body.execution_state, &mut self.known) {
            (Some(_), ..) => {
                self.known = None;
                heard.acknowledged(told.which);
            }
            (None, Some(state), Some((_, version))) => *version = state.version_number,
            (None, ..) => self.known = None,
        }
    }

    fn rejected(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<Rejected>(payload) else { return };
        let Some(asked) = self.answers(body.client_token.as_deref()) else { return };
        let (Asked::Update(which) | Asked::Describe(which)) = asked else {
            // The next tick asks again.
            return self.asked = Some((asked, String::new(), 0));
        };
        match body.code {
            RejectCode::VersionMismatch => self.known = None,
            RejectCode::TerminalStateReached | RejectCode::ResourceNotFound | RejectCode::InvalidStateTransition => {
                self.is_over(which, heard);
            }
            RejectCode::InternalError | RejectCode::RequestThrottled => {
                self.asked = Some((Asked::Describe(which), String::new(), 0));
            }
            RejectCode::InvalidJson | RejectCode::InvalidRequest | RejectCode::InvalidTopic => {
                tracing::error!(job = %which.job, message = %body.message, "the server does not understand the report; dropped");
                if let Some(Word { verdict: Some(_), .. }) = self.words.pop_front() {
                    heard.acknowledged(which);
                }
            }
        }
    }

    /// The server knows the end of this job already, or has forgotten it: nothing more is to be told of it.
    fn is_over(&mut self, which: Which, heard: &mut Heard) {
        self.known = None;
        let ended = self.words.iter().any(|word| word.which == which && word.verdict.is_some());
        self.words.retain(|word| word.which != which);
        if ended {
            heard.acknowledged(which);
        } else {
            heard.withdrawn(which);
        }
    }
}

fn update(word: &Word, version: Option<u64>, client_token: Option<String>) -> UpdateRequest {
    let status = match word.verdict {
        None => Status::InProgress,
        Some(Verdict::Succeeded) => Status::Succeeded,
        Some(Verdict::Failed) => Status::Failed,
        Some(Verdict::Rejected) => Status::Rejected,
    };
    UpdateRequest {
        status,
        status_details: Some(word.details.clone()),
        expected_version: version,
        execution_number: word.which.number,
        include_job_execution_state: Some(true),
        include_job_document: None,
        step_timeout_in_minutes: word.step_timeout_minutes,
        client_token,
    }
}

/// Whose the job is.
enum Offered {
    Update(Offer),
    Steps(tasks::Offer),
}

/// What an execution asks for; a document that cannot be understood is an offer too, which is rejected.
fn offered(execution: Execution) -> Offered {
    let update = |word| matches!(word, "update" | "rollback");
    let operation = execution.job_document.as_ref().and_then(|document| document.get("operation")?.as_str());
    let document = execution.job_document.as_ref().ok_or_else(|| String::from("the job has no document"));
    if operation.is_some_and(update) {
        let content = document.and_then(|document| {
            let read = serde_json::from_value::<JobDocument>(document.clone());
            content(read.map_err(|error| format!("the job document cannot be read: {error}"))?)
        });
        return Offered::Update(Offer { job: execution.job_id, content });
    }
    let document = document.and_then(|document| steps::Document::parse(document).map_err(|bad| bad.to_string()));
    let key = Key { job: execution.job_id, number: execution.execution_number, queued_at: execution.queued_at };
    Offered::Steps(tasks::Offer { key, document })
}

fn content(document: JobDocument) -> Result<Content, String> {
    let bytes = |what: &str, text: &str| STANDARD.decode(text).map_err(|_bad| format!("the {what} is not base64"));
    let release = if document.manifest.is_empty() {
        None
    } else {
        Some(SignedRelease {
            manifest: bytes("manifest", &document.manifest)?,
            signature: bytes("signature", &document.signature)?,
            key_id: document.key_id.parse().map_err(|bad: fleetward_supply::sign::BadKeyId| bad.to_string())?,
        })
    };
    let (artifact, url) = match document.artifact {
        None => (None, None),
        Some(artifact) => {
            let sha256 = artifact.sha256.parse().map_err(|bad: fleetward_supply::digest::BadHash| bad.to_string())?;
            (Some(Image { sha256, size: artifact.size }), Some(artifact.url))
        }
    };
    let operation = match document.operation {
        Wanted::Update => Operation::Update,
        Wanted::Rollback => Operation::Rollback,
    };
    Ok(Content { operation, name: document.release.name, version: document.release.version, release, artifact, url })
}

#[cfg(test)]
mod tests;
