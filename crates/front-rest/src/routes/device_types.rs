//! Types of devices.

mod create;
mod deprecate;
mod list;
mod remove;
mod show;

use std::collections::BTreeSet;

use fleetward_app::device_types::DeviceType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, remove::handler))
        .routes(routes!(deprecate::handler))
}

/// A type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceType)]
struct DeviceTypeView {
    name: String,
    description: Option<String>,
    /// Attributes that its devices are looked for by.
    searchable: BTreeSet<String>,
    created_at: Time,
    /// No device becomes one of it since.
    deprecated_at: Option<Time>,
}

fn view(of: DeviceType) -> DeviceTypeView {
    DeviceTypeView {
        name: of.name,
        description: of.description,
        searchable: of.searchable,
        created_at: Time(of.created_at),
        deprecated_at: of.deprecated_at.map(Time),
    }
}

/// A type to be written down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateDeviceType, example = json!({ "name": "lamp", "description": "a lamp", "searchable": ["watts"] }))]
struct Body {
    /// 1 to 128 of a-z, A-Z, 0-9, :, _ and -.
    name: String,
    description: Option<String>,
    #[serde(default)]
    searchable: BTreeSet<String>,
}

/// Whether devices may still get it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeprecateDeviceType, example = json!({ "deprecated": true }))]
struct Deprecation {
    deprecated: bool,
}
