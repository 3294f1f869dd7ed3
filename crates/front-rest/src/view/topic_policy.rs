//! Topic policies.

use fleetward_app::topic_policies::{Answer, AttachmentView, Because, TopicPolicyView as Found, VersionView};
use fleetward_core::topic_policy::{LeftOut, Origin, Target};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Time;

/// A version of a topic policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPolicyVersion)]
pub struct TopicPolicyVersionView {
    pub version: u64,
    #[schema(value_type = Object)]
    pub document: Value,
    pub created_by: String,
    pub created_at: Time,
}

/// A topic policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPolicy)]
pub struct TopicPolicyView {
    pub name: String,
    pub description: Option<String>,
    /// The version that counts.
    pub default_version: u64,
    pub latest_version: u64,
    /// The newest first.
    pub versions: Vec<TopicPolicyVersionView>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
}

/// Whom a topic policy is attached to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPolicyAttachment)]
pub struct TopicPolicyAttachmentView {
    pub policy: String,
    /// `tenant`, `selector`, `device` or `certificate`.
    pub kind: &'static str,
    /// The selector, the device's name or the certificate's serial number; null for the tenant.
    #[schema(value_type = Object)]
    pub target: Value,
    pub attached_by: String,
    pub attached_at: Time,
}

/// A statement that was asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPolicyStatement)]
pub struct StatementView {
    pub policy: String,
    pub version: u64,
    /// From 0, as in the document.
    pub statement: usize,
    /// As it is written there; empty where the statement speaks of no topic.
    pub topic: String,
}

/// A topic of a statement that does not count for the device as it is written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPolicyLeftOut)]
pub struct LeftOutView {
    #[serde(flatten)]
    pub at: StatementView,
    pub effect: &'static str,
    pub why: String,
}

/// Whether a device may, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicAnswer)]
pub struct TopicAnswerView {
    pub allowed: bool,
    /// `statement`, `built-in` (a rule that every device has), `nothing` (none allows it) or `not-admitted` (the device may not
    /// come in at all).
    pub because: &'static str,
    pub statement: Option<StatementView>,
    /// `full`, or `restricted` in quarantine; null where the device may not come in.
    pub rights: Option<&'static str>,
    /// An allow that is here allows nothing; a deny holds for every value.
    pub left_out: Vec<LeftOutView>,
}

impl From<VersionView> for TopicPolicyVersionView {
    fn from(found: VersionView) -> Self {
        Self {
            version: found.version,
            document: json!(found.document),
            created_by: found.created_by,
            created_at: Time(found.created_at),
        }
    }
}

impl From<Found> for TopicPolicyView {
    fn from(found: Found) -> Self {
        Self {
            name: found.name,
            description: found.description,
            default_version: found.default_version,
            latest_version: found.latest_version,
            versions: found.versions.into_iter().map(Into::into).collect(),
            created_by: found.created_by,
            created_at: Time(found.created_at),
            updated_at: Time(found.updated_at),
        }
    }
}

impl From<AttachmentView> for TopicPolicyAttachmentView {
    fn from(found: AttachmentView) -> Self {
        let target = match &found.target {
            Target::Tenant => Value::Null,
            Target::Selector(selector) => json!(selector),
            Target::Device(device) => json!(device),
            Target::Certificate(serial) => json!(serial),
        };
        Self {
            policy: found.policy,
            kind: found.target.kind().as_str(),
            target,
            attached_by: found.attached_by,
            attached_at: Time(found.attached_at),
        }
    }
}

impl From<Origin> for StatementView {
    fn from(origin: Origin) -> Self {
        Self {
            policy: origin.policy.to_string(),
            version: origin.version,
            statement: origin.statement,
            topic: origin.template.to_string(),
        }
    }
}

impl From<LeftOut> for LeftOutView {
    fn from(left: LeftOut) -> Self {
        Self { at: left.origin.into(), effect: left.effect.as_str(), why: left.why }
    }
}

impl From<Answer> for TopicAnswerView {
    fn from(answer: Answer) -> Self {
        let (because, statement) = match answer.because {
            Because::Statement(origin) => ("statement", Some(origin.into())),
            Because::BuiltIn => ("built-in", None),
            Because::Nothing => ("nothing", None),
            Because::NotAdmitted => ("not-admitted", None),
        };
        Self {
            allowed: answer.allowed,
            because,
            statement,
            rights: answer.rights.map(|rights| rights.as_str()),
            left_out: answer.left_out.into_iter().map(Into::into).collect(),
        }
    }
}
