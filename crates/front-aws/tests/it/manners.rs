//! How requests are told apart and let in, and what is said to those that are not.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::house::{House, signed};

#[tokio::test]
async fn what_is_not_signed_goes_on_to_the_door_behind() {
    let house = House::open().await;
    let plain = |headers: &[(&str, &str)]| {
        let mut request = Request::builder().uri("/things");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    };
    assert_eq!(house.raw(plain(&[])).await.status, 200);
    assert_eq!(house.raw(plain(&[("authorization", "Bearer fwa_x")])).await.status, 200);
    let unsigned = house.raw(plain(&[("amz-sdk-invocation-id", "x")])).await;
    assert_eq!((unsigned.status, unsigned.kind.as_str()), (403, "MissingAuthenticationTokenException"));
    let broken = house.raw(plain(&[("authorization", "AWS4-HMAC-SHA256 x")])).await;
    assert_eq!((broken.status, broken.kind.as_str()), (403, "IncompleteSignatureException"));
}

#[tokio::test]
async fn a_signature_lets_in_and_nothing_less() {
    let house = House::open().await;
    let listed = house.ask(&house.owner, "iot", ("GET", "/things"), &[], "").await;
    assert_eq!((listed.status, listed.json), (200, json!({ "things": [] })));

    let mut wrong = house.owner.secret.clone();
    wrong.pop();
    let wrong = fleetward_app::access_keys::NewAccessKey { id: house.owner.id.clone(), secret: wrong };
    let refused = house.ask(&wrong, "iot", ("GET", "/things"), &[], "").await;
    assert_eq!((refused.status, refused.kind.as_str()), (403, "SignatureDoesNotMatch"));
    let unknown = fleetward_app::access_keys::NewAccessKey {
        id: "FWAKAAAAAAAAAAAAAAAA".into(),
        secret: house.owner.secret.clone(),
    };
    let refused = house.ask(&unknown, "iot", ("GET", "/things"), &[], "").await;
    assert_eq!((refused.status, refused.kind.as_str()), (403, "UnrecognizedClientException"));
    let other = house.ask(&house.owner, "s3", ("GET", "/things"), &[], "").await;
    assert_eq!((other.status, other.kind.as_str()), (403, "SignatureDoesNotMatch"));
    let session = house.ask(&house.owner, "iot", ("GET", "/things"), &[("x-amz-security-token", "x")], "").await;
    assert_eq!(session.kind, "UnrecognizedClientException", "there are no sessions here");
    let nothing = house.ask(&house.owner, "iot", ("GET", "/nothing"), &[], "").await;
    assert_eq!((nothing.status, nothing.kind.as_str()), (404, "UnknownOperationException"));
    let plane = house.ask(&house.owner, "iotdata", ("GET", "/things"), &[], "").await;
    assert_eq!(plane.kind, "UnknownOperationException", "an operation is of one service");

    let old = signed(&*house.clock, &house.owner, "iot", ("GET", "/things"), &[], "");
    house.clock.advance(std::time::Duration::from_secs(301));
    let skewed = house.raw(old).await;
    assert_eq!((skewed.status, skewed.kind.as_str()), (403, "RequestTimeTooSkewed"));
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_refused() {
    let house = House::open().await;
    let request = signed(&*house.clock, &house.owner, "iot", ("POST", "/things/gw-1"), &[], "{}");
    let (parts, _) = request.into_parts();
    let other = Request::from_parts(parts, Body::from(r#"{"thingTypeName":"x"}"#));
    assert_eq!(house.raw(other).await.kind, "SignatureDoesNotMatch");
    let request = signed(&*house.clock, &house.owner, "iot", ("DELETE", "/things/gw-1"), &[], "");
    let (mut parts, body) = request.into_parts();
    parts.uri = "/things/gw-2".parse().expect("a target");
    assert_eq!(house.raw(Request::from_parts(parts, body)).await.kind, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn who_guesses_is_not_listened_to_for_a_while() {
    let house = House::open().await;
    let wrong = fleetward_app::access_keys::NewAccessKey { id: house.owner.id.clone(), secret: "x".repeat(40) };
    let mut last = String::new();
    for _ in 0..1000 {
        last = house.ask(&wrong, "iot", ("GET", "/things"), &[], "").await.kind;
        if last == "ThrottlingException" {
            break;
        }
    }
    assert_eq!(last, "ThrottlingException");
    let right = house.ask(&house.owner, "iot", ("GET", "/things"), &[], "").await;
    assert_eq!((right.status, right.kind.as_str()), (429, "ThrottlingException"), "the address is the same");
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_without_its_values() {
    let house = House::open().await;
    let ask = async |body: &str| house.ask(&house.owner, "iot", ("POST", "/things/gw-1"), &[], body).await;
    for body in ["{", "[]", "null", r#"{"attributePayload":{"attributes":{"a":{"hunter2":1}}}}"#] {
        let refused = ask(body).await;
        assert_eq!((refused.status, refused.kind.as_str()), (400, "InvalidRequestException"), "{body}");
        assert!(!refused.json.to_string().contains("hunter2"), "{refused:?}");
    }
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(600 * 1024));
    assert_eq!(ask(&large).await.status, 413);
}

#[tokio::test]
async fn things_keep_their_fields() {
    let house = House::open().await;
    house.does("POST", "/thing-types/bulb", json!({})).await;
    let attributes = json!({ "attributes": { "site": "berlin", "hardware": "rev-b", "watts": "60" } });
    let made =
        house.does("POST", "/things/lamp:1", json!({ "thingTypeName": "bulb", "attributePayload": attributes })).await;
    assert_eq!(made["thingName"], "lamp:1");
    let thing = house.does("GET", "/things/lamp%3A1", Value::Null).await;
    assert_eq!(thing["attributes"], json!({ "site": "berlin", "hardware": "rev-b", "watts": "60" }));
    assert_eq!((&thing["thingTypeName"], &thing["version"]), (&json!("bulb"), &json!(1)));
    let replaced = json!({ "attributePayload": { "attributes": { "watts": "40" } } });
    house.does("PATCH", "/things/lamp:1", replaced).await;
    assert_eq!(house.does("GET", "/things/lamp:1", Value::Null).await["attributes"], json!({ "watts": "40" }));
    let merged = json!({ "attributePayload": { "attributes": { "site": "rome", "watts": "" }, "merge": true } });
    house.does("PATCH", "/things/lamp:1", merged).await;
    assert_eq!(house.does("GET", "/things/lamp:1", Value::Null).await["attributes"], json!({ "site": "rome" }));
    house.does("POST", "/thing-types/bulb/deprecate", json!({})).await;
    let in_use = house.ask(&house.owner, "iot", ("DELETE", "/thing-types/bulb"), &[], "").await;
    assert_eq!(in_use.kind, "InvalidRequestException", "a thing is of it");
    let late = house.ask(&house.owner, "iot", ("POST", "/things/lamp-2"), &[], r#"{"thingTypeName":"bulb"}"#).await;
    assert_eq!(late.kind, "InvalidRequestException", "it is deprecated");
    house.does("PATCH", "/things/lamp:1", json!({ "removeThingType": true })).await;
    house.does("DELETE", "/thing-types/bulb", Value::Null).await;
}

#[tokio::test]
async fn pages_go_on_and_fit_their_listing_only() {
    let house = House::open().await;
    for number in 0..5 {
        house
            .does(
                "POST",
                &format!("/things/gw-{number}"),
                json!({ "attributePayload": { "attributes": { "a": "b" } } }),
            )
            .await;
    }
    let (mut names, mut target) = (Vec::new(), "/things?maxResults=2".to_owned());
    loop {
        let page = house.does("GET", &target, Value::Null).await;
        names.extend(page["things"].as_array().expect("things").iter().map(|thing| thing["thingName"].clone()));
        let Some(token) = page["nextToken"].as_str() else { break };
        target = format!("/things?maxResults=2&nextToken={token}");
    }
    assert_eq!(names, ["gw-0", "gw-1", "gw-2", "gw-3", "gw-4"]);
    let token = target.rsplit_once('=').expect("a token").1;
    let elsewhere = format!("/things?attributeName=a&attributeValue=b&nextToken={token}");
    assert_eq!(house.ask(&house.owner, "iot", ("GET", &elsewhere), &[], "").await.kind, "InvalidRequestException");
    assert_eq!(house.ask(&house.beta, "iot", ("GET", &target), &[], "").await.kind, "InvalidRequestException");
    for bad in ["/things?maxResults=0", "/things?maxResults=x", "/things?attributeName=a"] {
        assert_eq!(house.ask(&house.owner, "iot", ("GET", bad), &[], "").await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn shadows_answer_as_the_data_plane_does() {
    let house = House::open().await;
    house.does("POST", "/things/gw-1", json!({})).await;
    let ask = async |method, target, body| house.ask(&house.owner, "iotdata", (method, target), &[], body).await;
    let none = ask("GET", "/things/gw-1/shadow", "").await;
    assert_eq!((none.status, none.kind.as_str()), (404, "ResourceNotFoundException"));
    let body = r#"{"state":{"desired":{"on":true}},"clientToken":"t"}"#;
    let accepted = ask("POST", "/things/gw-1/shadow?name=config", body).await;
    assert_eq!((accepted.status, &accepted.json["clientToken"]), (200, &json!("t")));
    assert_eq!(ask("GET", "/things/gw-1/shadow?name=config", "").await.json["version"], 1);
    let names = ask("GET", "/api/things/shadow/ListNamedShadowsForThing/gw-1", "").await;
    assert_eq!(names.json["results"], json!(["config"]));
    let stale = ask("POST", "/things/gw-1/shadow?name=config", r#"{"state":{"desired":{"on":1}},"version":7}"#).await;
    assert_eq!((stale.status, stale.kind.as_str()), (409, "ConflictException"));
    assert_eq!(ask("DELETE", "/things/gw-1/shadow?name=config", "").await.status, 200);
    assert_eq!(ask("GET", "/things/gw-1/shadow?name=a/b", "").await.kind, "InvalidRequestException");
}
