//! Topic policies: what devices may publish and subscribe to beyond the built-in topics, and what not.

mod add_version;
mod attach;
mod attachments;
mod create;
mod detach;
mod explain;
mod list;
mod remove;
mod remove_version;
mod set_default;
mod show;

use fleetward_app::Error;
use fleetward_base::DeviceId;
use fleetward_core::selector::Selector;
use fleetward_core::topic_policy::Target;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::problem::Problem;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, remove::handler))
        .routes(routes!(add_version::handler))
        .routes(routes!(remove_version::handler))
        .routes(routes!(set_default::handler))
        .routes(routes!(attachments::handler, attach::handler))
        .routes(routes!(detach::handler))
        .routes(routes!(explain::handler))
}

/// Whom a policy is attached to: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TopicPolicyTarget, example = json!({ "device": "gw-1" }))]
pub(super) struct TargetBody {
    /// Every device of the tenant.
    #[serde(default)]
    everybody: bool,
    /// As rollouts select them; also those that match later.
    #[schema(value_type = Option<Object>)]
    selector: Option<Selector>,
    device: Option<String>,
    /// The serial number of a certificate, in hex.
    certificate: Option<String>,
}

impl TargetBody {
    fn target(self) -> Result<Target, Problem> {
        let one = match self {
            Self { everybody: true, selector: None, device: None, certificate: None } => Some(Target::Tenant),
            Self { everybody: false, selector: Some(selector), device: None, certificate: None } => {
                Some(Target::Selector(Box::new(selector)))
            }
            Self { everybody: false, selector: None, device: Some(device), certificate: None } => {
                let device: DeviceId = device.parse().map_err(|_| Error::invalid("device", "not a device name"))?;
                Some(Target::Device(device))
            }
            Self { everybody: false, selector: None, device: None, certificate: Some(serial) } => {
                Some(Target::Certificate(serial.to_ascii_lowercase()))
            }
            _ => None,
        };
        one.ok_or_else(|| Error::invalid("", "one of everybody, selector, device and certificate").into())
    }
}
