//! Certificates of factories: taken for what the tenant registered, by either operation, and for no other tenant.

use fleetward_pki::Certificate;
use http::{Method, StatusCode};
use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use crate::fixture::{Device, House};
use crate::{certificates, identity, refused};

pub(crate) type Maker = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn maker(name: &str) -> Maker {
    let mut params = params(name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs")
}

/// A line of the maker, below its authority.
pub(crate) fn line(maker: &Maker, name: &str) -> Maker {
    let mut params = params(name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), maker).expect("signs")
}

pub(crate) fn made(by: &Maker, name: &str) -> Vec<u8> {
    params(name).signed_by(&KeyPair::generate().expect("a key"), by).expect("signs").der().to_vec()
}

#[tokio::test]
async fn a_device_from_a_registered_factory_enrols_by_either_operation() {
    let house = House::new().await;
    let maker = maker("Maker");
    house.factory("acme", maker.der()).await;
    let born = made(&maker, "SN-1");
    let field = Device::new("SN-1");
    for path in ["/.well-known/est/simplereenroll", "/.well-known/est/acme/simpleenroll"] {
        let answer =
            house.send(house.as_chain(std::slice::from_ref(&born)), Method::POST, path, &[], field.body()).await;
        assert_eq!(identity(&answer), "urn:fleetward:acme:SN-1");
    }
    let again = house.send(
        house.as_chain(std::slice::from_ref(&born)),
        Method::POST,
        "/.well-known/est/simpleenroll",
        &[],
        Device::new("SN-1").body(),
    );
    let again = certificates(&again.await).remove(0);
    assert_eq!(again.identity().expect("an identity").device.as_str(), "SN-1", "it may come back with another key");
    let ours = Certificate::parse(&again.der).expect("reads");
    let renewed = house.send(
        house.as_chain(&[ours.der]),
        Method::POST,
        "/.well-known/est/simplereenroll",
        &[],
        Device::new("SN-1").body(),
    );
    assert_eq!(identity(&renewed.await), "urn:fleetward:acme:SN-1");
}

#[tokio::test]
async fn intermediates_come_with_the_leaf() {
    let house = House::new().await;
    let maker = maker("Maker");
    let line = line(&maker, "Line 4");
    house.factory("acme", maker.der()).await;
    let (born, above) = (made(&line, "SN-2"), line.der().to_vec());
    let path = "/.well-known/est/simpleenroll";
    let body = Device::new("SN-2").body();
    let alone = house.send(house.as_chain(std::slice::from_ref(&born)), Method::POST, path, &[], body.clone()).await;
    refused(&alone, StatusCode::UNAUTHORIZED);
    let whole = house.send(house.as_chain(&[born, above]), Method::POST, path, &[], body).await;
    assert_eq!(identity(&whole), "urn:fleetward:acme:SN-2");
}

#[tokio::test]
async fn what_a_factory_may_not() {
    let house = House::new().await;
    let (own, stranger) = (maker("Maker"), maker("Maker"));
    house.factory("acme", own.der()).await;
    let send = |chain: Vec<u8>, path: &'static str, body: String| {
        let peer = house.as_chain(&[chain]);
        let house = &house;
        async move { house.send(peer, Method::POST, path, &[], body).await }
    };
    let enroll = "/.well-known/est/simpleenroll";
    let body = |name| Device::new(name).body();
    // A factory of the same name that nobody registered; another tenant's label; another device's name; no name.
    refused(&send(made(&stranger, "SN-1"), enroll, body("SN-1")).await, StatusCode::UNAUTHORIZED);
    let label = "/.well-known/est/zenith/simpleenroll";
    refused(&send(made(&own, "SN-1"), label, body("SN-1")).await, StatusCode::UNAUTHORIZED);
    refused(&send(made(&own, "SN-1"), enroll, body("SN-2")).await, StatusCode::BAD_REQUEST);
    refused(&send(made(&own, "not a name"), enroll, body("SN-1")).await, StatusCode::UNAUTHORIZED);
    house.policy("acme", json!({ "est": { "factory_certificates": false } })).await;
    refused(&send(made(&own, "SN-1"), enroll, body("SN-1")).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_factorys_certificate_does_not_undo_a_revocation() {
    let house = House::new().await;
    let maker = maker("Maker");
    house.factory("acme", maker.der()).await;
    let born = made(&maker, "SN-1");
    let path = "/.well-known/est/simpleenroll";
    let send =
        || house.send(house.as_chain(std::slice::from_ref(&born)), Method::POST, path, &[], Device::new("SN-1").body());
    assert_eq!(send().await.status, StatusCode::OK);
    house.revoke("acme", "SN-1").await;
    refused(&send().await, StatusCode::FORBIDDEN);
    // Somebody lets it back in.
    let basic = house.basic("acme", "SN-1").await;
    assert_eq!(house.enroll(path, &basic, &Device::new("SN-1").body()).await.status, StatusCode::OK);
    assert_eq!(send().await.status, StatusCode::OK);
}
