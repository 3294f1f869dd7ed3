//! Every route is tried by another tenant and by nobody, and by a role that lacks its permission.
//!
//! The list of routes is the description's own, which is made from the router; a route that it does not reach fails here.

use std::collections::BTreeMap;

use fleetward_core::access::{Permission, Role, allows};
use fleetward_front_rest::openapi::{document, operations, permission};
use reqwest::Method;
use serde_json::Value;
use utoipa::openapi::path::Operation;

use crate::house::{Answer, House, answer};

/// Routes that need no token, each with its reason.
const OPEN: [(&str, &str); 1] = [("POST /v1/setup", "takes the setup token, which is a credential of its own")];
/// Routes outside tenants that every bearer may use.
const EVERYBODY: [&str; 2] = ["GET /v1/whoami", "GET /v1/tenants"];

struct Route {
    method: &'static str,
    path: String,
    permission: String,
    sample: Option<Value>,
}

impl Route {
    fn title(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn in_tenant(&self) -> bool {
        self.path.contains("{tenant}")
    }

    /// The path with a name in place of each placeholder.
    fn filled(&self, tenant: &str) -> String {
        let id = "01890000-0000-7000-8000-000000000000";
        self.path
            .replace("{tenant}", tenant)
            .replace("{access_key}", "FWAKAAAAAAAAAAAAAAAA")
            .replace("{device}", "gw-1")
            .replace("{sha256}", &"0".repeat(64))
            .replace("{anchor}", &"0".repeat(64))
            .replace("{reference}", &"0".repeat(32))
            .replace("{token}", id)
            .replace("{command}", id)
            .replace("{transfer}", id)
            .replace("{signer}", id)
            .replace("{release}", id)
            .replace("{name}", "line-4")
            .replace("{certificate}", &"0".repeat(64))
            .replace("{rollout}", id)
            .replace("{job}", "reboot")
            .replace("{request}", "WDJB-MJHT")
            .replace("{serial}", "SN-1")
            .replace("{maker}", "maker-1")
            .replace("{name}", "line-4")
            .replace("{holder}", "group")
            .replace("{did}", "did:web:example.com")
            .replace("{rotation}", id)
            .replace("{revocation}", id)
            .replace("{method}", "reboot")
            .replace("{version}", "1")
            .replace("{topic}", "site%2Fmode")
            .replace("{labelled}", "group")
            .replace("{kind}", "serial")
            .replace("{value}", "41a3")
    }

    async fn ask(&self, house: &House, tenant: &str, token: &str) -> Answer {
        let method: Method = self.method.parse().expect("a method");
        let path = self.filled(tenant);
        assert!(!path.contains('{'), "{}: a placeholder that the probe does not know", self.title());
        let mut request = house.request(method, &path, token);
        if matches!(self.method, "PATCH" | "DELETE" | "PUT") || self.path.contains("/ca-rotation/") {
            request = request.header("if-match", "\"1\"");
        }
        if let Some(sample) = &self.sample {
            request = request.json(sample);
        } else if self.method == "PUT" {
            request = request.header("content-type", "application/octet-stream").body("x");
        }
        answer(request).await
    }
}

fn routes() -> Vec<Route> {
    let api = document();
    let schemas: BTreeMap<String, Value> = api
        .components
        .as_ref()
        .expect("components")
        .schemas
        .iter()
        .map(|(name, schema)| (name.clone(), serde_json::to_value(schema).expect("JSON")))
        .collect();
    let mut routes = Vec::new();
    for (path, item) in &api.paths.paths {
        for (method, operation) in operations(item) {
            routes.push(Route {
                method,
                path: path.clone(),
                permission: permission(operation).expect("a permission").to_owned(),
                sample: sample(operation, &schemas),
            });
        }
    }
    assert!(routes.len() > 20, "the description has lost its routes");
    routes
}

/// The example that the description gives for the body; every JSON body has one.
fn sample(operation: &Operation, schemas: &BTreeMap<String, Value>) -> Option<Value> {
    let body = serde_json::to_value(operation.request_body.as_ref()?).expect("JSON");
    let content = body.get("content")?.get("application/json")?;
    if let Some(example) = content.get("example") {
        return Some(example.clone());
    }
    let name = content.pointer("/schema/$ref")?.as_str()?.rsplit('/').next()?;
    let example = schemas.get(name)?.get("example");
    Some(example.unwrap_or_else(|| panic!("{name} has no example")).clone())
}

#[tokio::test]
async fn nobody_gets_401_everywhere() {
    let house = House::open().await;
    for route in routes() {
        if OPEN.iter().any(|(open, _)| *open == route.title()) {
            continue;
        }
        let found = route.ask(&house, "acme", "").await;
        assert_eq!(found.status, 401, "{} by nobody", route.title());
        if route.method != "HEAD" {
            assert_eq!(found.refusal().1, "unauthenticated", "{} by nobody", route.title());
        }
    }
}

#[tokio::test]
async fn another_tenant_gets_404_everywhere() {
    let house = House::open().await;
    for route in routes().iter().filter(|route| route.in_tenant()) {
        let theirs = route.ask(&house, "acme", &house.beta).await;
        let nobodys = route.ask(&house, "nobody", &house.beta).await;
        assert_eq!(theirs.status, 404, "{} by another tenant", route.title());
        assert_eq!(theirs.json["detail"], nobodys.json["detail"], "{}: what is hidden must not show", route.title());
        let absent = route.ask(&house, "nobody", &house.admin).await;
        assert_eq!(absent.status, 404, "{} in no tenant", route.title());
    }
}

#[tokio::test]
async fn a_role_without_the_permission_gets_403_everywhere() {
    let house = House::open().await;
    let mut tokens = Vec::new();
    for role in [Role::Owner, Role::Operator, Role::Viewer, Role::Broker] {
        tokens.push((role, house.token("acme", role).await));
    }
    for route in routes() {
        if EVERYBODY.contains(&route.title().as_str()) || OPEN.iter().any(|(open, _)| *open == route.title()) {
            continue;
        }
        let needed: Permission = route.permission.parse().expect("a permission");
        for (role, token) in &tokens {
            let found = route.ask(&house, "acme", token).await;
            // Of the installation a tenant's principal may do nothing at all.
            let may = route.in_tenant() && allows(*role, needed);
            assert_eq!(found.status != 403, may, "{} by {role}: {}", route.title(), found.json);
            if !may && route.method != "HEAD" {
                assert_eq!(found.json["why"]["permission"], route.permission, "{} by {role}", route.title());
            }
        }
    }
}

#[tokio::test]
async fn every_route_of_the_router_is_described() {
    let house = House::open().await;
    for route in routes() {
        let found = route.ask(&house, "acme", &house.admin).await;
        assert!(!matches!(found.status.as_u16(), 405 | 500), "{}: {} {}", route.title(), found.status, found.json);
    }
}
