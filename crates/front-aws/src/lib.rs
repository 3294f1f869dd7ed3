//! The door that AWS IoT's control plane has: scripts, boto3, the AWS CLI and Terraform with another endpoint.
//!
//! Requests that are signed by AWS's rules come here, whatever else the listener serves; [`in_front_of`] tells them apart
//! by their `Authorization`. The service is the one that the client signed for (`iot`, `iotdata`). Each operation is a
//! translation of a use case that the operators' API has too: names and shapes are AWS's, decisions are not made here.
//! What AWS has and we do not is refused by name (`docs/deviations.md`).
//!
//! To add an operation: a function under `operations/`, a line in [`operations::OPERATIONS`], then the golden list of
//! `tests/it`, where it appears with its permission. The probes reach it by themselves.

mod answer;
mod call;
mod gate;
mod names;
pub mod operations;
mod policy;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use fleetward_app::Peer;
use fleetward_front_rest::Door;
use fleetward_wire::aws::sigv4::ALGORITHM;
use futures::FutureExt;
use http::header::AUTHORIZATION;

pub use answer::{Answer, Refusal};
pub use call::Call;

/// A header field that AWS's clients send with each request, signed or not.
const INVOCATION: &str = "amz-sdk-invocation-id";

/// The router, with this door before it for the requests that are AWS's.
pub fn in_front_of(door: Door, router: Router) -> Router {
    router.layer(from_fn_with_state(door, tell_apart))
}

async fn tell_apart(State(door): State<Door>, request: Request, next: Next) -> Response {
    match signed(&request) {
        Some(true) => serve(&door, request).await,
        Some(false) => Refusal::missing_token().render(&door.app().new_request_id().to_string()),
        None => next.run(request).await,
    }
}

/// Whether it is signed by AWS's rules, or only comes from a client that would have; none where it is no such request. A
/// device that shows its certificate needs no signature.
fn signed(request: &Request) -> Option<bool> {
    let Some(authorization) = request.headers().get(AUTHORIZATION) else {
        let has_certificate = request.extensions().get::<Peer>().is_some_and(|peer| peer.leaf().is_some());
        return (request.headers().contains_key(INVOCATION) && !has_certificate).then_some(false);
    };
    authorization.as_bytes().starts_with(ALGORITHM.as_bytes()).then_some(true)
}

async fn serve(door: &Door, request: Request) -> Response {
    let id = door.app().new_request_id();
    let answered = AssertUnwindSafe(answer(door, id, request)).catch_unwind().await;
    let answered = answered.unwrap_or_else(|_| {
        tracing::error!(request_id = %id, "a handler panicked");
        Err(Refusal::internal())
    });
    match answered {
        Ok(answer) => answer.render(&id.to_string()),
        Err(refusal) => refusal.render(&id.to_string()),
    }
}

async fn answer(door: &Door, id: fleetward_base::RequestId, request: Request) -> Result<Answer, Refusal> {
    let entered = gate::enter(door, id, request).await?;
    let (operation, path) = operations::find(&entered).ok_or_else(|| operations::unknown(&entered))?;
    let call = Call::new(door, operation, path, entered)?;
    tracing::debug!(request_id = %id, operation = operation.name, "asked for");
    // The use case asks again. Asked first, a refusal tells nothing of what is there.
    call.ctx.allow(&call.tenant, operation.permission).map_err(|error| Refusal::from(error).of(operation.service))?;
    (operation.handler)(&call).await.map_err(|refusal| refusal.of(operation.service))
}
