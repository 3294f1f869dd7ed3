//! The jobs service seen from the device (`$aws/things/NAME/jobs/...`): asking, telling, and knowing what was heard.
//!
//! No I/O: messages in, messages and events out. Each report carries the version that the server has, so that two who tell
//! the same job cannot overwrite each other; where the version is unknown, as after a restart, it is asked for first. What
//! stays unanswered is asked again by [`Jobs::tick`].

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_supply::SignedRelease;
use fleetward_wire::aws::document::{JobDocument, Operation as Wanted};
use fleetward_wire::aws::jobs::{
    DescribeRequest, Execution, ExecutionAccepted, RejectCode, Rejected, StartNextRequest, Status, UpdateAccepted,
    UpdateRequest,
};
use fleetward_wire::aws::topic::{self, JobsOp, JobsPart, Topic, What};
use serde_json::Value;

use crate::machine::{Content, Event, Offer, Operation, Report};
use crate::mqtt::Message;
use crate::record::{Image, Verdict};

/// Steps that may wait to be told; older ones are dropped before an end is.
const REPORTS_WAITING: usize = 32;
/// Ticks after which an answer is given up and the request repeated.
const TICKS_PATIENCE: u32 = 4;
/// Characters of a text among the status details (AWS allows 1024).
const DETAIL_CHARS: usize = 500;

/// What was asked and not yet answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Next,
    Describe(String),
    Update(String),
}

/// The conversation about jobs within one session.
#[derive(Debug)]
pub struct Jobs {
    thing: String,
    /// The job whose version is known, and that version.
    known: Option<(String, u64)>,
    reports: VecDeque<Report>,
    want_next: bool,
    /// The request under way, its token, and for how many ticks.
    asked: Option<(Asked, String, u32)>,
    tokens: u64,
}

/// What a message leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub events: Vec<Event>,
    pub send: Vec<Message>,
}

impl Jobs {
    pub fn new(thing: &str) -> Self {
        let thing = thing.to_owned();
        Self { thing, known: None, reports: VecDeque::new(), want_next: false, asked: None, tokens: 0 }
    }

    /// Filters to subscribe to.
    pub fn filters(thing: &str) -> Vec<String> {
        let base = format!("{}{thing}/jobs", topic::PREFIX);
        ["notify-next", "start-next/+", "+/get/+", "+/update/+"].iter().map(|rest| format!("{base}/{rest}")).collect()
    }

    /// A new session began: what was asked in the last one will not be answered.
    pub fn session_began(&mut self) {
        (self.asked, self.known) = (None, None);
        self.reports.clear();
        self.want_next = false;
    }

    /// Tells the server of a step or an end.
    pub fn report(&mut self, report: Report) -> Vec<Message> {
        if self.reports.len() >= REPORTS_WAITING {
            let drop = self.reports.iter().skip(1).position(|report| report.verdict.is_none()).map_or(0, |at| at + 1);
            self.reports.remove(drop);
        }
        self.reports.push_back(report);
        self.go_on()
    }

    /// Asks for the next job, once nothing is left to be told.
    pub fn ask_next(&mut self) -> Vec<Message> {
        self.want_next = true;
        self.go_on()
    }

    /// Whether all was told and answered.
    pub fn is_idle(&self) -> bool {
        self.asked.is_none() && self.reports.is_empty()
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
        let asked = match self.reports.front() {
            Some(report) if self.known.as_ref().is_some_and(|(job, _)| *job == report.job) => {
                Asked::Update(report.job.clone())
            }
            Some(report) => Asked::Describe(report.job.clone()),
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
            Asked::Describe(job) => {
                let request =
                    DescribeRequest { include_job_document: Some(false), client_token, execution_number: None };
                (JobsOp::Describe(job), serde_json::to_vec(&request))
            }
            Asked::Update(job) => {
                let report = self.reports.front()?;
                let version = self.known.as_ref().map(|(_, version)| *version);
                (JobsOp::Update(job), serde_json::to_vec(&update(report, version, client_token)))
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
            JobsPart::Accepted(JobsOp::Describe(job)) => self.described(job, payload, &mut heard),
            JobsPart::Accepted(JobsOp::Update(job)) => self.updated(job, payload, &mut heard),
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
        match body.execution {
            Some(execution) if self.known.as_ref().is_some_and(|(job, _)| *job == execution.job_id) => {
                self.known = Some((execution.job_id, execution.version_number));
            }
            _ => {
                if let Some((job, _)) = self.known.take() {
                    // Whether it is over is only known from the server itself.
                    self.asked = None;
                    let token = format!("j{}", self.tokens);
                    self.tokens += 1;
                    let asked = Asked::Describe(job);
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
        if let Some(execution) = body.execution {
            self.known = Some((execution.job_id.clone(), execution.version_number));
            heard.events.push(Event::Offered(Box::new(offer(execution))));
        }
    }

    fn described(&mut self, job: &str, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<ExecutionAccepted>(payload) else { return };
        if self.answers(body.client_token.as_deref()).is_none() {
            return;
        }
        match body.execution {
            Some(execution) if matches!(execution.status, Status::Queued | Status::InProgress) => {
                self.known = Some((job.to_owned(), execution.version_number));
            }
            _ => self.is_over(job, heard),
        }
    }

    fn updated(&mut self, job: &str, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<UpdateAccepted>(payload) else { return };
        if self.answers(body.client_token.as_deref()).is_none() {
            return;
        }
        let Some(told) = self.reports.pop_front() else { return };
        match (told.verdict, body.execution_state, &mut self.known) {
            (Some(_), ..) => {
                self.known = None;
                heard.events.push(Event::Acknowledged { job: job.to_owned() });
            }
            (None, Some(state), Some((_, version))) => *version = state.version_number,
            (None, ..) => self.known = None,
        }
    }

    fn rejected(&mut self, payload: &[u8], heard: &mut Heard) {
        let Ok(body) = serde_json::from_slice::<Rejected>(payload) else { return };
        let Some(asked) = self.answers(body.client_token.as_deref()) else { return };
        let (Asked::Update(job) | Asked::Describe(job)) = asked else {
            // The next tick asks again.
            return self.asked = Some((asked, String::new(), 0));
        };
        match body.code {
            RejectCode::VersionMismatch => self.known = None,
            RejectCode::TerminalStateReached | RejectCode::ResourceNotFound | RejectCode::InvalidStateTransition => {
                self.is_over(&job, heard);
            }
            RejectCode::InternalError | RejectCode::RequestThrottled => {
                self.asked = Some((Asked::Describe(job), String::new(), 0));
            }
            RejectCode::InvalidJson | RejectCode::InvalidRequest | RejectCode::InvalidTopic => {
                tracing::error!(%job, message = %body.message, "the server does not understand the report; dropped");
                if let Some(Report { verdict: Some(_), .. }) = self.reports.pop_front() {
                    heard.events.push(Event::Acknowledged { job });
                }
            }
        }
    }

    /// The server knows the end of this job already, or has forgotten it: nothing more is to be told of it.
    fn is_over(&mut self, job: &str, heard: &mut Heard) {
        self.known = None;
        let ended = self.reports.iter().any(|report| report.job == job && report.verdict.is_some());
        self.reports.retain(|report| report.job != job);
        let job = job.to_owned();
        heard.events.push(if ended { Event::Acknowledged { job } } else { Event::Withdrawn { job } });
    }
}

fn update(report: &Report, version: Option<u64>, client_token: Option<String>) -> UpdateRequest {
    let status = match report.verdict {
        None => Status::InProgress,
        Some(Verdict::Succeeded) => Status::Succeeded,
        Some(Verdict::Failed) => Status::Failed,
        Some(Verdict::Rejected) => Status::Rejected,
    };
    let mut details = vec![("step", report.step.clone()), ("firmware", report.version.clone())];
    details.extend(report.reason.as_ref().map(|reason| ("reason", reason.chars().take(DETAIL_CHARS).collect())));
    UpdateRequest {
        status,
        status_details: Some(details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        expected_version: version,
        execution_number: None,
        include_job_execution_state: Some(true),
        include_job_document: None,
        step_timeout_in_minutes: None,
        client_token,
    }
}

/// What an execution asks for; a document that cannot be understood is an offer too, which the machine rejects.
fn offer(execution: Execution) -> Offer {
    let job = execution.job_id;
    let document = execution.job_document.ok_or_else(|| String::from("the job has no document"));
    let content = document.and_then(|document| {
        // Any other document is somebody else's: nothing in it is looked at, and nothing runs.
        let known = |word| matches!(word, "update" | "rollback");
        if !document.get("operation").and_then(Value::as_str).is_some_and(known) {
            return Err(String::from("this agent works on updates only, and the job is none"));
        }
        let document: JobDocument =
            serde_json::from_value(document).map_err(|error| format!("the job document cannot be read: {error}"))?;
        content(document)
    });
    Offer { job, content }
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
