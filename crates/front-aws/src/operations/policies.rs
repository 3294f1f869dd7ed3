//! Policies: topic policies in AWS's language, and whom they are attached to.

use fleetward_app::policy_sources::{forget_sources, keep_source, source};
use fleetward_app::provisioning::unbound::certificate;
use fleetward_app::registry;
use fleetward_app::topic_policies::{
    AttachmentView, TopicPolicyView, VersionView, attach_topic_policy, create_topic_policy, detach_topic_policy,
    remove_topic_policy, remove_topic_policy_version, set_default_version, topic_policies, topic_policies_at,
    topic_policy, topic_policy_attachments, update_topic_policy,
};
use fleetward_app::{device_groups, labels};
use fleetward_core::selector::Selector;
use fleetward_core::topic_policy::{Document, Target};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::labels::{Tag, write};
use crate::answer::{Answer, Refusal};
use crate::call::{Call, thing};
use crate::policy;

/// In which the older operations name a certificate and a policy.
const PRINCIPAL: &str = "x-amzn-iot-principal";
const POLICY: &str = "x-amzn-iot-policy";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    policy_document: String,
    target: String,
    tags: Vec<Tag>,
}

fn read(text: &str) -> Result<Document, Refusal> {
    policy::read(text).map_err(|bad| Refusal::new(StatusCode::BAD_REQUEST, "MalformedPolicyException", bad.0))
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("policyName"), call.body::<Body>()?);
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let document = read(&body.policy_document)?;
    create_topic_policy(app, ctx, tenant, name, None, document).await?;
    keep_source(app, ctx, tenant, name, 1, body.policy_document.clone()).await?;
    write(call, labels::Kind::Policy, name, body.tags).await?;
    Ok(Answer::Json(json!({
        "policyName": name,
        "policyArn": call.names.arn("policy", name),
        "policyDocument": body.policy_document,
        "policyVersionId": "1",
    })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    let text = text_of(call, &found.name, version_of(&found, found.default_version)?).await?;
    Ok(Answer::Json(json!({
        "policyName": found.name,
        "policyArn": call.names.arn("policy", &found.name),
        "policyDocument": text,
        "defaultVersionId": found.default_version.to_string(),
        "creationDate": found.created_at.secs(),
        "lastModifiedDate": found.updated_at.secs(),
        "generationId": found.latest_version.to_string(),
    })))
}

/// As it came, where it still says what the version does.
async fn text_of(call: &Call<'_>, name: &str, version: &VersionView) -> Result<String, Refusal> {
    let kept = source(call.app(), &call.ctx, &call.tenant, name, version.version).await?;
    let kept = kept.filter(|text| policy::read(text).is_ok_and(|document| document == version.document));
    Ok(kept.unwrap_or_else(|| policy::write(&version.document, |kind, name| call.names.arn(kind, name))))
}

async fn load(call: &Call<'_>) -> Result<TopicPolicyView, Refusal> {
    Ok(topic_policy(call.app(), &call.ctx, &call.tenant, call.path("policyName")).await?)
}

fn version_of(policy: &TopicPolicyView, number: u64) -> Result<&VersionView, Refusal> {
    let found = policy.versions.iter().find(|version| version.version == number);
    found.ok_or_else(|| Refusal::not_found("There is no such version of the policy"))
}

fn number(call: &Call<'_>) -> Result<u64, Refusal> {
    call.path("policyVersionId").parse().map_err(|_| Refusal::invalid("policyVersionId must be a number"))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("pageSize", "marker", 250)?;
    let rows = paging.rows_and_one();
    let found = topic_policies(call.app(), &call.ctx, &call.tenant, paging.after.clone(), rows).await?;
    let key = |one: &TopicPolicyView| one.name.clone();
    Ok(call.page(&paging, ("policies", "nextMarker"), found, key, |one| named(call, &one.name)))
}

fn named(call: &Call<'_>, name: &str) -> Value {
    json!({ "policyName": name, "policyArn": call.names.arn("policy", name) })
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let found = load(call).await?;
    if found.versions.len() > 1 {
        let message = "Delete the versions of the policy that do not count first";
        return Err(Refusal::new(StatusCode::CONFLICT, "DeleteConflictException", message));
    }
    remove_topic_policy(app, ctx, tenant, &found.name).await?;
    forget_sources(app, ctx, tenant, &found.name).await?;
    labels::forget_labels(app, ctx, tenant, labels::Kind::Policy, &found.name).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn create_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("policyName"), call.body::<Body>()?);
    let counts = call.flag("setAsDefault")?.unwrap_or(false);
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let document = read(&body.policy_document)?;
    let after = update_topic_policy(app, ctx, tenant, name, document, !counts).await?;
    keep_source(app, ctx, tenant, name, after.latest_version, body.policy_document.clone()).await?;
    Ok(Answer::Json(json!({
        "policyArn": call.names.arn("policy", name),
        "policyDocument": body.policy_document,
        "policyVersionId": after.latest_version.to_string(),
        "isDefaultVersion": counts,
    })))
}

pub(super) async fn describe_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    let version = version_of(&found, number(call)?)?;
    Ok(Answer::Json(json!({
        "policyArn": call.names.arn("policy", &found.name),
        "policyName": found.name,
        "policyDocument": text_of(call, &found.name, version).await?,
        "policyVersionId": version.version.to_string(),
        "isDefaultVersion": version.version == found.default_version,
        "creationDate": version.created_at.secs(),
        "lastModifiedDate": version.created_at.secs(),
    })))
}

pub(super) async fn versions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    let view = |version: &VersionView| {
        json!({
            "versionId": version.version.to_string(),
            "isDefaultVersion": version.version == found.default_version,
            "createDate": version.created_at.secs(),
        })
    };
    let versions: Vec<Value> = found.versions.iter().map(view).collect();
    Ok(Answer::Json(json!({ "policyVersions": versions })))
}

pub(super) async fn set_default(call: &Call<'_>) -> Result<Answer, Refusal> {
    set_default_version(call.app(), &call.ctx, &call.tenant, call.path("policyName"), number(call)?).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn delete_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    remove_topic_policy_version(call.app(), &call.ctx, &call.tenant, call.path("policyName"), number(call)?).await?;
    Ok(Answer::Nothing)
}

/// Whom an ARN means: a certificate, a group by its tag, a thing.
async fn target(call: &Call<'_>, arn: &str) -> Result<Target, Refusal> {
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    match call.names.split(arn)? {
        ("cert", id) => Ok(Target::Certificate(certificate(app, ctx, tenant, id).await?.serial)),
        ("thinggroup", name) => {
            device_groups::device_group(app, ctx, tenant, name).await?;
            Ok(Target::Selector(Box::new(Selector { tags: [name.to_owned()].into(), ..Selector::default() })))
        }
        ("thing", name) => {
            let device = thing(name)?;
            registry::device(app, ctx, tenant, &device).await?;
            Ok(Target::Device(device))
        }
        _ => Err(Refusal::invalid("A policy is attached to a certificate, a thing group or a thing")),
    }
}

pub(super) async fn attach(call: &Call<'_>) -> Result<Answer, Refusal> {
    let target = target(call, &call.body::<Body>()?.target).await?;
    attach_topic_policy(call.app(), &call.ctx, &call.tenant, call.path("policyName"), target).await?;
    Ok(Answer::Nothing)
}

/// A target that is not there is no `ResourceNotFoundException` here, as with AWS: Terraform knows these words, and then
/// takes the attachment for gone.
pub(super) async fn detach(call: &Call<'_>) -> Result<Answer, Refusal> {
    let target = target(call, &call.body::<Body>()?.target).await.map_err(|refusal| {
        let gone = refusal.status == StatusCode::NOT_FOUND;
        if gone { Refusal::invalid(format!("Invalid Target: {}", refusal.message)) } else { refusal }
    })?;
    detached(call, &target).await
}

async fn detached(call: &Call<'_>, target: &Target) -> Result<Answer, Refusal> {
    detach_topic_policy(call.app(), &call.ctx, &call.tenant, call.path("policyName"), target).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn attach_principal(call: &Call<'_>) -> Result<Answer, Refusal> {
    let target = target(call, header(call, PRINCIPAL)?).await?;
    attach_topic_policy(call.app(), &call.ctx, &call.tenant, call.path("policyName"), target).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn detach_principal(call: &Call<'_>) -> Result<Answer, Refusal> {
    let target = target(call, header(call, PRINCIPAL)?).await?;
    detached(call, &target).await
}

fn header<'c>(call: &'c Call<'_>, name: &str) -> Result<&'c str, Refusal> {
    call.header(name).ok_or_else(|| Refusal::invalid(format!("the header field {name} is missing")))
}

pub(super) async fn attached(call: &Call<'_>) -> Result<Answer, Refusal> {
    attached_to(call, call.path("target")).await
}

pub(super) async fn of_principal(call: &Call<'_>) -> Result<Answer, Refusal> {
    attached_to(call, header(call, PRINCIPAL)?).await
}

async fn attached_to(call: &Call<'_>, arn: &str) -> Result<Answer, Refusal> {
    let target = target(call, arn).await?;
    let found = topic_policies_at(call.app(), &call.ctx, &call.tenant, &target).await?;
    let policies: Vec<Value> = found.iter().map(|one| named(call, &one.policy)).collect();
    Ok(Answer::Json(json!({ "policies": policies })))
}

pub(super) async fn targets(call: &Call<'_>) -> Result<Answer, Refusal> {
    targets_of(call, call.path("policyName"), "targets").await
}

pub(super) async fn principals(call: &Call<'_>) -> Result<Answer, Refusal> {
    targets_of(call, header(call, POLICY)?, "principals").await
}

async fn targets_of(call: &Call<'_>, policy: &str, list: &str) -> Result<Answer, Refusal> {
    let paging = call.paging("pageSize", "marker", 250)?;
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    topic_policy(app, ctx, tenant, policy).await?;
    let after = paging.after.as_deref().and_then(|after| after.split_once('\n'));
    let after = after.map(|(kind, key)| (kind.to_owned(), key.to_owned()));
    let mut found = topic_policy_attachments(app, ctx, tenant, policy, after, paging.rows_and_one()).await?;
    let rows = usize::try_from(paging.rows).unwrap_or(usize::MAX);
    let more = found.len() > rows;
    found.truncate(rows);
    let key = |one: &AttachmentView| format!("{}\n{}", one.target.kind().as_str(), one.target.key());
    let next = found.last().filter(|_| more).map(key);
    let mut items = Vec::new();
    for one in &found {
        items.extend(arn_of(call, &one.target).await?.map(Value::String));
    }
    Ok(call.listing(&paging, (list, "nextMarker"), items, next.as_deref()))
}

/// What AWS can name. A selector of more than one tag, and the whole tenant, are ours alone.
async fn arn_of(call: &Call<'_>, target: &Target) -> Result<Option<String>, Refusal> {
    Ok(match target {
        Target::Device(device) => Some(call.names.arn("thing", device.as_str())),
        Target::Certificate(serial) => {
            let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
            let id = fleetward_app::provisioning::unbound::id_of(app, ctx, tenant, serial).await?;
            id.map(|id| call.names.arn("cert", &id))
        }
        Target::Selector(selector) => {
            let only = Selector { tags: selector.tags.clone(), ..Selector::default() };
            let tag = selector.tags.first().filter(|_| selector.tags.len() == 1 && **selector == only);
            tag.map(|tag| call.names.arn("thinggroup", tag))
        }
        Target::Tenant => None,
    })
}
