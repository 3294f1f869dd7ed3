//! `POST /v1/setup`

use axum::extract::State;
use axum::{Extension, Json as Answer};
use fleetward_app::{Ctx, Error, Peer, Principal, setup};
use fleetward_base::RequestId;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::FirstTokenView;

/// The offer that the server printed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Setup, example = json!({ "setup_token": "fws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }))]
pub(super) struct Body {
    setup_token: String,
}

/// Become the first administrator
///
/// Takes the one-time setup token that a fresh server prints; afterwards it is worth nothing. Needs no other credential.
#[utoipa::path(
    post,
    path = "/v1/setup",
    operation_id = "setup",
    tag = "access",
    request_body = Body,
    responses((status = 201, body = FirstTokenView)),
    security(()),
    extensions(("x-permission" = json!("none"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    Extension(request_id): Extension<RequestId>,
    peer: Option<Extension<Peer>>,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<FirstTokenView>), Problem> {
    let address = peer.map(|Extension(peer)| peer.address.ip());
    door.may_sign_in(address)?;
    let ctx = Ctx { principal: Principal::System { component: "setup" }, request_id, address, idempotency: None };
    let token = setup::claim(door.app(), &ctx, &body.value.setup_token).await.map_err(|error| {
        if matches!(error, Error::Unauthenticated { .. }) {
            door.sign_in_failed(address);
        }
        Problem::from(error)
    })?;
    Ok((StatusCode::CREATED, Answer(FirstTokenView { token: token.expose().clone() })))
}
