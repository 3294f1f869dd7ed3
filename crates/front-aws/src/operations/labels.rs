//! Tags of resources: labels on what is no device.

use std::collections::BTreeMap;

use fleetward_app::commands::templates::command_template;
use fleetward_app::device_groups::device_group;
use fleetward_app::device_types::device_type;
use fleetward_app::jobs::job;
use fleetward_app::labels::{self, Kind};
use fleetward_app::provisioning::templates::template;
use fleetward_app::topic_policies::topic_policy;
use serde::Deserialize;
use serde_json::json;

use super::jobs::job_id;
use crate::answer::{Answer, Refusal};
use crate::call::Call;

/// Keys that AWS keeps for itself, and we for what AWS's resources have and ours have not.
pub(super) const OURS: &str = "aws:";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    resource_arn: String,
    tags: Vec<Tag>,
    tag_keys: Vec<String>,
}

/// Writes the tags with which a resource was made.
pub(super) async fn write(call: &Call<'_>, kind: Kind, name: &str, tags: Vec<Tag>) -> Result<(), Refusal> {
    if tags.is_empty() {
        return Ok(());
    }
    if tags.iter().any(|tag| tag.key.starts_with(OURS)) {
        return Err(Refusal::invalid(format!("keys of tags do not begin with {OURS}")));
    }
    let changes: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.key, Some(tag.value))).collect();
    labels::set_labels(call.app(), &call.ctx, &call.tenant, kind, name, changes).await?;
    Ok(())
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let (kind, name) = resource(call, &body.resource_arn).await?;
    write(call, kind, name, body.tags).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn untag(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let (kind, name) = resource(call, &body.resource_arn).await?;
    let keys = body.tag_keys.into_iter().filter(|key| !key.starts_with(OURS));
    let changes = keys.map(|key| (key, None)).collect();
    labels::set_labels(call.app(), &call.ctx, &call.tenant, kind, name, changes).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let arn = call.query("resourceArn").ok_or_else(|| Refusal::invalid("resourceArn is missing"))?;
    let (kind, name) = resource(call, arn).await?;
    let found = labels::labels(call.app(), &call.ctx, &call.tenant, kind, name).await?;
    let tags: Vec<_> = found
        .into_iter()
        .filter(|(key, _)| !key.starts_with(OURS))
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    Ok(Answer::Json(json!({ "tags": tags })))
}

/// The resource that an ARN names, if it is there.
async fn resource<'a>(call: &Call<'_>, arn: &'a str) -> Result<(Kind, &'a str), Refusal> {
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let (kind, name) = call.names.split(arn)?;
    let kind = match kind {
        "thingtype" => device_type(app, ctx, tenant, name).await.map(|_| Kind::Type)?,
        "thinggroup" => device_group(app, ctx, tenant, name).await.map(|_| Kind::Group)?,
        "provisioningtemplate" => template(app, ctx, tenant, name).await.map(|_| Kind::Template)?,
        "policy" => topic_policy(app, ctx, tenant, name).await.map(|_| Kind::Policy)?,
        "job" => job(app, ctx, tenant, &job_id(name)?).await.map(|_| Kind::Job)?,
        "command" => command_template(app, ctx, tenant, name).await.map(|_| Kind::Command)?,
        _ => return Err(Refusal::invalid("This resource has no tags here")),
    };
    Ok((kind, name))
}
