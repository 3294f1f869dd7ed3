//! Fleet provisioning and just-in-time registration, as devices see them.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use fleetward_app::Error;
use fleetward_app::deny_list::{Denied, deny};
use fleetward_app::enroll::{Attempt, admit_device};
use fleetward_app::identity_policy::amend_policy;
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::provisioning::claims::{create_user_claim, revoke_claim};
use fleetward_app::provisioning::codes::{Subject, claim_device, create_claim_code};
use fleetward_app::provisioning::factories::{
    FactoryChange, NewFactory, amend_factory, create_registration_code, register_factory, revoke_factory,
};
use fleetward_app::provisioning::jit::{activate, arrived};
use fleetward_app::publication;
use fleetward_app::reconcile::{crls, expiry, transparency as log};
use fleetward_app::{App, authority, registry, transparency};
use fleetward_core::journal::Action;
use fleetward_core::provisioning::Mode;
use fleetward_pki::{Certificate, SoftKey, csr, name};
use fleetward_sim::mqtt::Version;
use fleetward_store::AttestationRow;
use fleetward_wire::aws::provisioning::{CertificateAccepted, Format, ProvisionRequest, decode, encode};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::house::{Device, House, Link, id, pem, tenant, unpem};

const CSR: &str = "$aws/certificates/create-from-csr/json";
const KEYS: &str = "$aws/certificates/create/json";
const PROVISION: &str = "$aws/provisioning-templates/line/provision/json";

fn line() -> Value {
    json!({
        "Parameters": { "SerialNumber": { "Type": "String" } },
        "Resources": {
            "thing": { "Type": "AWS::IoT::Thing", "Properties": {
                "ThingName": { "Fn::Sub": "gw-${SerialNumber}" },
                "ThingGroups": ["line-4"], "AttributePayload": { "hardware": "rev-b" }
            } },
            "certificate": { "Type": "AWS::IoT::Certificate", "Properties": {
                "CertificateId": { "Ref": "AWS::IoT::Certificate::Id" }, "Status": "ACTIVE"
            } }
        },
        "DeviceConfiguration": { "endpoint": "fleet.example" }
    })
}

fn request() -> Value {
    let der = csr::write(&name::write(None, "any"), &[], &SoftKey::generate().0).expect("signs");
    json!({ "certificateSigningRequest": pem("CERTIFICATE REQUEST", &der) })
}

fn provision(token: &str, serial: &str) -> String {
    json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": serial } }).to_string()
}

/// A connection with a claim that has asked for the answers.
async fn connected(house: &House, claim: &Device) -> Link {
    let mut link = house.connect(claim, Version::V5).await;
    link.subscribe(&[&format!("{CSR}/+"), &format!("{PROVISION}/accepted"), &format!("{PROVISION}/rejected")]).await;
    link
}

async fn certificate(link: &mut Link) -> Value {
    link.publish(CSR, &request().to_string()).await;
    link.expect("create-from-csr/json/accepted").await
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}"))
}

async fn rejected(link: &mut Link) -> (u64, String) {
    let body = link.expect("/rejected").await;
    (body["statusCode"].as_u64().expect("a status"), text(&body, "errorCode").to_owned())
}

#[tokio::test]
async fn a_device_with_a_claim_becomes_a_device() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = connected(&house, &claim).await;
    let made = certificate(&mut link).await;
    let device = Device { name: "gw-17".to_owned(), certificate: unpem(text(&made, "certificatePem")) };
    assert_eq!(text(&made, "certificateId").len(), 64);
    assert_eq!(house.refused(Some(&device), "gw-17", Version::V5).await, 0x87, "it is nobody's yet");

    link.publish(PROVISION, &provision(text(&made, "certificateOwnershipToken"), "17")).await;
    let body = link.expect("provision/json/accepted").await;
    assert_eq!(body, json!({ "thingName": "gw-17", "deviceConfiguration": { "endpoint": "fleet.example" } }));
    let mut own = house.connect(&device, Version::V5).await;
    own.subscribe(&["$aws/things/gw-17/shadow/get/+"]).await;
    own.publish("$aws/things/gw-17/shadow/update", r#"{"state":{"reported":{"a":1}}}"#).await;
    own.publish("$aws/things/gw-17/shadow/get", "").await;
    assert_eq!(own.expect("shadow/get/accepted").await["state"], json!({ "reported": { "a": 1 } }));
    let record = registry::device(&house.app, &house.admin, &tenant("acme"), &id("gw-17")).await.expect("a record");
    assert_eq!((record.device.hardware.as_str(), record.device.tags.contains("line-4")), ("rev-b", true));
}

#[tokio::test]
async fn cbor_is_as_good_as_json() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = house.connect(&claim, Version::V311).await;
    link.publish_bytes("$aws/certificates/create-from-csr/cbor", &encode(Format::Cbor, &request())).await;
    let (topic, bytes) = link.next_bytes().await;
    assert_eq!(topic, "$aws/certificates/create-from-csr/cbor/accepted", "told without a subscription too");
    let made: CertificateAccepted = decode(Format::Cbor, &bytes).expect("CBOR");
    let asked = ProvisionRequest {
        certificate_ownership_token: made.certificate_ownership_token,
        parameters: [("SerialNumber".to_owned(), "18".to_owned())].into(),
    };
    link.publish_bytes("$aws/provisioning-templates/line/provision/cbor", &encode(Format::Cbor, &asked)).await;
    let (topic, bytes) = link.next_bytes().await;
    assert_eq!(topic, "$aws/provisioning-templates/line/provision/cbor/accepted");
    assert_eq!(decode::<Value>(Format::Cbor, &bytes).expect("CBOR")["thingName"], "gw-18");
}

#[tokio::test]
async fn a_token_is_good_once_for_an_hour_on_its_own_connection() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let (mut link, mut other) = (connected(&house, &claim).await, connected(&house, &claim).await);
    let made = certificate(&mut link).await;
    let token = text(&made, "certificateOwnershipToken");
    let refusal = (400, "InvalidCertificateOwnershipToken".to_owned());

    other.publish(PROVISION, &provision(token, "1")).await;
    assert_eq!(rejected(&mut other).await, refusal, "another connection, with the same claim");
    link.expect_nothing().await;
    for bad in ["", "fwo_x", "fwo_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        link.publish(PROVISION, &provision(bad, "1")).await;
        assert_eq!(rejected(&mut link).await, refusal, "{bad:?}");
    }
    link.publish(PROVISION, &provision(token, "1")).await;
    link.expect("/accepted").await;
    link.publish(PROVISION, &provision(token, "2")).await;
    assert_eq!(rejected(&mut link).await, refusal, "a second time");

    let late = certificate(&mut link).await;
    house.clock.advance(std::time::Duration::from_secs(3601));
    link.publish(PROVISION, &provision(text(&late, "certificateOwnershipToken"), "3")).await;
    assert_eq!(rejected(&mut link).await, refusal, "after its hour");
    fleetward_app::reconcile::expiry::expire(&house.app).await.expect("expired");
    let nobody = Device { name: "gw-3".to_owned(), certificate: unpem(text(&late, "certificatePem")) };
    assert_eq!(house.refused(Some(&nobody), "gw-3", Version::V5).await, 0x87);
}

#[tokio::test]
async fn a_claim_reaches_its_topics_and_nothing_else() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    house.template("acme", "other", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let mut device = house.connect(&device, Version::V5).await;
    let mut link = connected(&house, &claim).await;
    for topic in ["devices/who-knows/x", "devices/line-4/x", "shared/x", "fleet/x", "$aws/things/gw-1/shadow/get", "#"]
    {
        assert_ne!(link.try_subscribe(&[topic]).await, [1], "{topic}");
        if topic != "#" {
            assert_eq!(link.publish(topic, "{}").await, 0x87, "{topic}");
        }
    }
    for filter in ["$aws/certificates/#", "$aws/certificates/+/json/accepted", "$aws/#", "+/+/+", CSR] {
        assert_eq!(link.try_subscribe(&[filter]).await, [0x87], "{filter}");
    }
    assert_eq!(link.publish(&format!("{CSR}/accepted"), "{}").await, 0x87, "what the server says");
    // Those who register by Azure's messages are others.
    let register = "$dps/registrations/PUT/iotdps-register/?$rid=1";
    assert_eq!(link.publish(register, "{}").await, 0x87);
    assert_eq!(link.try_subscribe(&["$dps/registrations/res/#"]).await, [0x87]);
    // A device is no claim.
    for topic in [CSR, KEYS, PROVISION] {
        assert_eq!(device.publish(topic, &request().to_string()).await, 0x87, "{topic}");
        assert_eq!(device.try_subscribe(&[&format!("{topic}/accepted")]).await, [0x87], "{topic}");
    }
    // Nor does a claim reach another template, or a device hear what is said to a claim.
    let made = certificate(&mut link).await;
    let token = text(&made, "certificateOwnershipToken");
    link.publish("$aws/provisioning-templates/other/provision/json", &provision(token, "1")).await;
    assert_eq!(rejected(&mut link).await, (404, "ResourceNotFound".to_owned()));
    device.expect_nothing().await;
}

#[tokio::test]
async fn a_request_cannot_speak_for_others() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = connected(&house, &claim).await;
    let foreign = csr::write(&name::write(Some("zenith"), "any"), &[], &SoftKey::generate().0).expect("signs");
    for (csr, code) in [
        (pem("CERTIFICATE REQUEST", &foreign), "InvalidCSR"),
        (pem("CERTIFICATE REQUEST", b"x"), "InvalidCSR"),
        ("x".to_owned(), "InvalidCSR"),
    ] {
        link.publish(CSR, &json!({ "certificateSigningRequest": csr }).to_string()).await;
        assert_eq!(rejected(&mut link).await, (400, code.to_owned()));
    }
    link.publish(CSR, "{").await;
    assert_eq!(rejected(&mut link).await, (400, "InvalidPayload".to_owned()));
    let made = certificate(&mut link).await;
    let token = text(&made, "certificateOwnershipToken");
    let smuggled = json!({ "SerialNumber": "1", "AWS::IoT::Certificate::CommonName": "gw-1" });
    let body = json!({ "certificateOwnershipToken": token, "parameters": smuggled }).to_string();
    link.publish(PROVISION, &body).await;
    assert_eq!(rejected(&mut link).await, (400, "InvalidParameters".to_owned()));
    for serial in ["1/../x", "urn:fleetward:zenith:x ", "+", ""] {
        link.publish(PROVISION, &provision(token, serial)).await;
        if serial.is_empty() {
            assert_eq!(link.expect("/accepted").await["thingName"], "gw-");
        } else {
            assert_eq!(rejected(&mut link).await, (400, "InvalidParameters".to_owned()), "{serial}");
        }
    }
}

#[tokio::test]
async fn a_device_in_use_keeps_its_name() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let known = house.enroll("acme", "gw-9", "rev-a").await;
    house.connect(&known, Version::V5).await;
    let mut link = connected(&house, &claim).await;
    let made = certificate(&mut link).await;
    let body = provision(text(&made, "certificateOwnershipToken"), "9");
    link.publish(PROVISION, &body).await;
    assert_eq!(rejected(&mut link).await, (409, "ResourceConflict".to_owned()));
    let patch = json!({ "provisioning": { "reprovision": true } }).as_object().cloned().expect("an object");
    amend_policy(&house.app, &house.admin, &tenant("acme"), 1, patch).await.expect("amended");
    link.publish(PROVISION, &body).await;
    link.expect("/accepted").await;
}

#[tokio::test]
async fn the_server_makes_keys_where_it_may() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = house.connect(&claim, Version::V5).await;
    link.publish(KEYS, "").await;
    assert_eq!(rejected(&mut link).await, (403, "AccessDenied".to_owned()));
    let patch = json!({ "provisioning": { "server_keys": true } }).as_object().cloned().expect("an object");
    amend_policy(&house.app, &house.admin, &tenant("acme"), 1, patch).await.expect("amended");
    link.publish(KEYS, "{}").await;
    let made = link.expect("/accepted").await;
    assert!(SoftKey::from_pkcs8(&unpem(text(&made, "privateKey"))).is_ok());
}

#[tokio::test]
async fn a_claim_ends_by_its_count_its_time_and_its_owner() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "once", "line", Some(1)).await;
    let mut link = connected(&house, &claim).await;
    // No more of them wait than may still come: the second takes the place of the first.
    let (one, two) = (certificate(&mut link).await, certificate(&mut link).await);
    link.publish(PROVISION, &provision(text(&one, "certificateOwnershipToken"), "1")).await;
    assert_eq!(rejected(&mut link).await, (400, "InvalidCertificateOwnershipToken".to_owned()));
    link.publish(PROVISION, &provision(text(&two, "certificateOwnershipToken"), "2")).await;
    link.expect("/accepted").await;
    link.publish(CSR, &request().to_string()).await;
    assert_eq!(rejected(&mut link).await, (429, "LimitExceeded".to_owned()));
    revoke_claim(&house.app, &house.admin, &tenant("acme"), "once").await.expect("revoked");
    assert_eq!(link.ended().await, Some(0x98));
    assert_eq!(house.refused(Some(&claim), "any", Version::V5).await, 0x87);
    let zenith = revoke_claim(&house.app, &house.admin, &tenant("zenith"), "once").await;
    assert!(matches!(zenith, Err(Error::NotFound { .. })), "another tenant's");

    let user = create_user_claim(&house.app, &house.admin, &tenant("acme"), "line").await.expect("a claim");
    let user = Device { name: "app".to_owned(), certificate: unpem(&user.claim.certificate_pem) };
    connected(&house, &user).await;
    house.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(house.refused(Some(&user), "app", Version::V5).await, 0x87, "after five minutes");
}

/// What a claim got and never owned: it speaks for nobody, and is revoked for those who ask no registry.
#[tokio::test]
async fn a_certificate_that_nobody_owned_in_its_hour_is_revoked() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = connected(&house, &claim).await;
    // It asks for the name of a device.
    let key = SoftKey::generate().0;
    let der = csr::write(&name::write(None, "gw-9"), &[], &key).expect("signs");
    let body = json!({ "certificateSigningRequest": pem("CERTIFICATE REQUEST", &der) });
    link.publish(CSR, &body.to_string()).await;
    let made = link.expect("create-from-csr/json/accepted").await;
    let certificate = Certificate::parse(&unpem(text(&made, "certificatePem"))).expect("it reads");
    assert_eq!(certificate.subject, name::write(Some("acme"), &certificate.serial.to_string()), "and gets none");
    let serial = certificate.serial.to_string();
    let (app, acme) = (&house.app, tenant("acme"));
    crls::tick(app).await.expect("a turn");
    log::tick(app).await.expect("a turn");
    house.clock.advance(std::time::Duration::from_secs(3601));
    expiry::expire(app).await.expect("its hour is over");
    let wanted = serial.clone();
    let row = app.read(&acme, "test", move |tx| Box::pin(async move { Ok(tx.other_certificate(&wanted).await?) }));
    let row = row.await.expect("a store").expect("it is remembered");
    assert_eq!((row.kind.as_str(), row.revoked_at), ("forgotten", Some(app.now())));
    assert_eq!(crls::tick(app).await.expect("a turn").listed, 1);
    let list = publication::list(app, &row.authority[..16], None).await.expect("a list");
    let number: Vec<u8> =
        (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).expect("hex")).collect();
    assert!(list.der.windows(number.len()).any(|part| part == number), "{serial}");
    log::tick(app).await.expect("a turn");
    transparency::inclusion(app, &house.admin, &acme, &serial).await.expect("it stands in the log");
}

#[tokio::test]
async fn of_two_first_connections_at_once_both_are_the_device() {
    let (house, elsewhere) = House::with_another_server().await;
    let maker = Maker::new();
    maker.register(&house, "acme", Mode::Provision).await;
    authority::refresh_trust(&elsewhere).await.expect("it hears of the factory");
    for number in 0..8 {
        let device = maker.device(&format!("sn-{number}"));
        let shown = CertificateDer::from(device.certificate.as_slice());
        let attempt = |app: &App| Attempt { address: [192, 0, 2, 1].into(), request_id: app.new_request_id() };
        let (here, there) = (attempt(&house.app), attempt(&elsewhere));
        let both = tokio::join!(admit_device(&house.app, &here, &shown), admit_device(&elsewhere, &there, &shown),);
        let names = [both.0, both.1].map(|admitted| admitted.expect("it is let in").device);
        assert_eq!(names, [id(&device.name), id(&device.name)]);
    }
}

/// A factory that knows nothing of us.
pub(crate) struct Maker {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = named("Maker CA");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: rcgen::CertifiedIssuer::self_signed(params, key).expect("signs") }
    }

    /// Its own certificate once more, for the same key and name.
    fn reissued(&self) -> Vec<u8> {
        let mut params = named("Maker CA");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.serial_number = Some(rcgen::SerialNumber::from(77_u64));
        params.self_signed(self.issuer.key()).expect("signs").der().to_vec()
    }

    fn leaf(&self, name: &str) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().expect("a key");
        named(name).signed_by(&key, &self.issuer).expect("signs").der().to_vec()
    }

    /// A line of the maker, below its authority: what a device of it shows, its own certificate first.
    pub(crate) fn by_a_line(&self, name: &str) -> Vec<Vec<u8>> {
        let mut params = named("Line 4");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let key = rcgen::KeyPair::generate().expect("a key");
        let line = Self { issuer: rcgen::CertifiedIssuer::signed_by(params, key, &self.issuer).expect("signs") };
        vec![line.leaf(name), line.issuer.der().to_vec()]
    }

    pub(crate) fn device(&self, name: &str) -> Device {
        Device { name: name.to_owned(), certificate: self.leaf(name) }
    }

    pub(crate) async fn register(&self, house: &House, home: &str, mode: Mode) -> String {
        let (app, admin, home) = (&house.app, &house.admin, tenant(home));
        let (code, _) = create_registration_code(app, admin, &home).await.expect("a code");
        let new = NewFactory {
            name: "Maker".to_owned(),
            certificate: pem("CERTIFICATE", self.issuer.der()),
            verification: pem("CERTIFICATE", &self.leaf(&code)),
            mode,
            template: None,
        };
        register_factory(app, admin, &home, new).await.expect("registered").id
    }
}

fn named(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

#[tokio::test]
async fn a_factorys_device_is_in_on_its_first_connection() {
    let house = House::new().await;
    let maker = Maker::new();
    assert_eq!(house.refused(Some(&maker.device("sn-1")), "sn-1", Version::V5).await, 0x87, "not registered yet");
    let factory = maker.register(&house, "acme", Mode::Provision).await;
    let device = maker.device("sn-1");
    let mut link = house.connect(&device, Version::V5).await;
    link.subscribe(&["$aws/things/sn-1/shadow/get/+"]).await;
    link.publish("$aws/things/sn-1/shadow/get", "").await;
    assert_eq!(link.expect("/rejected").await["code"], 404);
    house.connect(&device, Version::V311).await;
    // Somebody else with the same name does not take its place.
    assert_eq!(house.refused(Some(&maker.device("sn-1")), "sn-1", Version::V5).await, 0x87);
    // No enrolled device's either.
    let known = house.enroll("acme", "gw-1", "rev-a").await;
    house.connect(&known, Version::V5).await;
    assert_eq!(house.refused(Some(&maker.device("gw-1")), "gw-1", Version::V5).await, 0x87);

    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let change = FactoryChange { enabled: Some(false), ..FactoryChange::default() };
    amend_factory(app, admin, &acme, &factory, 1, change).await.expect("disabled");
    assert_eq!(house.refused(Some(&maker.device("sn-2")), "sn-2", Version::V5).await, 0x87, "nobody new");
    let mut still = house.connect(&device, Version::V5).await;
    still.expect_nothing().await;
    revoke_factory(app, admin, &acme, &factory).await.expect("revoked");
    assert_eq!(still.ended().await, Some(0x87));
    assert_eq!(house.refused(Some(&device), "sn-1", Version::V5).await, 0x87);
}

#[tokio::test]
async fn who_registers_a_factory_holds_its_key() {
    let house = House::new().await;
    let (app, admin, acme, zenith) = (&house.app, &house.admin, tenant("acme"), tenant("zenith"));
    let (maker, thief) = (Maker::new(), Maker::new());
    let (code, _) = create_registration_code(app, admin, &acme).await.expect("a code");
    let new = |signer: &Maker, code: &str| NewFactory {
        name: "Maker".to_owned(),
        certificate: pem("CERTIFICATE", maker.issuer.der()),
        verification: pem("CERTIFICATE", &signer.leaf(code)),
        mode: Mode::Provision,
        template: None,
    };
    let by = |error: Error| error.to_string();
    let stolen = register_factory(app, admin, &acme, new(&thief, &code)).await.map_err(by);
    assert!(stolen.is_err_and(|error| error.contains("not signed by this authority's key")));
    let elsewhere = register_factory(app, admin, &zenith, new(&maker, &code)).await;
    assert!(matches!(elsewhere, Err(Error::Untrusted { code: "registration-code", .. })), "acme's code");
    register_factory(app, admin, &acme, new(&maker, &code)).await.expect("registered");
    let again = register_factory(app, admin, &acme, new(&maker, &code)).await;
    assert!(matches!(again, Err(Error::Untrusted { code: "registration-code", .. })), "the code is used");
    let (code, _) = create_registration_code(app, admin, &zenith).await.expect("a code");
    let taken = register_factory(app, admin, &zenith, new(&maker, &code)).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "factory-taken", .. })));
    // Another certificate for the same key is the same authority.
    let reissued = maker.reissued();
    let again = NewFactory { certificate: pem("CERTIFICATE", &reissued), ..new(&maker, &code) };
    let taken = register_factory(app, admin, &zenith, again).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "factory-taken", .. })), "{taken:?}");
}

#[tokio::test]
async fn a_factorys_device_waits_for_its_customer() {
    let house = House::new().await;
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let maker = Maker::new();
    maker.register(&house, "acme", Mode::Register).await;
    let (first, second) = (maker.device("sn-1"), maker.device("sn-2"));
    for device in [&first, &first, &second] {
        assert_eq!(house.refused(Some(device), &device.name, Version::V5).await, 0x87);
    }
    let waiting = arrived(app, admin, &acme, true, None, 10).await.expect("a page");
    assert_eq!(waiting.len(), 2);
    assert!(arrived(app, admin, &tenant("zenith"), true, None, 10).await.expect("a page").is_empty());

    // By an operator.
    let row = waiting.iter().find(|row| row.name == "sn-2").expect("it waits");
    activate(app, admin, &acme, &row.id).await.expect("activated");
    house.connect(&second, Version::V5).await;
    // By a code, after the device came.
    let subject = Subject::Device(id("sn-1"));
    let code = create_claim_code(app, admin, &acme, subject, None).await.expect("a code").code;
    let abroad = claim_device(app, admin, &tenant("zenith"), &code).await;
    assert!(matches!(abroad, Err(Error::NotFound { .. })), "another tenant's");
    let claimed = claim_device(app, admin, &acme, &code.to_lowercase()).await.expect("claimed");
    assert_eq!(claimed.device, Some(id("sn-1")));
    house.connect(&first, Version::V5).await;
    // By a code, before it comes.
    let code = create_claim_code(app, admin, &acme, Subject::Device(id("sn-3")), None).await.expect("a code").code;
    assert_eq!(claim_device(app, admin, &acme, &code).await.expect("claimed").device, None);
    house.connect(&maker.device("sn-3"), Version::V5).await;
    // Another certificate with its name is another device: the code has let one in.
    assert_eq!(house.refused(Some(&maker.device("sn-3")), "sn-3", Version::V5).await, 0x87);
    let waiting = arrived(app, admin, &acme, true, None, 10).await.expect("a page");
    assert_eq!(waiting.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["sn-3"]);
    let again = claim_device(app, admin, &acme, &code).await.expect("what it brought");
    assert_eq!(again.device, Some(id("sn-3")));
    assert_eq!(arrived(app, admin, &acme, true, None, 10).await.expect("a page"), waiting, "and brings nothing else");
    // Codes that are none, until it is enough.
    let mut refusals = Vec::new();
    for _ in 0..25 {
        refusals.push(claim_device(app, admin, &acme, "0000-0000-0000-0000-0000").await.expect_err("none"));
    }
    assert!(matches!(refusals.first(), Some(Error::NotFound { .. })));
    assert!(matches!(refusals.last(), Some(Error::TooMany { .. })));
}

async fn policy(house: &House, revision: u64, patch: Value) {
    let patch = patch.as_object().cloned().expect("an object");
    amend_policy(&house.app, &house.admin, &tenant("acme"), revision, patch).await.expect("amended");
}

#[tokio::test]
async fn what_the_tenant_decided_holds_for_claims_and_factories_too() {
    let house = House::new().await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let maker = Maker::new();
    maker.register(&house, "acme", Mode::Provision).await;
    let mut link = connected(&house, &claim).await;
    let made = certificate(&mut link).await;
    let body = provision(text(&made, "certificateOwnershipToken"), "1");

    policy(&house, 1, json!({ "enrolment": { "require_inventory": true } })).await;
    link.publish(PROVISION, &body).await;
    assert_eq!(rejected(&mut link).await, (409, "ResourceConflict".to_owned()), "nobody made it");
    assert_eq!(house.refused(Some(&maker.device("sn-1")), "sn-1", Version::V5).await, 0x87);

    let approval = json!({ "enrolment": { "require_inventory": null, "approval": ["claim", "factory"] } });
    policy(&house, 2, approval).await;
    link.publish(PROVISION, &body).await;
    link.expect("/accepted").await;
    let born = maker.device("sn-1");
    house.connect(&born, Version::V5).await;
    for name in ["gw-1", "sn-1"] {
        let found = registry::device(&house.app, &house.admin, &tenant("acme"), &id(name)).await.expect("a record");
        assert_eq!(found.device.status.as_str(), "quarantined", "{name}");
    }
}

/// How a key stands on a deny list.
fn key_hash(certificate: &Certificate) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.spki);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn who_is_denied_leaves_no_trace_of_a_device() {
    let house = House::new().await;
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let maker = Maker::new();
    maker.register(&house, "acme", Mode::Provision).await;
    let parsed = |device: &Device| Certificate::parse(&device.certificate).expect("a certificate");
    let (by_key, by_serial) = (maker.device("sn-1"), maker.device("sn-2"));
    let key = key_hash(&parsed(&by_key));
    for (kind, value) in [(Denied::Key, key), (Denied::Serial, parsed(&by_serial).serial.to_string())] {
        deny(app, admin, &acme, kind, &value, "stolen").await.expect("denied");
    }
    for device in [&by_key, &by_serial] {
        assert_eq!(house.refused(Some(device), &device.name, Version::V5).await, 0x87);
        let found = registry::device(app, admin, &acme, &id(&device.name)).await;
        assert!(matches!(found, Err(Error::NotFound { .. })), "{}", device.name);
    }
    assert!(arrived(app, admin, &acme, false, None, 10).await.expect("a page").is_empty());
    house.connect(&maker.device("sn-3"), Version::V5).await;

    // A certificate that waits, whose key is denied before it has become a device's.
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = connected(&house, &claim).await;
    let made = certificate(&mut link).await;
    let waits = Device { name: "gw-1".to_owned(), certificate: unpem(text(&made, "certificatePem")) };
    deny(app, admin, &acme, Denied::Key, &key_hash(&parsed(&waits)), "stolen").await.expect("denied");
    link.publish(PROVISION, &provision(text(&made, "certificateOwnershipToken"), "1")).await;
    assert_eq!(rejected(&mut link).await, (403, "AccessDenied".to_owned()));
    assert!(matches!(registry::device(app, admin, &acme, &id("gw-1")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_device_that_comes_anew_by_a_claim_attests_anew_and_a_burst_is_told() {
    let house = House::new().await;
    let (app, acme) = (&house.app, tenant("acme"));
    let patch = json!({ "provisioning": { "reprovision": true }, "detection": { "claims": 2 } });
    policy(&house, 1, patch).await;
    house.template("acme", "line", &line()).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut link = connected(&house, &claim).await;
    let mut comes = async || {
        let made = certificate(&mut link).await;
        link.publish(PROVISION, &provision(text(&made, "certificateOwnershipToken"), "1")).await;
        link.expect("/accepted").await;
    };
    comes().await;
    let now = app.now();
    let affirmed = AttestationRow { verdict: Some("affirming".into()), ..AttestationRow::new(id("gw-1"), now) };
    let kept =
        app.write(&acme, "attested", move |tx| Box::pin(async move { Ok(tx.put_attestation(&affirmed).await?) }));
    kept.await.expect("kept");
    comes().await;
    let found =
        app.read(&acme, "attestation", |tx| Box::pin(async move { Ok(tx.attestation(&id("gw-1")).await?) })).await;
    assert_eq!(found.expect("an answer").and_then(|row| row.verdict), None);
    comes().await;
    let filter = JournalFilter { action: Some("security.".to_owned()), ..JournalFilter::default() };
    let events = journal::events(app, &house.admin, &acme, filter, None, 10).await.expect("events");
    let told: Vec<_> = events.iter().map(|event| event.entry.action).collect();
    assert!(told.contains(&Action::SecurityClaimBurst), "{told:?}");
}
