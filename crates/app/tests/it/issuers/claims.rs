//! Claims, and what waits for its device, where somebody else signs for the tenant.

use fleetward_app::provisioning::Claimant;
use fleetward_app::provisioning::claims::{MadeClaim, NewClaim, admit_claim, create_claim, create_user_claim};
use fleetward_app::provisioning::pending::create_from_csr;
use fleetward_app::provisioning::register::register_thing;
use fleetward_app::provisioning::templates::{TemplateInput, create_template};

use super::*;

/// Plays cfssl for names of any kind; one life for all.
fn play(authority: &Authority, asked: &Asked) -> Reply {
    let part = |name: &str| STANDARD.decode(asked.json()[name].as_str().expect("text")).expect("base64");
    let request: Value = serde_json::from_slice(&part("request")).expect("JSON");
    let (host, csr) = (request["hosts"][0].as_str().expect("a name"), request["certificate_request"].as_str());
    let csr = csr.expect("PEM");
    let certificate = match host.split(':').nth(1) {
        Some("fleetward-claim") => authority.issue_claim(host, csr, 24 * 30),
        Some("fleetward-certificate") => authority.issue_unbound(host, csr, 24 * 30),
        other => panic!("{other:?}"),
    };
    Reply::json(200, json!({ "success": true, "errors": [], "result": { "certificate": certificate } }))
}

async fn template(fixture: &Fixture) {
    let body = json!({
        "Parameters": { "SerialNumber": { "Type": "String" } },
        "Resources": { "thing": { "Type": "AWS::IoT::Thing", "Properties": { "ThingName": { "Ref": "SerialNumber" } } } },
    });
    let input = TemplateInput { body: Some(body.to_string()), ..TemplateInput::default() };
    create_template(&fixture.app, &fixture.admin, &tenant("acme"), "line", input).await.expect("a template");
}

async fn claim(fixture: &Fixture, name: &str) -> Result<MadeClaim, Error> {
    let csr = pem::write(pem::CERTIFICATE_REQUEST, &request(&SoftKey::generate().0, name));
    let new = NewClaim { name: name.to_owned(), template: "line".to_owned(), csr, count_cap: None, life: None };
    create_claim(&fixture.app, &fixture.admin, &tenant("acme"), new).await
}

fn der(text: &str) -> CertificateDer<'static> {
    CertificateDer::from(pem::read(pem::CERTIFICATE, text).expect("PEM").remove(0))
}

async fn claimant(fixture: &Fixture, shown: &CertificateDer<'_>) -> Result<Claimant, Error> {
    admit_claim(&fixture.app, &attempt(fixture), shown, "any").await.map(|admitted| admitted.claimant)
}

#[tokio::test]
async fn they_are_signed_where_the_tenants_certificates_are() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Elsewhere");
    let server = Server::start({
        let authority = authority.clone();
        move |asked| play(&authority, asked)
    })
    .await;
    template(&fixture).await;
    let view = set(&fixture, cfssl(&server.url, &authority)).await.expect("set");
    let here: Vec<_> = view.signed_here.iter().map(|(purpose, _)| purpose.as_str()).collect();
    assert_eq!(here, ["registration-authority", "attestation-key"]);
    let made = claim(&fixture, "line-4").await.expect("a claim");
    let shown = der(&made.certificate_pem);
    let subject = &authority.certificate().subject;
    assert_eq!(&Certificate::parse(&shown).expect("reads").issuer, subject);
    assert_eq!(made.expires_at, Certificate::parse(&shown).expect("reads").not_after, "it ends with its certificate");
    let claimant = claimant(&fixture, &shown).await.expect("admitted");
    let csr = pem::write(pem::CERTIFICATE_REQUEST, &request(&SoftKey::generate().0, "any"));
    let pending = create_from_csr(&fixture.app, &claimant, &csr).await.expect("a certificate");
    let waits = der(&pending.certificate_pem);
    assert_eq!(&Certificate::parse(&waits).expect("reads").issuer, subject);
    assert!(admit_device(&fixture.app, &attempt(&fixture), &waits).await.is_err(), "nobody's yet");
    let parameters = [("SerialNumber".to_owned(), "gw-1".to_owned())].into();
    let token = pending.ownership_token.expose().clone();
    register_thing(&fixture.app, &claimant, "line", &token, parameters).await.expect("registered");
    let admitted = admit_device(&fixture.app, &attempt(&fixture), &waits).await.expect("a device");
    assert_eq!(admitted.device, device("gw-1"));
    assert_eq!((server.count(), told(&fixture, Action::CertificateUnlogged).await), (2, 0));
}

#[tokio::test]
async fn how_long_a_claim_counts_is_decided_here() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Elsewhere");
    let server = Server::start({
        let authority = authority.clone();
        move |asked| play(&authority, asked)
    })
    .await;
    template(&fixture).await;
    set(&fixture, cfssl(&server.url, &authority)).await.expect("set");
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let user = create_user_claim(app, admin, &acme, "line").await.expect("a claim");
    let shown = der(&user.claim.certificate_pem);
    claimant(&fixture, &shown).await.expect("for five minutes");
    fixture.clock.advance(Duration::from_secs(301));
    assert!(claimant(&fixture, &shown).await.is_err(), "its certificate lasts a month, and it does not");
    // Nobody there, and no claim.
    set(&fixture, cfssl(&Server::nowhere().await, &Authority::new("Away"))).await.expect("set");
    assert!(is_unavailable(claim(&fixture, "line-5").await));
}

#[tokio::test]
async fn what_an_issuer_cannot_make_is_made_here_and_said() {
    let fixture = Fixture::new().await;
    template(&fixture).await;
    let authority = Authority::new("Vault");
    let wanted = json!({
        "kind": "vault", "url": Server::nowhere().await, "authorities": authority.pem(), "role": "device", "verbatim": true,
    });
    let credential = Credential { token: secret("t"), ..Credential::default() };
    let view = set(&fixture, (config(wanted), credential)).await.expect("set");
    let here: Vec<_> = view.signed_here.iter().map(|(purpose, _)| purpose.as_str()).collect();
    assert_eq!(here, ["claim", "waiting", "registration-authority", "attestation-key"]);
    let made = claim(&fixture, "line-4").await.expect("a claim, though nobody is there");
    let issuer = Certificate::parse(&der(&made.certificate_pem)).expect("reads").issuer;
    assert_ne!(issuer, authority.certificate().subject);
}
