//! The questions of external brokers: who may ask them, and in which words.

use fleetward_core::access::Role;
use reqwest::Method;
use serde_json::json;

use crate::house::{House, answer};

#[tokio::test]
async fn a_plugin_asks_in_its_own_words() {
    let house = House::open().await;
    let token = house.token("acme", Role::Broker).await;
    let nobody = json!({ "clientid": "gw-1", "username": "gw-1", "peerhost": "192.0.2.9" });
    let found = house.post("/broker/authn", &token, &nobody).await;
    assert_eq!((found.status.as_u16(), &found.json), (200, &json!({ "result": "deny" })));
    let server = json!({ "clientid": "fleetward.server", "username": "fleetward.server" });
    assert_eq!(house.post("/broker/authn", &token, &server).await.json, json!({ "result": "ignore" }));
    // As mosquitto-go-auth: a form, the token as a password, the answer in the status.
    let form = |path: &str, body: &'static str| {
        let request = house.request(Method::POST, path, "").basic_auth("x", Some(&token));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(answer(form("/broker/user", "username=gw-1&password=&clientid=gw-1")).await.status, 403);
    assert_eq!(answer(form("/broker/superuser", "username=gw-1")).await.status, 403);
    for bad in ["username=gw-1&topic=x&acc=9", "topic=x&acc=1", "username=gw-1&acc=1"] {
        assert_eq!(answer(form("/broker/acl", bad)).await.status, 400, "{bad}");
    }
    for bad in [json!([]), json!({ "username": "gw-1", "topic": "x" }), json!({ "action": "publish", "topic": "x" })] {
        assert_eq!(house.post("/broker/authz", &token, &bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn nobody_else_asks() {
    let house = House::open().await;
    let body = json!({ "clientid": "gw-1", "username": "gw-1", "topic": "x", "action": "publish", "acc": 1 });
    for path in ["authn", "authz", "user", "superuser", "acl"] {
        let path = format!("/broker/{path}");
        assert_eq!(house.post(&path, "", &body).await.status, 401, "{path} by nobody");
        assert_eq!(house.post(&path, "fwa_wrong", &body).await.status, 401, "{path} by a guess");
        if !path.ends_with("superuser") {
            assert_eq!(house.post(&path, &house.admin, &body).await.status, 404, "{path} for no tenant");
        }
    }
    assert_eq!(house.get("/broker/acl", "").await.status, 401);
    let token = house.token("acme", Role::Broker).await;
    assert_eq!(house.get("/v1/tenants/acme/devices", &token).await.status, 403, "it is good for nothing else");
}
