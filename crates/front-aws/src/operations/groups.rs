//! Thing groups, and which things are in them.

use std::collections::BTreeMap;

use fleetward_app::device_groups::{self as groups, DeviceGroup, GroupFields};
use fleetward_app::registry;
use fleetward_app::search::search_devices;
use fleetward_app::{Error, labels};
use fleetward_core::search::Query;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::dynamic_groups::{described, must_be};
use super::labels::{Tag, write};
use super::things::AttributePayload;
use crate::answer::{Answer, Refusal};
use crate::call::{Call, thing};
use crate::names::stable_id;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    parent_group_name: Option<String>,
    thing_group_properties: Option<Properties>,
    expected_version: Option<u64>,
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Properties {
    thing_group_description: Option<String>,
    attribute_payload: Option<AttributePayload>,
}

impl Properties {
    pub(super) fn fields(self) -> GroupFields {
        let attributes = self.attribute_payload.unwrap_or_default().attributes;
        let attributes: BTreeMap<_, _> = attributes.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        GroupFields { description: self.thing_group_description, attributes, query: None }
    }

    /// Attributes that are given take the place of all properties, unless they say that they merge: who leaves the description
    /// out then (as Terraform does where it was removed) wants none. Without attributes the description alone changes.
    pub(super) fn over(self, known: DeviceGroup) -> GroupFields {
        let keeps = self.attribute_payload.as_ref().is_none_or(|payload| payload.merge);
        let mut fields = self.fields();
        if keeps {
            fields.description = fields.description.or(known.description);
            for (key, value) in known.attributes {
                fields.attributes.entry(key).or_insert(value);
            }
        }
        fields
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Membership {
    thing_group_name: Option<String>,
    thing_group_arn: Option<String>,
    thing_name: Option<String>,
    thing_arn: Option<String>,
    thing_groups_to_add: Vec<String>,
    thing_groups_to_remove: Vec<String>,
}

impl Membership {
    fn group<'m>(&'m self, call: &Call<'_>) -> Result<&'m str, Refusal> {
        let named = self.thing_group_name.as_deref().or(self.thing_group_arn.as_deref());
        call.names.name_of("thinggroup", named.ok_or_else(|| Refusal::invalid("thingGroupName is missing"))?)
    }

    fn thing(&self, call: &Call<'_>) -> Result<fleetward_base::DeviceId, Refusal> {
        let named = self.thing_name.as_deref().or(self.thing_arn.as_deref());
        thing(call.names.name_of("thing", named.ok_or_else(|| Refusal::invalid("thingName is missing"))?)?)
    }
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("thingGroupName"), call.body::<Body>()?);
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let fields = body.thing_group_properties.unwrap_or_default().fields();
    let made = groups::create_device_group(app, ctx, tenant, name, body.parent_group_name, fields).await?;
    write(call, labels::Kind::Group, name, body.tags).await?;
    Ok(Answer::Json(json!({
        "thingGroupName": name,
        "thingGroupArn": call.names.arn("thinggroup", name),
        "thingGroupId": group_id(call, &made),
    })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let name = call.path("thingGroupName");
    let (group, above) = groups::device_group(call.app(), &call.ctx, &call.tenant, name).await?;
    // What a group does not have is not named: Terraform would see properties that nobody wrote, and take them away.
    let mut properties = Map::new();
    properties.extend(group.description.iter().map(|text| ("thingGroupDescription".to_owned(), json!(text))));
    if !group.attributes.is_empty() {
        properties.insert("attributePayload".to_owned(), json!({ "attributes": group.attributes }));
    }
    let above: Vec<Value> = above.iter().map(|name| name_and_arn(call, name)).collect();
    let mut metadata = json!({ "creationDate": group.created_at.secs(), "rootToParentThingGroups": above });
    if let (Some(parent), Some(fields)) = (&group.parent, metadata.as_object_mut()) {
        fields.insert("parentGroupName".to_owned(), json!(parent));
    }
    let mut view = json!({
        "thingGroupName": name,
        "thingGroupId": group_id(call, &group),
        "thingGroupArn": call.names.arn("thinggroup", name),
        "version": group.revision,
        "thingGroupProperties": properties,
        "thingGroupMetadata": metadata,
    });
    if let Some(fields) = view.as_object_mut() {
        fields.extend(described(&group));
    }
    Ok(Answer::Json(view))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("thingGroupName"), call.body::<Body>()?);
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let (known, _) = groups::device_group(app, ctx, tenant, name).await?;
    let properties = body.thing_group_properties.ok_or_else(|| Refusal::invalid("thingGroupProperties is missing"))?;
    must_be(&known, false)?;
    let expected = body.expected_version.or(Some(known.revision));
    let fields = properties.over(known);
    let after = groups::amend_device_group(app, ctx, tenant, name, expected, fields).await?;
    Ok(Answer::Json(json!({ "version": after.revision })))
}

/// One that is not there is none any more, as with AWS.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, expected) = (call.path("thingGroupName"), call.number("expectedVersion")?);
    match groups::device_group(call.app(), &call.ctx, &call.tenant, name).await {
        Err(Error::NotFound { what: "group" }) => return Ok(Answer::Nothing),
        other => must_be(&other?.0, false)?,
    }
    match groups::remove_device_group(call.app(), &call.ctx, &call.tenant, name, expected).await {
        Err(Error::NotFound { what: "group" }) => Ok(Answer::Nothing),
        // In AWS's words: Terraform tries again where it reads them, until the groups within are gone.
        Err(Error::Conflict { code: "group-not-empty", reason }) => {
            Err(Refusal::invalid(format!("{reason}: there are still child groups attached")))
        }
        other => other.map(|()| Answer::Nothing).map_err(Refusal::from),
    }
}

/// With a parent, those right in it; `recursive` alone would be AWS's way to say all, which here is to name none.
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let prefix = call.query("namePrefixFilter").unwrap_or_default();
    // Names are in order: those that begin so stand together, the first of them after the prefix itself.
    let mut found = Vec::new();
    if paging.after.is_none() && !prefix.is_empty() {
        let named = groups::groups_among(app, ctx, tenant, vec![prefix.to_owned()]).await?;
        let parent = call.query("parentGroup");
        found.extend(
            named.into_iter().filter(|group| parent.is_none_or(|parent| group.parent.as_deref() == Some(parent))),
        );
    }
    let after = paging.after.clone().or(Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()));
    let parent = call.query("parentGroup").map(str::to_owned);
    let rows = groups::device_groups(app, ctx, tenant, parent, after, paging.rows_and_one()).await?;
    found.extend(rows.into_iter().take_while(|group| group.name.starts_with(prefix)));
    let key = |one: &DeviceGroup| one.name.clone();
    Ok(call.page(&paging, ("thingGroups", "nextToken"), found, key, |one| name_and_arn(call, &one.name)))
}

pub(super) async fn add(call: &Call<'_>) -> Result<Answer, Refusal> {
    moved(call, true).await
}

pub(super) async fn take_out(call: &Call<'_>) -> Result<Answer, Refusal> {
    moved(call, false).await
}

async fn moved(call: &Call<'_>, member: bool) -> Result<Answer, Refusal> {
    let body = call.body::<Membership>()?;
    let (device, group) = (body.thing(call)?, body.group(call)?);
    groups::move_device(call.app(), &call.ctx, &call.tenant, &device, group, member).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn of_thing(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Membership>()?;
    let device = body.thing(call)?;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    registry::device(app, ctx, tenant, &device).await?;
    for (list, member) in [(&body.thing_groups_to_remove, false), (&body.thing_groups_to_add, true)] {
        for group in list {
            groups::move_device(app, ctx, tenant, &device, group, member).await?;
        }
    }
    Ok(Answer::Nothing)
}

pub(super) async fn things(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let (app, ctx, tenant, name) = (call.app(), &call.ctx, &call.tenant, call.path("thingGroupName"));
    let names = if call.flag("recursive")?.unwrap_or(false) {
        groups::group_with_all_below(app, ctx, tenant, name).await?
    } else {
        groups::device_group(app, ctx, tenant, name).await?;
        vec![name.to_owned()]
    };
    let query = Query::any_tag(names.iter().map(String::as_str));
    let after = paging.after.as_deref().and_then(|after| after.parse().ok());
    let found = search_devices(app, ctx, tenant, &query, after, paging.rows).await?;
    let items = found.devices.iter().map(|view| json!(view.device.id.as_str())).collect();
    Ok(call.listing(&paging, ("things", "nextToken"), items, found.next.as_ref().map(|id| id.as_str())))
}

pub(super) async fn for_thing(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let view = registry::device(app, ctx, tenant, &call.thing()?).await?;
    let after = paging.after.clone().unwrap_or_default();
    let tags = view.device.tags.into_iter().filter(|tag| *tag > after).collect();
    let mut found = groups::groups_among(app, ctx, tenant, tags).await?;
    found.truncate(usize::try_from(paging.rows_and_one()).unwrap_or(usize::MAX));
    let key = |one: &DeviceGroup| one.name.clone();
    Ok(call.page(&paging, ("thingGroups", "nextToken"), found, key, |one| name_and_arn(call, &one.name)))
}

fn name_and_arn(call: &Call<'_>, name: &str) -> Value {
    json!({ "groupName": name, "groupArn": call.names.arn("thinggroup", name) })
}

pub(super) fn group_id(call: &Call<'_>, group: &DeviceGroup) -> String {
    stable_id(&[call.names.account(), "group", &group.name, &group.created_at.millis().to_string()])
}
