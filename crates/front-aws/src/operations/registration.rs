//! The code that an authority signs to be registered. With AWS it is one and the same until it is deleted; here it holds for
//! some days and for one authority, and is told again as long as it does.

use fleetward_app::provisioning::factories::standing_registration_code;
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::call::Call;

pub(super) async fn code(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (code, _) = standing_registration_code(call.app(), &call.ctx, &call.tenant).await?;
    Ok(Answer::Json(json!({ "registrationCode": code })))
}
