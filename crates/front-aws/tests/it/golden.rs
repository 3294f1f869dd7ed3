//! What is offered, and what refusals are called, for people to read; a change shows here.

use std::fmt::Write;
use std::time::Duration;

use fleetward_app::Error;
use fleetward_core::access::Permission;
use fleetward_front_aws::Refusal;
use fleetward_front_aws::operations::OPERATIONS;

fn check(found: &str, golden: &str, name: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
        std::fs::write(file, found).expect("written");
        return;
    }
    assert_eq!(found, golden, "golden/{name} should read:\n{found}");
}

#[test]
fn operations() {
    let mut lines: Vec<String> = OPERATIONS
        .iter()
        .map(|operation| {
            format!(
                "{:<36}{:<9}{:<7} {:<78} {}",
                operation.name,
                operation.service.as_str(),
                operation.method,
                operation.path,
                operation.permission.as_str()
            )
        })
        .collect();
    lines.sort();
    check(&(lines.join("\n") + "\n"), include_str!("golden/operations.txt"), "operations.txt");
}

#[test]
fn refusals() {
    let wait = Duration::from_secs(3);
    let conflict = |code| Error::conflict(code, "reason");
    let mut table = String::new();
    for (meaning, error) in [
        ("not found", Error::NotFound { what: "device" }),
        ("unauthenticated", Error::Unauthenticated { reason: "x" }),
        ("denied", Error::Denied { permission: Permission::DeviceRead }),
        ("invalid", Error::invalid("field", "reason")),
        ("conflict device-exists", conflict("device-exists")),
        ("conflict groups-full", conflict("groups-full")),
        ("conflict groups-too-deep", conflict("groups-too-deep")),
        ("conflict certificate-active", conflict("certificate-active")),
        ("conflict certificate-attached", conflict("certificate-attached")),
        ("conflict topic-policy-attached", conflict("topic-policy-attached")),
        ("conflict topic-policy-versions-full", conflict("topic-policy-versions-full")),
        ("conflict execution-state", conflict("execution-state")),
        ("conflict job-state", conflict("job-state")),
        ("conflict life-cycle", conflict("life-cycle")),
        ("stale", Error::Stale { expected: 1, found: 2 }),
        ("untrusted", Error::untrusted("x", "reason")),
        ("pending", Error::Pending { retry_after: wait }),
        ("too many", Error::TooMany { what: "requests", retry_after: wait }),
        ("too large", Error::TooLarge { what: "the body", limit: 1 }),
        ("storage full", Error::StorageFull),
        ("unavailable", Error::Unavailable { what: "the store" }),
        ("internal", Error::internal("a secret")),
    ] {
        let refusal = Refusal::from(error);
        assert!(!refusal.message.contains("a secret"));
        writeln!(table, "{meaning:<38}{} {}", refusal.status.as_u16(), refusal.kind).expect("a string takes it");
    }
    check(&table, include_str!("golden/refusals.txt"), "refusals.txt");
}
