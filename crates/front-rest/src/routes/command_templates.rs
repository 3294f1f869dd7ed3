//! Commands that are written down once and sent often.

mod amend;
mod create;
mod list;
mod remove;
mod send;
mod show;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::commands::templates::CommandTemplate;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, amend::handler, remove::handler))
        .routes(routes!(send::handler))
}

/// A command that is written down.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandTemplate)]
struct View {
    /// The operation.
    name: String,
    title: Option<String>,
    description: Option<String>,
    content_type: String,
    /// Where it is JSON.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
    payload_base64: String,
    /// Nothing is sent by it any more.
    deprecated: bool,
    created_by: String,
    created_at: Time,
    updated_at: Time,
    revision: u64,
}

impl From<CommandTemplate> for View {
    fn from(of: CommandTemplate) -> Self {
        Self {
            name: of.name,
            title: of.title,
            description: of.description,
            content_type: of.content_type,
            payload: serde_json::from_slice(&of.payload).ok(),
            payload_base64: BASE64_STANDARD.encode(&of.payload),
            deprecated: of.deprecated,
            created_by: of.created_by,
            created_at: Time(of.created_at),
            updated_at: Time(of.updated_at),
            revision: of.revision,
        }
    }
}

fn tagged(of: CommandTemplate) -> Tagged<View> {
    Tagged::ok(of.revision, of.into())
}

/// What is carried, said as JSON or as bytes.
fn payload(value: Option<Value>, base64: Option<String>) -> Result<Vec<u8>, Problem> {
    match (value, base64) {
        (Some(_), Some(_)) => Err(Problem::invalid("payload", "either this or payload_base64")),
        (Some(value), None) => Ok(value.to_string().into_bytes()),
        (None, Some(text)) => {
            BASE64_STANDARD.decode(text).map_err(|_| Problem::invalid("payload_base64", "not base64"))
        }
        (None, None) => Ok(Vec::new()),
    }
}
