//! Where devices connect.

use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::call::Call;

/// A host alone, as AWS gives it: its clients put the port to it themselves.
pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let settings = call.app().settings()?;
    match call.query("endpointType").unwrap_or("iot:Data-ATS") {
        "iot:Data" | "iot:Data-ATS" | "iot:Data-Beta" | "iot:Jobs" => {
            Ok(Answer::Json(json!({ "endpointAddress": settings.device_host })))
        }
        "iot:CredentialProvider" => Err(Refusal::invalid("There is no provider of AWS credentials here")),
        _ => Err(Refusal::invalid("endpointType must be iot:Data-ATS, iot:Data or iot:Jobs")),
    }
}
