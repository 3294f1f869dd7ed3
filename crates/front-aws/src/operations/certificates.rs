//! Certificates, and the things that they are of.

use fleetward_app::provisioning::unbound::{self, KnownCertificate, MadeCertificate, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::call::{Call, PRINCIPAL};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    certificate_signing_request: Option<String>,
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let csr = body.certificate_signing_request;
    let csr = csr.ok_or_else(|| Refusal::invalid("certificateSigningRequest is missing"))?;
    let active = call.flag("setAsActive")?.unwrap_or(false);
    let made = unbound::create_from_csr(call.app(), &call.ctx, &call.tenant, &csr, active).await?;
    Ok(shown(call, made))
}

pub(super) async fn create_keys(call: &Call<'_>) -> Result<Answer, Refusal> {
    let active = call.flag("setAsActive")?.unwrap_or(false);
    let made = unbound::create_with_key(call.app(), &call.ctx, &call.tenant, active).await?;
    Ok(shown(call, made))
}

fn shown(call: &Call<'_>, MadeCertificate { certificate, keys }: MadeCertificate) -> Answer {
    let mut view = json!({
        "certificateArn": call.names.arn("cert", &certificate.id),
        "certificateId": certificate.id,
        "certificatePem": certificate.pem(),
    });
    if let (Some((private, public)), Some(fields)) = (keys, view.as_object_mut()) {
        let pair = json!({ "PublicKey": public, "PrivateKey": private.expose() });
        fields.insert("keyPair".to_owned(), pair);
    }
    Answer::Json(view)
}

/// What others have signed comes in by its authority, which is registered once.
pub(super) async fn register(_: &Call<'_>) -> Result<Answer, Refusal> {
    Err(Refusal::new(
        http::StatusCode::BAD_REQUEST,
        "CertificateValidationException",
        "Certificates that others have signed are not registered one by one here: register their authority \
         (wardctl factory-ca register), and each device is registered when it first connects",
    ))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = unbound::certificate(call.app(), &call.ctx, &call.tenant, call.path("certificateId")).await?;
    Ok(Answer::Json(json!({
        "certificateDescription": {
            "certificateArn": call.names.arn("cert", &found.id),
            "certificateId": found.id,
            "caCertificateId": found.authority,
            "status": status(found.state),
            "certificatePem": found.pem(),
            "ownedBy": call.names.account(),
            "creationDate": found.issued_at.secs(),
            "lastModifiedDate": found.issued_at.secs(),
            "customerVersion": 1,
            "generationId": crate::names::stable_id(&[&found.id]),
            "validity": { "notBefore": found.not_before.secs(), "notAfter": found.not_after.secs() },
            "certificateMode": "DEFAULT",
        }
    })))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("pageSize", "marker", 250)?;
    let rows = paging.rows_and_one();
    let found = unbound::certificates(call.app(), &call.ctx, &call.tenant, paging.after.clone(), rows).await?;
    Ok(call.page(&paging, ("certificates", "nextMarker"), found, unbound::place, |one| {
        json!({
            "certificateArn": call.names.arn("cert", &one.id),
            "certificateId": one.id,
            "status": status(one.state),
            "certificateMode": "DEFAULT",
            "creationDate": one.issued_at.secs(),
        })
    }))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let state = match call.query("newStatus") {
        Some("ACTIVE") => State::Active,
        Some("INACTIVE") => State::Inactive,
        Some("REVOKED") => State::Revoked,
        _ => return Err(Refusal::invalid("newStatus must be ACTIVE, INACTIVE or REVOKED")),
    };
    unbound::set_state(call.app(), &call.ctx, &call.tenant, call.path("certificateId"), state).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let even_so = call.flag("forceDelete")?.unwrap_or(false);
    unbound::remove(call.app(), &call.ctx, &call.tenant, call.path("certificateId"), even_so).await?;
    Ok(Answer::Nothing)
}

/// The certificate that the request names.
pub(super) fn principal<'c>(call: &'c Call<'_>) -> Result<&'c str, Refusal> {
    let named =
        call.header(PRINCIPAL).ok_or_else(|| Refusal::invalid("the header field x-amzn-principal is missing"))?;
    match call.names.split(named)? {
        ("cert", id) => Ok(id),
        _ => Err(Refusal::invalid("The principal must be a certificate")),
    }
}

pub(super) async fn attach(call: &Call<'_>) -> Result<Answer, Refusal> {
    unbound::attach(call.app(), &call.ctx, &call.tenant, principal(call)?, &call.thing()?).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn detach(call: &Call<'_>) -> Result<Answer, Refusal> {
    unbound::detach(call.app(), &call.ctx, &call.tenant, principal(call)?, &call.thing()?).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn of_thing(call: &Call<'_>) -> Result<Answer, Refusal> {
    attached(call, "principals", |arn| json!(arn)).await
}

pub(super) async fn of_thing_v2(call: &Call<'_>) -> Result<Answer, Refusal> {
    let view = |arn: String| json!({ "principal": arn, "thingPrincipalType": "EXCLUSIVE_THING" });
    attached(call, "thingPrincipalObjects", view).await
}

async fn attached(call: &Call<'_>, list: &str, view: impl Fn(String) -> Value) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let mut found = unbound::certificates_of(call.app(), &call.ctx, &call.tenant, &call.thing()?).await?;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found.retain(|one| paging.after.as_ref().is_none_or(|after| one.id > *after));
    found.truncate(usize::try_from(paging.rows_and_one()).unwrap_or(usize::MAX));
    let key = |one: &KnownCertificate| one.id.clone();
    Ok(call.page(&paging, (list, "nextToken"), found, key, |one| view(call.names.arn("cert", &one.id))))
}

pub(super) async fn things(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = unbound::certificate(call.app(), &call.ctx, &call.tenant, principal(call)?).await?;
    let things: Vec<&str> = found.device.iter().map(|device| device.as_str()).collect();
    Ok(Answer::Json(json!({ "things": things })))
}

pub(super) async fn things_v2(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = unbound::certificate(call.app(), &call.ctx, &call.tenant, principal(call)?).await?;
    let view = |thing: &str| json!({ "thingName": thing, "thingPrincipalType": "EXCLUSIVE_THING" });
    let things: Vec<Value> = found.device.iter().map(|device| view(device.as_str())).collect();
    Ok(Answer::Json(json!({ "principalThingObjects": things })))
}

const fn status(state: State) -> &'static str {
    match state {
        State::Active => "ACTIVE",
        State::Inactive => "INACTIVE",
        State::Revoked => "REVOKED",
    }
}
