//! Provisioning templates and the claims of trusted users.
//!
//! A template has one version here, the newest, and its number is that of the changes. What AWS keeps beside the body and
//! we have no use for (description, role) is kept as labels that nobody else sees.

use std::collections::BTreeMap;

use fleetward_app::labels::{self, Kind};
use fleetward_app::provisioning::claims::create_user_claim;
use fleetward_app::provisioning::templates::{
    Template, TemplateInput, amend_template, create_template, delete_template, template, templates,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::labels::{Tag, write};
use crate::answer::{Answer, Refusal};
use crate::call::Call;

const DESCRIPTION: &str = "aws:description";
const ROLE: &str = "aws:provisioning-role";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    template_name: String,
    description: Option<String>,
    template_body: Option<String>,
    enabled: Option<bool>,
    provisioning_role_arn: Option<String>,
    pre_provisioning_hook: Option<Value>,
    default_version_id: Option<u64>,
    tags: Vec<Tag>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Body {
    fn check(&self) -> Result<(), Refusal> {
        if self.pre_provisioning_hook.is_some() {
            let message = "Hooks are not functions of AWS here: name an HTTPS address with wardctl template";
            return Err(Refusal::invalid(message));
        }
        if self.kind.as_deref().is_some_and(|kind| kind != "FLEET_PROVISIONING") {
            return Err(Refusal::invalid("type must be FLEET_PROVISIONING; factories are registered with wardctl"));
        }
        Ok(())
    }

    async fn keep_the_rest(&self, call: &Call<'_>, name: &str) -> Result<(), Refusal> {
        let said = [(DESCRIPTION, &self.description), (ROLE, &self.provisioning_role_arn)];
        let changes: BTreeMap<_, _> = said
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), Some(value.clone()?).filter(|value| !value.is_empty()))))
            .collect();
        if !changes.is_empty() {
            labels::set_labels(call.app(), &call.ctx, &call.tenant, Kind::Template, name, changes).await?;
        }
        Ok(())
    }
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    body.check()?;
    let name = body.template_name.clone();
    let input = TemplateInput {
        body: body.template_body.clone(),
        // As AWS has it: off unless it is said.
        enabled: Some(body.enabled.unwrap_or(false)),
        ..TemplateInput::default()
    };
    create_template(call.app(), &call.ctx, &call.tenant, &name, input).await?;
    body.keep_the_rest(call, &name).await?;
    write(call, Kind::Template, &name, body.tags).await?;
    Ok(Answer::Json(json!({
        "templateArn": call.names.arn("provisioningtemplate", &name),
        "templateName": name,
        "defaultVersionId": 1,
    })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    let labels = labels::labels(call.app(), &call.ctx, &call.tenant, Kind::Template, &found.name).await?;
    let mut view = view(call, &found);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("defaultVersionId".to_owned(), json!(found.revision));
        fields.insert("templateBody".to_owned(), json!(found.body));
        for (key, name) in [(DESCRIPTION, "description"), (ROLE, "provisioningRoleArn")] {
            fields.extend(labels.get(key).map(|value| (name.to_owned(), json!(value))));
        }
    }
    Ok(Answer::Json(view))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    body.check()?;
    let found = load(call).await?;
    if body.default_version_id.is_some_and(|version| version != found.revision) {
        return Err(Refusal::invalid(format!("the only version of the template is {}", found.revision)));
    }
    if body.enabled.is_some_and(|enabled| enabled != found.enabled) {
        let input = TemplateInput { enabled: body.enabled, ..TemplateInput::default() };
        amend_template(call.app(), &call.ctx, &call.tenant, &found.name, found.revision, input).await?;
    }
    body.keep_the_rest(call, &found.name).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    delete_template(call.app(), &call.ctx, &call.tenant, &found.name, found.revision).await?;
    labels::forget_labels(call.app(), &call.ctx, &call.tenant, Kind::Template, &found.name).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let rows = paging.rows_and_one();
    let found = templates(call.app(), &call.ctx, &call.tenant, paging.after.clone(), rows).await?;
    Ok(call.page(&paging, ("templates", "nextToken"), found, |one| one.name.clone(), |one| view(call, &one)))
}

pub(super) async fn create_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    if !call.flag("setAsDefault")?.unwrap_or(false) {
        return Err(Refusal::invalid("The newest version of a template is the one that counts: say setAsDefault"));
    }
    let found = load(call).await?;
    let text = body.template_body.ok_or_else(|| Refusal::invalid("templateBody is missing"))?;
    let input = TemplateInput { body: Some(text), ..TemplateInput::default() };
    amend_template(call.app(), &call.ctx, &call.tenant, &found.name, found.revision, input).await?;
    let after = load(call).await?;
    Ok(Answer::Json(json!({
        "templateArn": call.names.arn("provisioningtemplate", &after.name),
        "templateName": after.name,
        "versionId": after.revision,
        "isDefaultVersion": true,
    })))
}

pub(super) async fn versions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    let version = json!({
        "versionId": found.revision, "creationDate": found.updated_at.secs(), "isDefaultVersion": true,
    });
    Ok(Answer::Json(json!({ "versions": [version] })))
}

pub(super) async fn describe_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = load(call).await?;
    if call.path("versionId") != found.revision.to_string() {
        return Err(Refusal::not_found(format!("The only version of the template is {}", found.revision)));
    }
    Ok(Answer::Json(json!({
        "versionId": found.revision,
        "creationDate": found.updated_at.secs(),
        "templateBody": found.body,
        "isDefaultVersion": true,
    })))
}

pub(super) async fn claim(call: &Call<'_>) -> Result<Answer, Refusal> {
    let made = create_user_claim(call.app(), &call.ctx, &call.tenant, call.path("templateName")).await?;
    Ok(Answer::Json(json!({
        "certificateId": made.claim.certificate_id,
        "certificatePem": made.claim.certificate_pem,
        "keyPair": { "PublicKey": made.public_key, "PrivateKey": made.private_key.expose() },
        "expiration": made.claim.expires_at.secs(),
    })))
}

async fn load(call: &Call<'_>) -> Result<Template, Refusal> {
    Ok(template(call.app(), &call.ctx, &call.tenant, call.path("templateName")).await?)
}

fn view(call: &Call<'_>, template: &Template) -> Value {
    json!({
        "templateArn": call.names.arn("provisioningtemplate", &template.name),
        "templateName": template.name,
        "creationDate": template.created_at.secs(),
        "lastModifiedDate": template.updated_at.secs(),
        "enabled": template.enabled,
        "type": "FLEET_PROVISIONING",
    })
}
