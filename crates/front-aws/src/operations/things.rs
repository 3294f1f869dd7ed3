//! Things: devices. Attributes are ours; five of them are fields of the record, as provisioning templates have it.

use std::collections::BTreeMap;

use fleetward_app::Error;
use fleetward_app::device_types::device_type;
use fleetward_app::provisioning::unbound::certificates_of;
use fleetward_app::registry::{self, DeviceView};
use fleetward_app::search::search_devices;
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::registry::{Device, DeviceFields, HARDWARE_UNKNOWN, KIND, Patch, Scalar};
use fleetward_core::search::{Field, Pattern, Query};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::call::Call;
use crate::names::stable_id;

const BILLING_GROUP: &str = "billing_group";
/// Somebody else changed the record between reading and writing so often.
const TRIES: usize = 3;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AttributePayload {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) merge: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ThingBody {
    thing_type_name: Option<String>,
    attribute_payload: Option<AttributePayload>,
    billing_group_name: Option<String>,
    expected_version: Option<u64>,
    remove_thing_type: bool,
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, body) = (call.thing()?, call.body::<ThingBody>()?);
    let mut fields = fields_of(body.attribute_payload.unwrap_or_default().attributes)?;
    if let Some(kind) = &body.thing_type_name {
        usable_type(call, kind).await?;
        fields.attributes.insert(KIND.to_owned(), Some(Scalar::Text(kind.clone())));
        fields.class = kind.to_ascii_lowercase().parse().ok();
    }
    if let Some(group) = body.billing_group_name {
        fields.attributes.insert(BILLING_GROUP.to_owned(), Some(Scalar::Text(group)));
    }
    let made = registry::create_device(call.app(), &call.ctx, &call.tenant, id.clone(), fields.clone()).await;
    let view = match made {
        // The same thing once more is no fault.
        Err(Error::Conflict { code: "device-exists", reason }) => {
            let view = registry::device(call.app(), &call.ctx, &call.tenant, &id).await?;
            let again = view.device.amend(fields, call.app().now()).ok();
            if again.is_none_or(|again| again.revision != view.device.revision) {
                return Err(Refusal::new(StatusCode::CONFLICT, "ResourceAlreadyExistsException", reason));
            }
            view
        }
        other => other?,
    };
    Ok(Answer::Json(json!({
        "thingName": id.as_str(),
        "thingArn": call.names.arn("thing", id.as_str()),
        "thingId": thing_id(call, &view.device),
    })))
}

/// A type that devices may still get.
async fn usable_type(call: &Call<'_>, name: &str) -> Result<(), Refusal> {
    let kind = device_type(call.app(), &call.ctx, &call.tenant, name).await?;
    if kind.deprecated_at.is_some() {
        return Err(Refusal::invalid(format!("The thing type {name} is deprecated")));
    }
    Ok(())
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = call.thing()?;
    let view = registry::device(call.app(), &call.ctx, &call.tenant, &id).await?;
    let device = &view.device;
    let mut body = json!({
        "defaultClientId": id.as_str(),
        "thingName": id.as_str(),
        "thingId": thing_id(call, device),
        "thingArn": call.names.arn("thing", id.as_str()),
        "attributes": attributes_of(device),
        "version": device.revision,
    });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(device.kind().map(|kind| ("thingTypeName".to_owned(), json!(kind))));
        if let Some(Scalar::Text(group)) = device.attributes.get(BILLING_GROUP) {
            fields.insert("billingGroupName".to_owned(), json!(group));
        }
    }
    Ok(Answer::Json(body))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, body) = (call.thing()?, call.body::<ThingBody>()?);
    if body.remove_thing_type && body.thing_type_name.is_some() {
        return Err(Refusal::invalid("thingTypeName and removeThingType contradict each other"));
    }
    if let Some(kind) = &body.thing_type_name {
        usable_type(call, kind).await?;
    }
    let mut left = TRIES;
    loop {
        let view = registry::device(call.app(), &call.ctx, &call.tenant, &id).await?;
        let fields = changes(&view.device, &body)?;
        let expected = body.expected_version.unwrap_or(view.device.revision);
        let amended = registry::amend_device(call.app(), &call.ctx, &call.tenant, &id, expected, fields).await;
        left -= 1;
        match amended {
            Err(Error::Stale { .. }) if body.expected_version.is_none() && left > 0 => {}
            other => return other.map(|_| Answer::Nothing).map_err(Refusal::from),
        }
    }
}

/// What an update asks for, of a device as it is.
fn changes(device: &Device, body: &ThingBody) -> Result<DeviceFields, Refusal> {
    let mut fields = DeviceFields::default();
    if let Some(payload) = &body.attribute_payload {
        fields = fields_of(payload.attributes.clone())?;
        if !payload.merge {
            // What is not said goes.
            for name in attributes_of(device).into_keys().filter(|name| !payload.attributes.contains_key(name)) {
                clear(&mut fields, &name);
            }
        }
    }
    if let Some(kind) = &body.thing_type_name {
        fields.attributes.insert(KIND.to_owned(), Some(Scalar::Text(kind.clone())));
    }
    if body.remove_thing_type {
        fields.attributes.insert(KIND.to_owned(), None);
    }
    Ok(fields)
}

/// A thing with certificates is not removed, as with AWS; one that is not there is none any more.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, expected) = (call.thing()?, call.number("expectedVersion")?);
    let found = registry::device(call.app(), &call.ctx, &call.tenant, &id).await;
    let view = match found {
        Err(Error::NotFound { what: "device" }) => return Ok(Answer::Nothing),
        other => other?,
    };
    if let Some(expected) = expected.filter(|expected| *expected != view.device.revision) {
        return Err(Error::Stale { expected, found: view.device.revision }.into());
    }
    if !certificates_of(call.app(), &call.ctx, &call.tenant, &id).await?.is_empty() {
        return Err(Refusal::invalid("Things cannot be deleted while principals are attached"));
    }
    let mut device = view.device;
    if device.status != Status::Decommissioned {
        let step = Transition::Decommission;
        device = registry::change_status(call.app(), &call.ctx, &call.tenant, &id, step).await?.device;
    }
    registry::remove_device(call.app(), &call.ctx, &call.tenant, &id, device.revision).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let mut terms = Vec::new();
    if let Some(kind) = call.query("thingTypeName") {
        terms.push(Query::kind(kind));
    }
    match (call.query("attributeName"), call.query("attributeValue")) {
        (Some(name), Some(value)) => {
            let begins = call.flag("usePrefixAttributeValue")?.unwrap_or(false);
            let pattern = if begins { Pattern::prefix(value) } else { Pattern::exact(value) };
            terms.push(Query::Term(field_of(name), pattern));
        }
        (None, None) => {}
        _ => return Err(Refusal::invalid("attributeName and attributeValue belong together")),
    }
    let query = if terms.is_empty() { Query::All } else { Query::And(terms) };
    let after = paging.after.as_deref().and_then(|after| after.parse().ok());
    let found = search_devices(call.app(), &call.ctx, &call.tenant, &query, after, paging.rows).await?;
    let items = found.devices.iter().map(|view| thing_view(call, view)).collect();
    Ok(call.listing(&paging, ("things", "nextToken"), items, found.next.as_ref().map(|id| id.as_str())))
}

fn thing_view(call: &Call<'_>, DeviceView { device, .. }: &DeviceView) -> Value {
    let mut view = json!({
        "thingName": device.id.as_str(),
        "thingArn": call.names.arn("thing", device.id.as_str()),
        "attributes": attributes_of(device),
        "version": device.revision,
    });
    if let (Some(kind), Some(fields)) = (device.kind(), view.as_object_mut()) {
        fields.insert("thingTypeName".to_owned(), json!(kind));
    }
    view
}

pub(super) fn thing_id(call: &Call<'_>, device: &Device) -> String {
    stable_id(&[call.names.account(), device.id.as_str(), &device.created_at.millis().to_string()])
}

/// What AWS's clients see as attributes.
pub(super) fn attributes_of(device: &Device) -> BTreeMap<String, String> {
    let text = |value: &Scalar| match value {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(value) => value.to_string(),
        Scalar::Text(value) => value.clone(),
    };
    let own = device.attributes.iter().filter(|(name, _)| !matches!(name.as_str(), KIND | BILLING_GROUP));
    let mut all: BTreeMap<String, String> = own.map(|(name, value)| (name.clone(), text(value))).collect();
    for (name, value) in [
        ("hardware", Some(&device.hardware).filter(|hardware| *hardware != HARDWARE_UNKNOWN)),
        ("site", device.site.as_ref()),
        ("location", device.location.as_ref()),
        ("environment", device.environment.as_ref()),
        ("owner", device.owner.as_ref()),
    ] {
        all.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    all
}

/// The fields that attributes stand for. An empty text takes one away.
fn fields_of(attributes: BTreeMap<String, String>) -> Result<DeviceFields, Refusal> {
    let mut fields = DeviceFields::default();
    for (name, value) in attributes {
        if matches!(name.as_str(), KIND | BILLING_GROUP) {
            return Err(Refusal::invalid(format!("the attribute {name} is set by a parameter of its own")));
        }
        if value.is_empty() {
            clear(&mut fields, &name);
            continue;
        }
        match name.as_str() {
            "hardware" => fields.hardware = Some(value),
            "site" => fields.site = Patch::Set(value),
            "location" => fields.location = Patch::Set(value),
            "environment" => fields.environment = Patch::Set(value),
            "owner" => fields.owner = Patch::Set(value),
            _ => drop(fields.attributes.insert(name, Some(Scalar::Text(value)))),
        }
    }
    Ok(fields)
}

fn clear(fields: &mut DeviceFields, name: &str) {
    match name {
        "hardware" => fields.hardware = Some(HARDWARE_UNKNOWN.to_owned()),
        "site" => fields.site = Patch::Clear,
        "location" => fields.location = Patch::Clear,
        "environment" => fields.environment = Patch::Clear,
        "owner" => fields.owner = Patch::Clear,
        _ => drop(fields.attributes.insert(name.to_owned(), None)),
    }
}

fn field_of(name: &str) -> Field {
    match name {
        "hardware" => Field::Hardware,
        "site" => Field::Site,
        "location" => Field::Location,
        "environment" => Field::Environment,
        "owner" => Field::Owner,
        _ => Field::Attribute(name.to_owned()),
    }
}
