//! Fleet indexing: one index, of things, which is the registry itself and so never behind it.

use fleetward_app::search::{count_devices, search_devices};
use fleetward_core::search::Query;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::things::{attributes_of, thing_id};
use crate::answer::{Answer, Refusal};
use crate::call::Call;

const INDEX: &str = "AWS_Things";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    index_name: Option<String>,
    query_string: Option<String>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

impl Body {
    fn query(&self) -> Result<Query, Refusal> {
        index(self.index_name.as_deref().unwrap_or(INDEX))?;
        let text = self.query_string.as_deref().ok_or_else(|| Refusal::invalid("queryString is missing"))?;
        Query::parse(text)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "InvalidQueryException", error.to_string()))
    }
}

fn index(name: &str) -> Result<(), Refusal> {
    if name == INDEX { Ok(()) } else { Err(Refusal::not_found(format!("There is one index, {INDEX}"))) }
}

pub(super) async fn search(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let query = body.query()?;
    let spelled = body.query_string.clone().unwrap_or_default();
    let token = body.next_token.as_deref();
    // A token goes on with the question that it came from.
    let paging = call.paging_of(body.max_results, None, ("maxResults", "nextToken"), 500)?;
    let after = token.map(|token| call.place_in(&spelled, token)).transpose()?;
    let after = after.as_deref().and_then(|after| after.parse().ok());
    let found = search_devices(call.app(), &call.ctx, &call.tenant, &query, after, paging.rows).await?;
    let things: Vec<_> = found
        .devices
        .iter()
        .map(|view| {
            let device = &view.device;
            let mut connectivity = json!({ "connected": view.presence.online });
            let changed = if view.presence.online { view.presence.connected_at } else { view.presence.disconnected_at };
            if let (Some(at), Some(fields)) = (changed, connectivity.as_object_mut()) {
                fields.insert("timestamp".to_owned(), json!(at.millis()));
            }
            let mut thing = json!({
                "thingName": device.id.as_str(),
                "thingId": thing_id(call, device),
                "thingGroupNames": device.tags,
                "attributes": attributes_of(device),
                "connectivity": connectivity,
            });
            if let (Some(kind), Some(fields)) = (device.kind(), thing.as_object_mut()) {
                fields.insert("thingTypeName".to_owned(), json!(kind));
            }
            thing
        })
        .collect();
    let mut answer = json!({ "things": things });
    if let (Some(next), Some(fields)) = (found.next, answer.as_object_mut()) {
        fields.insert("nextToken".to_owned(), json!(call.token_after(&spelled, next.as_str())));
    }
    Ok(Answer::Json(answer))
}

/// The count; other statistics of an attribute are not offered.
pub(super) async fn statistics(call: &Call<'_>) -> Result<Answer, Refusal> {
    let query = call.body::<Body>()?.query()?;
    let count = count_devices(call.app(), &call.ctx, &call.tenant, &query).await?;
    Ok(Answer::Json(json!({ "statistics": { "count": count } })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    index(call.path("indexName"))?;
    let schema = "REGISTRY_AND_CONNECTIVITY_STATUS";
    Ok(Answer::Json(json!({ "indexName": INDEX, "indexStatus": "ACTIVE", "schema": schema })))
}

/// How it is indexed: what the registry and presence say, always.
const MODES: [(&str, &str); 4] = [
    ("thingIndexingMode", "REGISTRY"),
    ("thingConnectivityIndexingMode", "STATUS"),
    ("deviceDefenderIndexingMode", "OFF"),
    ("namedShadowIndexingMode", "OFF"),
];
const GROUP_MODES: [(&str, &str); 1] = [("thingGroupIndexingMode", "OFF")];

pub(super) async fn configuration(_: &Call<'_>) -> Result<Answer, Refusal> {
    let said = |modes: &[(&str, &str)]| -> Value {
        Value::Object(modes.iter().map(|(name, mode)| ((*name).to_owned(), json!(mode))).collect())
    };
    Ok(Answer::Json(json!({
        "thingIndexingConfiguration": said(&MODES),
        "thingGroupIndexingConfiguration": said(&GROUP_MODES),
    })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Configuration {
    thing_indexing_configuration: Map<String, Value>,
    thing_group_indexing_configuration: Map<String, Value>,
}

/// There is nothing to choose: who asks for what is so is told that it is, and everybody else that it is not.
pub(super) async fn configure(call: &Call<'_>) -> Result<Answer, Refusal> {
    let asked = call.body::<Configuration>()?;
    agrees(&asked.thing_indexing_configuration, &MODES)?;
    agrees(&asked.thing_group_indexing_configuration, &GROUP_MODES)?;
    Ok(Answer::Nothing)
}

fn agrees(asked: &Map<String, Value>, modes: &[(&str, &str)]) -> Result<(), Refusal> {
    for (name, value) in asked {
        match modes.iter().find(|(known, _)| *known == name.as_str()) {
            Some((_, mode)) if value == *mode => {}
            Some((_, mode)) => return Err(Refusal::invalid(format!("{name} is {mode} here and cannot be changed"))),
            // Fields that are declared, filters: a list or an object that names nothing asks for nothing.
            None if value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty) => {}
            None => {
                let message = "every attribute is indexed as it is: no fields are declared and nothing is filtered";
                return Err(Refusal::invalid(message));
            }
        }
    }
    Ok(())
}
