//! Groups of devices.

mod add;
mod amend;
mod create;
mod list;
mod remove;
mod show;
mod take_out;

use std::collections::BTreeMap;

use fleetward_app::device_groups::DeviceGroup;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, amend::handler, remove::handler))
        .routes(routes!(add::handler, take_out::handler))
}

/// A group: the devices that have its name as a tag.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceGroup)]
struct DeviceGroupView {
    name: String,
    description: Option<String>,
    attributes: BTreeMap<String, String>,
    /// The group that it lies in.
    parent: Option<String>,
    /// What decides who is in it, as `device-search` has it; absent where people do.
    query: Option<String>,
    /// Of a group with a `query`: every device was asked.
    settled: bool,
    created_at: Time,
    updated_at: Time,
    revision: u64,
}

fn view(of: DeviceGroup) -> DeviceGroupView {
    DeviceGroupView {
        name: of.name,
        description: of.description,
        attributes: of.attributes,
        parent: of.parent,
        query: of.query,
        settled: of.settled,
        created_at: Time(of.created_at),
        updated_at: Time(of.updated_at),
        revision: of.revision,
    }
}

fn tagged(of: DeviceGroup) -> Tagged<DeviceGroupView> {
    Tagged::ok(of.revision, view(of))
}

/// A group to be written down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateDeviceGroup, example = json!({ "name": "hall-4", "description": "the fourth hall" }))]
struct Body {
    /// 1 to 128 of a-z, A-Z, 0-9, :, _ and -; the tag of its devices.
    name: String,
    parent: Option<String>,
    description: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// Decides who is in it, as `site:berlin AND NOT tag:beta`; it cannot ask who is online.
    query: Option<String>,
}

/// What is said of a group, whole.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmendDeviceGroup, example = json!({ "description": "the fourth hall, north" }))]
struct Amendment {
    description: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// Another question, for a group that has one; it stays where this is absent.
    query: Option<String>,
}
