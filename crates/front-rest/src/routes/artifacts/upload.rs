//! `PUT /v1/tenants/{tenant}/artifacts/{sha256}`

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use fleetward_app::releases::upload_artifact;
use fleetward_base::limits;
use fleetward_supply::Sha256;
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode, header};

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::ArtifactView;

/// Upload an artifact
///
/// The body is the file itself, with its `Content-Length`. Nothing is there until all of it was right. Sending it again is
/// harmless and answers 200.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}/artifacts/{sha256}",
    operation_id = "upload_artifact",
    tag = "releases",
    params(("tenant" = String, Path), ("sha256" = String, Path, description = "Of the body, in lower-case hex")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = ArtifactView), (status = 200, body = ArtifactView)),
    extensions(("x-permission" = json!("artifact:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(sha256): At<Sha256>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ArtifactView>), Problem> {
    let size = length(&headers)?;
    let body = Box::pin(steady(body));
    let stored = upload_artifact(door.app(), &caller.ctx, &caller.tenant, sha256, size, body).await?;
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ArtifactView::new(stored))))
}

/// The body, as long as it does not stand still.
fn steady(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::unfold(body.into_data_stream(), |mut pieces| async move {
        let piece = match tokio::time::timeout(limits::REST_BODY_DEADLINE, pieces.next()).await {
            Ok(piece) => piece?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((piece, pieces))
    })
}

fn length(headers: &HeaderMap) -> Result<u64, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or_else(|| {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "length-required",
            "Say how long the body is",
            "send the size of the file as Content-Length",
        )
    })
}
