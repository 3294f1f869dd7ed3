//! Commands on the devices' door, for devices that speak HTTPS and no MQTT: `GET /v1/commands` and
//! `POST /v1/commands/{command}/response`.
//!
//! The client certificate says who asks, for each request anew. A poll takes what is to be done now; what was taken and not
//! answered comes again when its time for an answer is over. Refusals are the problem documents of the operators' API.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use fleetward_app::{App, Error, OutgoingCommand, commands};
use fleetward_base::{CommandId, limits};
use fleetward_core::command::{Answer, Reason, Status};
use fleetward_wire::aws::commands::ResultValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device_caller::{asked, device};
use crate::problem::Problem;
use crate::request::{self, Naming};
use crate::view::{Time, carried};

/// The routes. Requests carry the peer of their connection as an extension.
pub fn router(app: App) -> Router {
    let naming = Naming { clock: app.clock().clone(), rng: app.rng().clone() };
    Router::new()
        .route("/v1/commands", get(poll))
        .route("/v1/commands/{command}/response", post(respond))
        .with_state(app)
        .layer(from_fn_with_state(naming, request::serve))
}

/// What a device is to do now.
#[derive(Serialize)]
struct Polled {
    /// The server's time, to hold `expires_at` against.
    now: Time,
    commands: Vec<Todo>,
}

#[derive(Serialize)]
struct Todo {
    id: String,
    op: String,
    lane: String,
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    attempt: u32,
    version: u64,
    expires_at: Time,
    run_timeout_s: u64,
}

impl From<OutgoingCommand> for Todo {
    fn from(command: OutgoingCommand) -> Self {
        let (payload, payload_base64) = carried(&command.content_type, &command.payload);
        Self {
            id: command.id.to_string(),
            op: command.op,
            lane: command.lane,
            content_type: command.content_type,
            payload,
            payload_base64,
            attempt: command.attempt,
            version: command.version,
            expires_at: Time(command.expires_at),
            run_timeout_s: command.run_timeout.as_secs(),
        }
    }
}

/// What came of a command.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// running, succeeded, failed, rejected or timed_out.
    status: Status,
    reason: Option<SaidReason>,
    result: Option<BTreeMap<String, ResultValue>>,
    /// The version that the device believes to change; absent means whichever it is.
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidReason {
    code: String,
    text: Option<String>,
}

/// How a command stands now.
#[derive(Serialize)]
struct Stands {
    id: String,
    status: &'static str,
    version: u64,
}

async fn poll(State(app): State<App>, request: Request) -> Result<Json<Polled>, Problem> {
    let (parts, _) = request.into_parts();
    let ctx = device(&app, &parts).await?;
    let found = commands::poll(&app, &ctx).await?;
    Ok(Json(Polled { now: Time(app.now()), commands: found.into_iter().map(Todo::from).collect() }))
}

async fn respond(
    State(app): State<App>,
    Path(command): Path<String>,
    request: Request,
) -> Result<Json<Stands>, Problem> {
    let (ctx, said) = asked::<Said>(&app, request, limits::REST_BODY_BYTES).await?;
    let id: CommandId = command.parse().map_err(|_| Problem::not_found("command"))?;
    let result = said.result.map(|result| serde_json::to_string(&result)).transpose().map_err(Error::internal)?;
    let answer = Answer {
        status: said.status,
        reason: said.reason.map(|reason| Reason { code: reason.code, text: reason.text }),
        result,
        expected_version: said.version,
    };
    let answered = commands::answer(&app, &ctx, &id, answer).await.map_err(Error::from)?.command;
    Ok(Json(Stands { id: answered.id.to_string(), status: answered.status.as_str(), version: answered.version }))
}
