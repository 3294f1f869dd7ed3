//! `POST /v1/tenants/{tenant}/claims`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::claims::{NewClaim, create_claim};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::NewClaimView;

/// A claim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateClaim, example = json!({ "name": "line-4", "template": "line-4", "csr": "-----BEGIN CERTIFICATE REQUEST-----" }))]
pub(super) struct Body {
    /// 1 to 64 of a-z, A-Z, 0-9, _ and -.
    name: String,
    /// The only template that it is good for.
    template: String,
    /// A PKCS#10 request in PEM. Its subject says nothing.
    csr: String,
    /// How many devices may come with it; no bound where it is absent.
    count_cap: Option<u64>,
    /// How long it holds, in seconds; a year where it is absent.
    ttl_s: Option<u64>,
}

/// Make a claim for the key of a request
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/claims",
    operation_id = "create_claim",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = NewClaimView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewClaimView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, template, csr, count_cap, ttl_s } = body.value;
    let new = NewClaim { name, template, csr, count_cap, life: ttl_s.map(Duration::from_secs) };
    let made = create_claim(door.app(), &ctx, &tenant, new).await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}
