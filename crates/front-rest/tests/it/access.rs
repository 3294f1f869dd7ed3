//! Tokens, setup, and who one is.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_core::access::Role;
use reqwest::Method;
use serde_json::json;

use crate::house::{House, answer};

#[tokio::test]
async fn the_first_administrator_comes_by_a_token_that_works_once() {
    let house = House::open().await;
    // The house has its administrator already: the door is shut whatever is offered.
    for offered in ["fws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", "x"] {
        let refused = house.post("/v1/setup", "", &json!({ "setup_token": offered })).await;
        assert_eq!(refused.refusal(), (401, "unauthenticated".into()), "{offered}");
    }
}

#[tokio::test]
async fn whoami_says_role_tenant_and_permissions() {
    let house = House::open().await;
    let viewer = house.token("acme", Role::Viewer).await;
    let me = house.get("/v1/whoami", &viewer).await.json;
    assert_eq!((&me["role"], &me["tenant"]), (&json!("viewer"), &json!("acme")));
    let permissions = me["permissions"].as_array().expect("a list");
    assert!(permissions.contains(&json!("device:read")) && !permissions.contains(&json!("device:revoke")));
    assert_eq!(house.get("/v1/whoami", &house.admin).await.json["tenant"], json!(null));
}

#[tokio::test]
async fn malformed_unknown_expired_and_revoked_tokens_are_all_the_same() {
    let house = House::open().await;
    let body = json!({ "name": "ci", "role": "viewer", "ttl_s": 60 });
    let made = house.post("/v1/tenants/acme/api-tokens", &house.acme, &body);
    let made = made.await.json;
    let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    assert_eq!(house.get("/v1/whoami", token).await.status, 200);
    let unknown = format!("fwa_{}", "A".repeat(43));
    for bad in ["x", &unknown, &token.replace("fwa_", "fwe_"), &format!("{token}A")] {
        assert_eq!(house.get("/v1/whoami", bad).await.refusal(), (401, "unauthenticated".into()), "{bad}");
    }
    let path = format!("/v1/tenants/acme/api-tokens/{id}");
    assert_eq!(answer(house.request(Method::DELETE, &path, &house.acme)).await.status, 204);
    let revoked = house.get("/v1/whoami", token).await;
    let missing = house.get("/v1/whoami", "").await;
    assert_eq!(revoked.json["detail"], missing.json["detail"], "nobody learns why a token does not count");
    assert_eq!(revoked.header("www-authenticate"), "Bearer realm=\"fleetward\"");

    let made = house.post("/v1/tenants/acme/api-tokens", &house.acme, &body);
    let token = made.await.json["token"].as_str().expect("a token").to_owned();
    house.clock.advance(Duration::from_secs(61));
    assert_eq!(house.get("/v1/whoami", &token).await.status, 401);
}

#[tokio::test]
async fn an_address_that_guesses_has_to_wait() {
    let house = House::open().await;
    let wrong = format!("fwa_{}", "B".repeat(43));
    for _ in 0..limits::AUTH_FAILURES_BURST {
        assert_eq!(house.get("/v1/whoami", &wrong).await.status, 401);
    }
    let refused = house.get("/v1/whoami", &house.acme).await;
    assert_eq!(refused.refusal(), (429, "too-many".into()));
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert_eq!(house.post("/v1/setup", "", &json!({ "setup_token": "x" })).await.status, 429);
    house.clock.advance(Duration::from_secs(wait));
    assert_eq!(house.get("/v1/whoami", &house.acme).await.status, 200);
}

#[tokio::test]
async fn nobody_gives_a_role_beyond_their_own() {
    let house = House::open().await;
    let operator = house.token("acme", Role::Operator).await;
    let body = json!({ "name": "x", "role": "owner" });
    assert_eq!(house.post("/v1/tenants/acme/api-tokens", &operator, &body).await.refusal(), (403, "forbidden".into()));
    let body = json!({ "name": "x", "role": "admin" });
    assert_eq!(house.post("/v1/tenants/acme/api-tokens", &house.acme, &body).await.status, 422);
    assert_eq!(house.post("/v1/api-tokens", &house.acme, &body).await.status, 403);
    assert_eq!(house.post("/v1/api-tokens", &house.admin, &body).await.status, 201);
}

#[tokio::test]
async fn a_listing_of_tokens_never_shows_one() {
    let house = House::open().await;
    let listed = house.get("/v1/tenants/acme/api-tokens", &house.acme).await.json;
    let text = listed.to_string();
    assert!(text.contains("acme owner") && !text.contains("fwa_") && !text.contains("hash"), "{text}");
}
