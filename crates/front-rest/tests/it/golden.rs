//! Tables that people read and review: routes with their permissions, meanings with their codes, the description.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetward_app::Error;
use fleetward_core::access::Permission;
use fleetward_front_rest::openapi::{document, operations, permission, text};
use fleetward_front_rest::problem::Problem;
use serde_json::Value;

/// Holds a text against its file under `golden`, or writes it where `UPDATE_GOLDEN` is set.
fn hold(name: &str, found: &str) {
    let path = format!("{}/tests/it/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, found, "{name} differs; look at it, then UPDATE_GOLDEN=1 cargo test -p fleetward-front-rest");
}

#[test]
fn every_route_has_its_permission() {
    let api = document();
    let mut lines = String::new();
    for (path, item) in &api.paths.paths {
        for (method, operation) in operations(item) {
            let permission = permission(operation).unwrap_or_else(|| panic!("{method} {path} declares no permission"));
            let known = Permission::ALL.iter().any(|one| one.as_str() == permission);
            assert!(known || matches!(permission, "none" | "any"), "{method} {path}: {permission} is no permission");
            lines.push_str(&format!("{method:<7}{path:<60}{permission}\n"));
        }
    }
    hold("routes.txt", &lines);
}

#[test]
fn operations_have_one_name_each() {
    let api = document();
    let mut seen = BTreeSet::new();
    for item in api.paths.paths.values() {
        for (_, operation) in operations(item) {
            let id = operation.operation_id.clone().expect("a name");
            assert!(seen.insert(id.clone()), "{id} is there twice");
        }
    }
}

#[test]
fn the_description_holds_together() {
    let api = serde_json::to_value(document()).expect("JSON");
    let mut rest = vec![&api];
    while let Some(value) = rest.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            assert!(api.pointer(target.trim_start_matches('#')).is_some(), "{target} leads nowhere");
        }
        rest.extend(value.as_object().into_iter().flat_map(|fields| fields.values()));
        rest.extend(value.as_array().into_iter().flatten());
    }
    for item in document().paths.paths.values() {
        for (_, operation) in operations(item) {
            let title = operation.operation_id.clone().expect("a name");
            assert!(
                operation.summary.as_ref().is_some_and(|text| !text.ends_with('.')),
                "{title} says not what it does"
            );
            let operation = serde_json::to_value(operation).expect("JSON");
            let responses = operation["responses"].as_object().expect("answers");
            assert!(
                responses.values().all(|answer| answer["description"].is_string()),
                "{title}: an answer without words"
            );
            assert!(responses.contains_key("default"), "{title} never fails?");
            let paged = operation.to_string().contains("schemas/Page_")
                && !["list_device_certificates", "send_commands"].contains(&title.as_str());
            assert_eq!(operation.to_string().contains("\"cursor\""), paged, "{title} and its cursor");
        }
    }
}

#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let path = format!("{}/../../openapi.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text()).expect("the description can be written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == text(), "openapi.json is not what the code says: run `cargo xtask openapi`");
}

#[test]
fn meanings_have_their_codes() {
    let secs = Duration::from_secs(7);
    let all = [
        Error::NotFound { what: "device" },
        Error::Unauthenticated { reason: "expired token" },
        Error::Denied { permission: Permission::DeviceRevoke },
        Error::invalid("policy.phases[2]", "must not go down"),
        Error::conflict("device-exists", "the device gw-1 exists"),
        Error::Stale { expected: 1, found: 2 },
        Error::untrusted("bad-signature", "the signature does not hold"),
        Error::Pending { retry_after: secs },
        Error::TooMany { what: "requests", retry_after: secs },
        Error::TooLarge { what: "the artifact", limit: 10 },
        Error::StorageFull,
        Error::Unavailable { what: "the store" },
        Error::internal("the disk said a secret"),
    ];
    let mut lines = String::new();
    for error in all {
        let problem = Problem::from(error);
        let retry = problem.retry_after.map(|after| format!(" retry={}", after.as_secs())).unwrap_or_default();
        let field = problem.field.as_ref().map(|field| format!(" field={field}")).unwrap_or_default();
        let why = problem.why.as_ref().map(|why| format!(" why={}", serde_json::json!(why))).unwrap_or_default();
        lines.push_str(&format!(
            "{} {:<16} {}: {}{field}{why}{retry}\n",
            problem.status.as_u16(),
            problem.code,
            problem.title,
            problem.detail
        ));
    }
    assert!(!lines.contains("secret"));
    hold("problems.txt", &lines);
}
