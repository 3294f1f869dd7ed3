//! Shadows, as operators reach them by the data plane. A device with its certificate reaches the same by `front-rest`.

use fleetward_app::shadow::{self, ShadowError, ShadowKey, Via};
use fleetward_core::shadow::Refused;
use fleetward_wire::aws::client_token;
use http::StatusCode;
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::call::Call;

/// Of a named shadow.
const NAME_BYTES: usize = 64;

pub(super) async fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
    let view = shadow::get(call.app(), &call.ctx, &call.tenant, &key(call)?).await.map_err(refused)?;
    Ok(Answer::Raw(shadow::view_body(&view, call.app().now(), None)))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let applied = shadow::update(call.app(), &call.ctx, &call.tenant, &key(call)?, call.raw(), Via::Call).await;
    Ok(Answer::Raw(shadow::accepted_body(&applied.map_err(refused)?)))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let token = client_token(call.raw());
    let key = key(call)?;
    let deleted = shadow::delete(call.app(), &call.ctx, &call.tenant, &key, token.clone(), Via::Call).await;
    Ok(Answer::Raw(shadow::deleted_body(&deleted.map_err(refused)?, token)))
}

pub(super) async fn names(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("pageSize", "nextToken", 100)?;
    let (thing, rows) = (call.thing()?, paging.rows_and_one());
    let found = shadow::names(call.app(), &call.ctx, &call.tenant, &thing, paging.after.clone(), rows).await;
    let found = found.map_err(refused)?;
    let mut answer = call.page(&paging, ("results", "nextToken"), found, Clone::clone, |name| json!(name));
    if let Answer::Json(body) = &mut answer
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("timestamp".to_owned(), json!(call.app().now().secs()));
    }
    Ok(answer)
}

fn key(call: &Call<'_>) -> Result<ShadowKey, Refusal> {
    let device = call.thing()?;
    let Some(name) = call.query("name") else { return Ok(ShadowKey::classic(device)) };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'$');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(named) {
        return Err(Refusal::invalid("the name of a shadow is 1 to 64 of a-z, A-Z, 0-9, :, _, - and $"));
    }
    Ok(ShadowKey { device, name: name.to_owned() })
}

/// What the shadow's own contract has a code for keeps it; what the role forbids is said as everywhere in this door.
fn refused(error: ShadowError) -> Refusal {
    let refused: Refused = match error {
        ShadowError::App(error) => return error.into(),
        ShadowError::Refused(refused) => refused,
    };
    let status = StatusCode::from_u16(refused.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Refusal::new(status, refused.error_type(), refused.to_string())
}
