//! Devices.

mod amend;
mod certificates;
mod create;
mod events;
mod list;
mod remove;
mod renew;
mod revoke;
mod show;
mod status;

use std::collections::BTreeMap;

use fleetward_base::DeviceId;
use fleetward_core::registry::{Class, DeviceFields, Scalar};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::fields::{Given, given, patch};
use crate::view::DeviceView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, amend::handler, remove::handler))
        .routes(routes!(renew::handler))
        .routes(routes!(revoke::handler))
        .routes(routes!(status::handler))
        .routes(routes!(certificates::handler))
        .routes(routes!(events::handler))
}

fn tagged(found: fleetward_app::registry::DeviceView) -> Tagged<DeviceView> {
    Tagged::ok(found.device.revision, DeviceView::new(found))
}

/// Fields of the record. What is absent stays as it is; `null` clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "owner": "field-ops", "tags": ["beta"], "attributes": { "rack": 7, "old": null } }))]
struct Amendment {
    /// sensor, gateway or endpoint.
    #[schema(value_type = Option<String>)]
    class: Option<Class>,
    hardware: Option<String>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    owner: Given<String>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    environment: Given<String>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    site: Given<String>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    location: Given<String>,
    /// The gateway that it stands behind.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    parent: Given<DeviceId>,
    /// The broker that it is told to use.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    endpoint: Given<String>,
    /// The whole set of tags.
    tags: Option<Vec<String>>,
    /// Key by key; `null` takes one out.
    #[schema(value_type = BTreeMap<String, Option<serde_json::Value>>)]
    attributes: BTreeMap<String, Option<Scalar>>,
    /// Expected sign of life, in seconds.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    heartbeat_s: Given<u32>,
}

impl From<Amendment> for DeviceFields {
    fn from(body: Amendment) -> Self {
        Self {
            class: body.class,
            hardware: body.hardware,
            firmware: Default::default(),
            owner: patch(body.owner),
            environment: patch(body.environment),
            site: patch(body.site),
            location: patch(body.location),
            parent: patch(body.parent),
            endpoint: patch(body.endpoint),
            tags: body.tags.map(|tags| tags.into_iter().collect()),
            attributes: body.attributes,
            heartbeat_s: patch(body.heartbeat_s),
        }
    }
}
