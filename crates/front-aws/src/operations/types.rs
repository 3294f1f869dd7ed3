//! Thing types.

use std::collections::BTreeSet;

use fleetward_app::device_types::{
    DeviceType, create_device_type, deprecate_device_type, device_type, device_types, remove_device_type,
};
use fleetward_app::labels;
use serde::Deserialize;
use serde_json::{Value, json};

use super::labels::{Tag, write};
use crate::answer::{Answer, Refusal};
use crate::call::Call;
use crate::names::stable_id;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    thing_type_properties: Properties,
    tags: Vec<Tag>,
    undo_deprecate: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    thing_type_description: Option<String>,
    searchable_attributes: BTreeSet<String>,
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("thingTypeName"), call.body::<Body>()?);
    let Properties { thing_type_description, searchable_attributes } = body.thing_type_properties;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let made = create_device_type(app, ctx, tenant, name, thing_type_description, searchable_attributes).await?;
    write(call, labels::Kind::Type, name, body.tags).await?;
    Ok(Answer::Json(json!({
        "thingTypeName": name,
        "thingTypeArn": call.names.arn("thingtype", name),
        "thingTypeId": type_id(call, &made),
    })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = device_type(call.app(), &call.ctx, &call.tenant, call.path("thingTypeName")).await?;
    let mut view = view(call, &found);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("thingTypeId".to_owned(), json!(type_id(call, &found)));
    }
    Ok(Answer::Json(view))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let found = match call.query("thingTypeName") {
        // As AWS reads it: this type, or none.
        Some(name) => match device_type(app, ctx, tenant, name).await {
            Err(fleetward_app::Error::NotFound { .. }) => Vec::new(),
            other => vec![other?],
        },
        None => device_types(app, ctx, tenant, paging.after.clone(), paging.rows_and_one()).await?,
    };
    Ok(call.page(&paging, ("thingTypes", "nextToken"), found, |one| one.name.clone(), |one| view(call, &one)))
}

pub(super) async fn deprecate(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let name = call.path("thingTypeName");
    deprecate_device_type(call.app(), &call.ctx, &call.tenant, name, !body.undo_deprecate).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let name = call.path("thingTypeName");
    let found = device_type(call.app(), &call.ctx, &call.tenant, name).await?;
    if found.deprecated_at.is_none() {
        return Err(Refusal::invalid(format!("The thing type {name} has to be deprecated first")));
    }
    remove_device_type(call.app(), &call.ctx, &call.tenant, name).await?;
    Ok(Answer::Nothing)
}

fn type_id(call: &Call<'_>, of: &DeviceType) -> String {
    stable_id(&[call.names.account(), "type", &of.name, &of.created_at.millis().to_string()])
}

fn view(call: &Call<'_>, of: &DeviceType) -> Value {
    let mut metadata = json!({ "deprecated": of.deprecated_at.is_some(), "creationDate": of.created_at.secs() });
    if let (Some(at), Some(fields)) = (of.deprecated_at, metadata.as_object_mut()) {
        fields.insert("deprecationDate".to_owned(), json!(at.secs()));
    }
    let mut properties = json!({ "searchableAttributes": of.searchable });
    if let (Some(text), Some(fields)) = (&of.description, properties.as_object_mut()) {
        fields.insert("thingTypeDescription".to_owned(), json!(text));
    }
    json!({
        "thingTypeName": of.name,
        "thingTypeArn": call.names.arn("thingtype", &of.name),
        "thingTypeProperties": properties,
        "thingTypeMetadata": metadata,
    })
}
