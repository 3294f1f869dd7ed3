//! Fleet indexing: one index, of things, which is the registry itself and so never behind it.

use fleetward_app::search::{count_devices, search_devices, tally_devices};
use fleetward_core::search::{Field, Query, Tally};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::things::{attributes_of, thing_id};
use crate::answer::{Answer, Refusal};
use crate::call::Call;

pub(super) const INDEX: &str = "AWS_Things";
/// Where a client names none.
const PERCENTS: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    index_name: Option<String>,
    query_string: Option<String>,
    next_token: Option<String>,
    max_results: Option<u64>,
    aggregation_field: Option<String>,
    percents: Option<Vec<f64>>,
    buckets_aggregation_type: BucketsType,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BucketsType {
    terms_aggregation: Terms,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terms {
    max_buckets: Option<usize>,
}

impl Body {
    fn query(&self) -> Result<Query, Refusal> {
        index(self.index_name.as_deref().unwrap_or(INDEX))?;
        let text = self.query_string.as_deref().ok_or_else(|| Refusal::invalid("queryString is missing"))?;
        Query::parse(text)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "InvalidQueryException", error.to_string()))
    }
}

pub(super) fn index(name: &str) -> Result<(), Refusal> {
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

/// Without a field, how many things there are.
pub(super) async fn statistics(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    if body.aggregation_field.is_none() {
        let count = count_devices(call.app(), &call.ctx, &call.tenant, &body.query()?).await?;
        return Ok(Answer::Json(json!({ "statistics": { "count": count } })));
    }
    let tally = tally(call, &body).await?;
    let mut statistics = json!({ "count": tally.count() });
    if let (Some(numbers), Some(fields)) = (tally.numbers(), statistics.as_object_mut()) {
        for (name, value) in [
            ("sum", numbers.sum),
            ("average", numbers.average),
            ("minimum", numbers.minimum),
            ("maximum", numbers.maximum),
            ("sumOfSquares", numbers.sum_of_squares),
            ("variance", numbers.variance),
            ("stdDeviation", numbers.std_deviation),
        ] {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    Ok(Answer::Json(json!({ "statistics": statistics })))
}

pub(super) async fn cardinality(call: &Call<'_>) -> Result<Answer, Refusal> {
    let tally = tally(call, &call.body::<Body>()?).await?;
    Ok(Answer::Json(json!({ "cardinality": tally.distinct() })))
}

pub(super) async fn percentiles(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let percents = body.percents.clone().unwrap_or_else(|| PERCENTS.to_vec());
    if percents.is_empty() || percents.len() > 100 || percents.iter().any(|percent| !(0.0..=100.0).contains(percent)) {
        return Err(Refusal::invalid("percents must be 1 to 100 numbers from 0 to 100"));
    }
    let tally = tally(call, &body).await?;
    if tally.numbers().is_none() && tally.count() > 0 {
        return Err(aggregation("the values are not all numbers"));
    }
    let found = tally.percentiles(&percents);
    let found: Vec<_> = found.iter().map(|(percent, value)| json!({ "percent": percent, "value": value })).collect();
    Ok(Answer::Json(json!({ "percentiles": found })))
}

pub(super) async fn buckets(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let most = body.buckets_aggregation_type.terms_aggregation.max_buckets.unwrap_or(10);
    if !(1..=10_000).contains(&most) {
        return Err(Refusal::invalid("maxBuckets must be 1 to 10000"));
    }
    let tally = tally(call, &body).await?;
    let buckets: Vec<_> =
        tally.most(most).iter().map(|(value, count)| json!({ "keyValue": value, "count": count })).collect();
    Ok(Answer::Json(json!({ "totalCount": tally.count(), "buckets": buckets })))
}

async fn tally(call: &Call<'_>, body: &Body) -> Result<Tally, Refusal> {
    let query = body.query()?;
    let name = body.aggregation_field.as_deref().ok_or_else(|| Refusal::invalid("aggregationField is missing"))?;
    let field = Field::named(name).ok_or_else(|| aggregation("the aggregation field is not known"))?;
    Ok(tally_devices(call.app(), &call.ctx, &call.tenant, (&query, &field)).await?)
}

fn aggregation(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidAggregationException", message)
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
