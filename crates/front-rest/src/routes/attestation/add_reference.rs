//! `POST /v1/tenants/{tenant}/attestation-references`

use std::collections::{BTreeMap, BTreeSet};

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::attestation::{NewReference, add_reference};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::AttestationReferenceView;

/// What is good for a cohort: given, or taught by its first devices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddAttestationReference, example = json!({ "hardware": "rev-b", "firmware": "2.0", "learn": 5 }))]
pub(super) struct Body {
    hardware: String,
    /// `*` for any.
    #[serde(default = "any")]
    firmware: String,
    /// How many devices teach before it is locked.
    learn: Option<u32>,
    /// Digests in hex by name: `pcr/7`, `event/4`, `software/BL`, `fwid/1/0`.
    #[serde(default)]
    measurements: BTreeMap<String, BTreeSet<String>>,
}

fn any() -> String {
    "*".to_owned()
}

/// Say what is good for a cohort, in the place of what was said before
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/attestation-references",
    operation_id = "add_attestation_reference",
    tag = "attestation",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = AttestationReferenceView)),
    extensions(("x-permission" = json!("attestation:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<AttestationReferenceView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { hardware, firmware, learn, measurements } = body.value;
    let new = NewReference { hardware, firmware, learn, measurements };
    let made = add_reference(door.app(), &ctx, &tenant, new).await?;
    Ok((StatusCode::CREATED, Answer(AttestationReferenceView::new(made))))
}
