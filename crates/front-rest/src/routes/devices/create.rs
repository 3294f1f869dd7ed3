//! `POST /v1/tenants/{tenant}/devices`

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use fleetward_app::registry::create_device;
use fleetward_base::DeviceId;
use fleetward_core::registry::{Class, DeviceFields, Patch, Scalar};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::DeviceView;

/// A device to be registered before it is ever seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateDevice, example = json!({ "name": "gw-1", "hardware": "rev-b", "class": "gateway" }))]
pub(super) struct Body {
    #[schema(value_type = String)]
    name: DeviceId,
    /// sensor, gateway or endpoint.
    #[schema(value_type = Option<String>)]
    class: Option<Class>,
    /// Hardware revision.
    hardware: Option<String>,
    owner: Option<String>,
    environment: Option<String>,
    site: Option<String>,
    location: Option<String>,
    /// The gateway that it stands behind.
    #[schema(value_type = Option<String>)]
    parent: Option<DeviceId>,
    /// The broker that it is told to use.
    endpoint: Option<String>,
    #[serde(default)]
    tags: BTreeSet<String>,
    /// Texts, numbers and booleans.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    attributes: BTreeMap<String, Scalar>,
    /// Expected sign of life, in seconds.
    heartbeat_s: Option<u32>,
}

impl Body {
    fn split(self) -> (DeviceId, DeviceFields) {
        let fields = DeviceFields {
            class: self.class,
            hardware: self.hardware,
            firmware: Patch::Keep,
            owner: set(self.owner),
            environment: set(self.environment),
            site: set(self.site),
            location: set(self.location),
            parent: set(self.parent),
            endpoint: set(self.endpoint),
            tags: Some(self.tags),
            attributes: self.attributes.into_iter().map(|(key, value)| (key, Some(value))).collect(),
            heartbeat_s: set(self.heartbeat_s),
        };
        (self.name, fields)
    }
}

fn set<T>(value: Option<T>) -> Patch<T> {
    value.map_or(Patch::Keep, Patch::Set)
}

/// Register a device
///
/// Enrolment with a token registers a device by itself; this is for those that must be known before.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices",
    operation_id = "create_device",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = DeviceView)),
    extensions(("x-permission" = json!("device:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<DeviceView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let (name, fields) = body.value.split();
    let made = create_device(door.app(), &ctx, &tenant, name, fields).await?;
    Ok(Tagged::created(made.device.revision, DeviceView::new(made)))
}
