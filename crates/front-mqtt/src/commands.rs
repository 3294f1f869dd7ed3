//! Commands as AWS has them: requests on `$aws/commands/{things|clients}/{device}/executions/{id}/request[/{json|cbor}]`, and
//! what devices answer on `../response/{json|cbor}`.
//!
//! A request goes where the device listens: AWS's clients subscribe to the topic of one format, and some to the one without.
//! Beside it MQTT 5 hears its media type, how long it is still good (Message Expiry Interval), and in user properties what
//! AWS's message has no place for; see `docs/topics.md`. Acknowledgements go to the device that answered, subscribed or not.

use std::sync::Arc;
use std::time::Duration;

use fleetward_app::commands::{self, AnswerError};
use fleetward_app::{Error, OutgoingCommand};
use fleetward_base::{CommandId, DeviceId, TenantId};
use fleetward_broker::{Message, Principal, Properties, ServiceRequest};
use fleetward_core::command::{Answer, Reason, Refused, Status};
use fleetward_core::topic_policy::Act;
use fleetward_wire::aws::commands::{Accepted, Format, Kind, Part, Rejected, Response, Status as Said, Topic, encode};
use fleetward_wire::aws::jobs::RejectCode;

use crate::MqttHooks;
use crate::answer::undelivered;
use crate::policy;

/// User properties of a request.
const OP: &str = "op";
const LANE: &str = "lane";
const ATTEMPT: &str = "attempt";
const NOW: &str = "now";
const EXPIRES_AT: &str = "expires-at";
const RUN_TIMEOUT: &str = "run-timeout";

/// Media types that are sent on topics of their own, and one that is not.
const MEDIA: [&str; 3] = ["application/json", "application/cbor", ANY];
/// On its topic, which says nothing of a format, payloads of all are heard.
const ANY: &str = "";

impl MqttHooks {
    /// Takes an answer and says whether it was taken.
    pub(crate) async fn command_answered(
        &self,
        principal: &Arc<Principal>,
        topic: Topic<'_>,
        format: Format,
        request: &ServiceRequest,
    ) {
        match self.take_answer(principal, topic, format, &request.payload).await {
            Ok(()) => {
                let body = Accepted { execution_id: topic.execution.to_owned() };
                self.acknowledge(principal, topic.part(Part::Accepted(format)), &encode(format, &body));
            }
            Err((code, message)) => self.reject_command(principal, topic, format, code, message),
        }
    }

    /// One answer too many at once.
    pub(crate) fn throttle_command(&self, principal: &Principal, topic: Topic<'_>, format: Format) {
        self.reject_command(principal, topic, format, RejectCode::RequestThrottled, "Too many requests".to_owned());
    }

    async fn take_answer(
        &self,
        principal: &Arc<Principal>,
        topic: Topic<'_>,
        format: Format,
        payload: &[u8],
    ) -> Result<(), (RejectCode, String)> {
        let said = Response::parse(format, payload).map_err(|code| (code, unreadable(code).to_owned()))?;
        let id: CommandId = topic.execution.parse().map_err(|_| missing())?;
        let answer = answer_of(said).map_err(|cause| {
            tracing::error!(%cause, "a result that was read could not be written");
            failed()
        })?;
        commands::answer(&self.app, &self.ctx(principal), &id, answer).await.map(drop).map_err(refused)
    }

    fn reject_command(
        &self,
        principal: &Principal,
        topic: Topic<'_>,
        format: Format,
        error: RejectCode,
        error_message: String,
    ) {
        let body = Rejected { error, error_message, execution_id: topic.execution.to_owned() };
        self.acknowledge(principal, topic.part(Part::Rejected(format)), &encode(format, &body));
    }

    fn acknowledge(&self, principal: &Principal, topic: Topic<'_>, body: &[u8]) {
        self.answer(&principal.tenant, &principal.device, &topic.to_string(), body);
    }

    /// What waits for the device goes, now that it listens.
    pub(crate) fn deliver_commands(&self, principal: &Arc<Principal>) {
        let whose = (principal.tenant.clone(), principal.device.clone());
        // However often it subscribes, it is looked after once at a time; what came meanwhile the reconciler finds.
        if !self.delivering.lock().insert(whose.clone()) {
            return;
        }
        let (app, delivering) = (self.app.clone(), Arc::clone(&self.delivering));
        self.tasks.spawn(async move {
            commands::deliver(&app, &whose.0, &whose.1).await;
            delivering.lock().remove(&whose);
        });
    }

    pub(crate) fn hears_commands(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        self.hears_any(tenant, device, &MEDIA)
    }

    /// AWS sends JSON and CBOR on topics of their own, and all else on the one without a format. A device may listen there for
    /// everything.
    pub(crate) fn hears_media(&self, tenant: &TenantId, device: &DeviceId, content_type: &str) -> bool {
        self.hears_any(tenant, device, &[content_type, ANY])
    }

    fn hears_any(&self, tenant: &TenantId, device: &DeviceId, media: &[&str]) -> bool {
        let Some(broker) = self.broker.get() else { return false };
        let Some(principal) = broker.principal(tenant, device) else { return false };
        media.iter().flat_map(|media| Kind::ALL.map(|kind| Topic::request(kind, device.as_str(), "-", media))).any(
            |topic| {
                let topic = topic.to_string();
                policy::may(&principal, Act::Receive, &topic) && broker.hears(tenant, device, &topic)
            },
        )
    }

    /// Hands a command to the device where it listens for it.
    pub(crate) fn send_command(&self, tenant: &TenantId, device: &DeviceId, command: &OutgoingCommand) {
        let Some(broker) = self.broker.get() else { return };
        let on =
            |media| Kind::ALL.map(|kind| Topic::request(kind, device.as_str(), command.id.as_str(), media).to_string());
        let [preferred, other] = on(&command.content_type);
        let topics = [preferred.clone(), other].into_iter().chain(on(ANY));
        let topic = topics.into_iter().find(|topic| broker.hears(tenant, device, topic)).unwrap_or(preferred);
        let properties = Properties::default()
            .content_type(&command.content_type)
            .user(OP, &command.op)
            .user(LANE, &command.lane)
            .user(ATTEMPT, &command.attempt.to_string())
            .user(NOW, &command.now.millis().to_string())
            .user(EXPIRES_AT, &command.expires_at.millis().to_string())
            .user(RUN_TIMEOUT, &command.run_timeout.as_secs().to_string());
        // In whole seconds: less than one is one.
        let left = command.expires_at.since(command.now).max(Duration::from_secs(1));
        let message = Message::new(&topic, &command.payload);
        let message = Message { expiry: Some(left), properties: Some(&properties), ..message };
        match broker.publish(tenant, message) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(&topic, error),
        }
    }
}

/// What a device said, in the words of `core`.
fn answer_of(said: Response) -> Result<Answer, serde_json::Error> {
    let status = match said.status {
        Said::InProgress => Status::Running,
        Said::Succeeded => Status::Succeeded,
        Said::Failed => Status::Failed,
        Said::Rejected => Status::Rejected,
        Said::TimedOut => Status::TimedOut,
    };
    let reason = said.status_reason.map(|reason| Reason { code: reason.reason_code, text: reason.reason_description });
    let result = said.result.map(|result| serde_json::to_string(&result)).transpose()?;
    Ok(Answer { status, reason, result, expected_version: None })
}

fn unreadable(code: RejectCode) -> &'static str {
    match code {
        RejectCode::InvalidJson => "The payload is not JSON",
        _ => "The payload is not an answer to a command",
    }
}

fn missing() -> (RejectCode, String) {
    (RejectCode::ResourceNotFound, "There is no such command execution".to_owned())
}

fn failed() -> (RejectCode, String) {
    (RejectCode::InternalError, "Internal service failure".to_owned())
}

fn refused(error: AnswerError) -> (RejectCode, String) {
    let refused = match error {
        AnswerError::Refused(refused) => refused,
        AnswerError::App(Error::NotFound { .. }) => return missing(),
        // What AWS calls a data conflict.
        AnswerError::App(Error::Conflict { reason, .. }) => return (RejectCode::VersionMismatch, reason),
        AnswerError::App(error) => {
            tracing::warn!(%error, "the answer to a command could not be taken");
            return failed();
        }
    };
    let code = match refused {
        Refused::VersionMismatch { .. } => RejectCode::VersionMismatch,
        Refused::InvalidTransition { .. } | Refused::InFlight(_) => RejectCode::InvalidStateTransition,
        Refused::Terminal(_) => RejectCode::TerminalStateReached,
        Refused::BadReason | Refused::LongResult => RejectCode::InvalidRequest,
    };
    (code, refused.to_string())
}
