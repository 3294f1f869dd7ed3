//! Dynamic thing groups: a question of the index decides which things are in one. They are looked at and listed as the
//! others are; whom the question meets is in it a moment after it does.

use fleetward_app::device_groups as groups;
use fleetward_app::{Error, labels};
use serde::Deserialize;
use serde_json::{Value, json};

use super::groups::{Properties, group_id};
use super::labels::{Tag, write};
use super::search::{INDEX, index};
use crate::answer::{Answer, Refusal};
use crate::call::Call;

/// The only one that AWS has.
const QUERY_VERSION: &str = "2017-09-30";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    thing_group_properties: Option<Properties>,
    index_name: Option<String>,
    query_string: Option<String>,
    query_version: Option<String>,
    expected_version: Option<u64>,
    tags: Vec<Tag>,
}

impl Body {
    fn check(&self) -> Result<(), Refusal> {
        index(self.index_name.as_deref().unwrap_or(INDEX))?;
        if self.query_version.as_deref().is_some_and(|version| version != QUERY_VERSION) {
            return Err(Refusal::invalid(format!("queryVersion must be {QUERY_VERSION}")));
        }
        Ok(())
    }
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("thingGroupName"), call.body::<Body>()?);
    body.check()?;
    let query = body.query_string.ok_or_else(|| Refusal::invalid("queryString is missing"))?;
    let fields = body.thing_group_properties.unwrap_or_default().fields();
    let fields = groups::GroupFields { query: Some(query.clone()), ..fields };
    let made = groups::create_device_group(call.app(), &call.ctx, &call.tenant, name, None, fields).await;
    let made = made.map_err(bad_query)?;
    write(call, labels::Kind::Group, name, body.tags).await?;
    Ok(Answer::Json(json!({
        "thingGroupName": name,
        "thingGroupArn": call.names.arn("thinggroup", name),
        "thingGroupId": group_id(call, &made),
        "indexName": INDEX,
        "queryString": query,
        "queryVersion": QUERY_VERSION,
    })))
}

/// What describing a group says of its question.
pub(super) fn described(group: &groups::DeviceGroup) -> Vec<(String, Value)> {
    let Some(query) = &group.query else { return Vec::new() };
    let status = match (group.settled, group.revision) {
        (true, _) => "ACTIVE",
        (false, 1) => "BUILDING",
        (false, _) => "REBUILDING",
    };
    [("indexName", INDEX), ("queryString", query), ("queryVersion", QUERY_VERSION), ("status", status)]
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .to_vec()
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("thingGroupName"), call.body::<Body>()?);
    body.check()?;
    let (known, _) = groups::device_group(call.app(), &call.ctx, &call.tenant, name).await?;
    must_be(&known, true)?;
    let properties = body.thing_group_properties.unwrap_or_default();
    let expected = body.expected_version.or(Some(known.revision));
    let fields = groups::GroupFields { query: body.query_string, ..properties.over(known) };
    let after = groups::amend_device_group(call.app(), &call.ctx, &call.tenant, name, expected, fields).await;
    Ok(Answer::Json(json!({ "version": after.map_err(bad_query)?.revision })))
}

/// One that is not there is none any more, as with AWS.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, expected) = (call.path("thingGroupName"), call.number("expectedVersion")?);
    match groups::device_group(call.app(), &call.ctx, &call.tenant, name).await {
        Err(Error::NotFound { what: "group" }) => return Ok(Answer::Nothing),
        other => must_be(&other?.0, true)?,
    }
    groups::remove_device_group(call.app(), &call.ctx, &call.tenant, name, expected).await?;
    Ok(Answer::Nothing)
}

/// Each kind of group has operations of its own.
pub(super) fn must_be(group: &groups::DeviceGroup, dynamic: bool) -> Result<(), Refusal> {
    if group.query.is_some() == dynamic {
        return Ok(());
    }
    let kind = if dynamic { "no dynamic thing group" } else { "a dynamic thing group" };
    Err(Refusal::invalid(format!("{} is {kind}", group.name)))
}

fn bad_query(error: Error) -> Refusal {
    match error {
        Error::Invalid { field, reason } if field == "query" => {
            Refusal::new(http::StatusCode::BAD_REQUEST, "InvalidQueryException", reason)
        }
        error => error.into(),
    }
}
