//! Commands: for one device, or the same for many.

mod cancel;
mod cancel_all;
mod delete;
mod list;
mod list_device;
mod send;
mod send_device;
mod show;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::commands::NewCommand;
use fleetward_base::{CommandId, limits};
use fleetward_core::command::OnExpiry;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::problem::Problem;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(send::handler, list::handler))
        .routes(routes!(cancel_all::handler))
        .routes(routes!(send_device::handler, list_device::handler))
        .routes(routes!(show::handler, delete::handler))
        .routes(routes!(cancel::handler))
}

/// What a device is to do. What is absent is as usual.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendCommand, example = json!({ "op": "restart-app", "payload": { "name": "collector" }, "ttl_s": 3600 }))]
struct Wanted {
    /// 1 to 64 of a-z, A-Z, 0-9, _ and -. The same id with the same content is the same command, so that sending it again is
    /// harmless; the server makes one where it is absent.
    #[schema(value_type = Option<String>)]
    id: Option<CommandId>,
    /// What is to be done, in a word that the device knows.
    op: String,
    /// JSON for the device. At most 64 KiB, as is what stands in `payload_base64`.
    payload: Option<Value>,
    /// Any bytes for the device, in place of `payload`.
    payload_base64: Option<String>,
    /// The media type of the payload; application/json where it is absent.
    content_type: Option<String>,
    /// Within a lane one command follows the other; lanes do not wait for each other. `default` where it is absent.
    lane: Option<String>,
    /// One that waits, of the same operation and key, is superseded by this one.
    dedupe: Option<String>,
    /// Not to be sent before so many seconds have passed.
    wait_s: Option<u64>,
    /// Not to be sent before then, in place of `wait_s`.
    not_before: Option<Time>,
    /// How long it may wait for its device, in seconds; a day where it is absent, 90 days at most.
    ttl_s: Option<u64>,
    /// How long the device may take to say that it has it; a minute.
    ack_timeout_s: Option<u64>,
    /// How long it may take from then to its end; an hour.
    run_timeout_s: Option<u64>,
    /// How often it is sent while nothing is heard of it; 5.
    max_attempts: Option<u32>,
    /// What becomes of those behind it in its lane should it expire: continue or cancel_lane.
    #[schema(value_type = Option<String>)]
    on_expiry: Option<OnExpiry>,
}

impl Wanted {
    fn command(self) -> Result<NewCommand, Problem> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(_), Some(_)) => return Err(Problem::invalid("payload", "either this or payload_base64")),
            (Some(value), None) => value.to_string().into_bytes(),
            (None, Some(text)) => {
                if text.len() > limits::COMMAND_PAYLOAD_BYTES.saturating_mul(2) {
                    return Err(Problem::invalid("payload_base64", "longer than a payload can be"));
                }
                BASE64_STANDARD.decode(text).map_err(|_| Problem::invalid("payload_base64", "not base64"))?
            }
            (None, None) => Vec::new(),
        };
        Ok(NewCommand {
            id: self.id,
            op: self.op,
            payload,
            content_type: self.content_type,
            lane: self.lane,
            dedupe: self.dedupe,
            wait: self.wait_s.map(Duration::from_secs),
            not_before: self.not_before.map(|at| at.0),
            life: self.ttl_s.map(Duration::from_secs),
            ack_timeout: self.ack_timeout_s.map(Duration::from_secs),
            run_timeout: self.run_timeout_s.map(Duration::from_secs),
            max_attempts: self.max_attempts,
            on_expiry: self.on_expiry,
        })
    }
}

/// Whether a command is taken back also where the device may have it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = CancelCommand, example = json!({ "force": false }))]
struct Cancel {
    /// The device is not told, and its answer does not count any more.
    force: bool,
}
