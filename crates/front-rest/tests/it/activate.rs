//! The page where a person lets a device in.

use std::net::{IpAddr, Ipv4Addr};

use fleetward_app::device_flow::authorize_device;
use fleetward_app::enroll::Attempt;
use fleetward_app::enrollment_keys::id_scope;
use fleetward_app::enrollment_requests::enrollment_request;
use fleetward_core::access::Role;
use fleetward_pki::{SoftKey, csr, name};
use http::StatusCode;

use crate::house::{House, tenant};

async fn send(house: &House, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = house.http.post(format!("{}{path}", house.url));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
    let answer = request.send().await.expect("an answer");
    assert!(
        answer.headers()["content-security-policy"].to_str().is_ok_and(|policy| policy.contains("default-src 'none'"))
    );
    assert!(answer.headers().get("set-cookie").is_none());
    (answer.status(), answer.text().await.expect("a body"))
}

async fn asked(house: &House) -> String {
    asked_for(house, None).await
}

async fn asked_for(house: &House, csr: Option<&[u8]>) -> String {
    let (system, acme) = (house.app.system("test"), tenant("acme"));
    let scope = id_scope(&house.app, &system, &acme).await.expect("a scope");
    let attempt = Attempt { address: IpAddr::V4(Ipv4Addr::LOCALHOST), request_id: house.app.new_request_id() };
    authorize_device(&house.app, &attempt, &scope, Some("gw-1"), csr).await.expect("asked").user_code
}

fn ticket(html: &str) -> &str {
    let (_, rest) = html.split_once("name=\"ticket\" value=\"").expect("a ticket");
    rest.split('"').next().expect("its end")
}

async fn state(house: &House, code: &str) -> &'static str {
    let system = house.app.system("test");
    enrollment_request(&house.app, &system, &tenant("acme"), code).await.expect("there").state
}

#[tokio::test]
async fn only_who_may_decide_lets_a_device_in() {
    let house = House::open().await;
    let code = asked(&house).await;
    let (operator, viewer) = (house.token("acme", Role::Operator).await, house.token("acme", Role::Viewer).await);
    let form = house.http.get(format!("{}/activate?user_code={code}", house.url)).send().await.expect("an answer");
    assert!(form.text().await.expect("a body").contains(&code));
    let script = format!("{}/activate?user_code=%22%3E%3Cscript%3E", house.url);
    let form = house.http.get(script).send().await.expect("an answer");
    assert!(!form.text().await.expect("a body").contains("<script"));

    let look = async |token: &str| send(&house, "/activate", &[("user_code", &code), ("token", token)]).await;
    assert_eq!(look("").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(look("fwa_wrong").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(look(&house.beta).await.0, StatusCode::NOT_FOUND, "another tenant");
    let decide = async |ticket: &str, decision: &str| {
        send(&house, "/activate/decide", &[("ticket", ticket), ("decision", decision)]).await.0
    };
    let (_, seen) = look(&viewer).await;
    assert_eq!(decide(ticket(&seen), "approve").await, StatusCode::FORBIDDEN, "a viewer looks and decides nothing");
    assert_eq!(decide("", "approve").await, StatusCode::UNPROCESSABLE_ENTITY, "nobody");

    let (status, seen) = look(&operator).await;
    assert_eq!(status, StatusCode::OK);
    assert!(seen.contains("gw-1") && !seen.contains(&operator), "the token is not in the page");
    assert_eq!(decide(ticket(&seen), "later").await, StatusCode::UNPROCESSABLE_ENTITY);
    let changed = format!("{}AAAA", &ticket(&seen)[..ticket(&seen).len() - 4]);
    assert_eq!(decide(&changed, "approve").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(state(&house, &code).await, "pending");
    assert_eq!(decide(ticket(&seen), "approve").await, StatusCode::OK);
    assert_eq!(state(&house, &code).await, "approved");
    house.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(decide(ticket(&seen), "approve").await, StatusCode::UNPROCESSABLE_ENTITY, "too old");
}

#[tokio::test]
async fn what_is_decided_is_what_was_looked_at() {
    let house = House::open().await;
    let csr = csr::write(&name::write(None, "gw-1"), &[], &SoftKey::generate().0).expect("signs");
    let operator = house.token("acme", Role::Operator).await;
    let code = asked_for(&house, Some(&csr)).await;
    let (_, seen) = send(&house, "/activate", &[("user_code", &code), ("token", &operator)]).await;
    // Somebody asks with the same request meanwhile, and would be the one to poll.
    let other = asked_for(&house, Some(&csr)).await;
    let fields = [("ticket", ticket(&seen)), ("decision", "approve")];
    assert_eq!(send(&house, "/activate/decide", &fields).await.0, StatusCode::NOT_FOUND);
    assert_eq!(state(&house, &other).await, "pending");
}
