//! `POST /v1/tenants/{tenant}/inventory/import`

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use fleetward_app::inventory::import_inventory;
use fleetward_base::limits;
use fleetward_core::inventory::import::Format;
use futures::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::read_query;
use crate::problem::Problem;
use crate::view::ImportedView;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Query {
    dry_run: bool,
}

/// Import rows of the manufacturing database
///
/// CSV with a head line (`serial` and any of `device`, `class`, `hardware`, `ek_hash`, `batch`, `maker`, `root_of_trust`,
/// `attestation`), or an object a line as `application/x-ndjson`. Rows that are good are taken, the others told by their
/// line. The same file again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/inventory/import",
    operation_id = "import_inventory",
    tag = "enrolment",
    params(
        ("tenant" = String, Path),
        ("dry_run" = Option<bool>, Query, description = "Check everything and write nothing"),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = ImportedView)),
    extensions(("x-permission" = json!("inventory:import"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    parts: Parts,
    body: Body,
) -> Result<Json<ImportedView>, Problem> {
    let query: Query = read_query(parts.uri.query().unwrap_or_default())?;
    let body = Box::pin(steady(body));
    let (ctx, tenant, format) = (&caller.ctx, &caller.tenant, format(&parts.headers));
    let imported = import_inventory(door.app(), ctx, tenant, format, body, query.dry_run).await?;
    Ok(Json(ImportedView::new(imported)))
}

fn format(headers: &HeaderMap) -> Format {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::JsonLines,
        _ => Format::Csv,
    }
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
