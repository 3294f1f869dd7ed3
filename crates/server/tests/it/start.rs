//! Starting, stopping, and the faults that an operator makes.

use std::os::unix::fs::PermissionsExt;

use fleetward_base::{Clock, SystemClock, SystemRng};
use fleetward_pki::{Serial, SoftKey, Validity, ca, pem};

use crate::process::{Folder, command, command_with_mqtt, doctor, ready, ready_as, refused, stop};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_first_start_leaves_what_scripts_need_and_nothing_open_to_others() {
    let folder = Folder::new();
    let server = ready(&folder.path()).await;
    let endpoints: serde_json::Value = serde_json::from_str(&folder.read("endpoints.json")).expect("JSON");
    for key in ["operator_url", "device_host", "device_port", "mqtt_port", "metrics_url", "ca_file"] {
        assert!(endpoints.get(key).is_some_and(|value| !value.is_null()), "{key}");
    }
    assert!(folder.read("ca.pem").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(folder.read("setup-token").starts_with("fws_"));
    assert_eq!(mode(&folder.path()), 0o700);
    for secret in ["master.key", "setup-token"] {
        assert_eq!(mode(&folder.path().join(secret)), 0o600, "{secret}");
    }
    assert_eq!(stop(server).await, Some(0));
}

#[tokio::test]
async fn a_second_start_goes_on_with_the_same_authorities() {
    let folder = Folder::new();
    assert_eq!(stop(ready(&folder.path()).await).await, Some(0));
    let root = folder.read("ca.pem");
    let offer = folder.read("setup-token");
    assert_eq!(stop(ready(&folder.path()).await).await, Some(0));
    assert_eq!(folder.read("ca.pem"), root);
    // Nobody took the offer: there is a new one, and the old one ended.
    assert_ne!(folder.read("setup-token"), offer);
}

#[tokio::test]
async fn one_folder_has_one_server() {
    let folder = Folder::new();
    let first = ready(&folder.path()).await;
    let said = refused(&mut command(&folder.path())).await;
    assert!(said.contains("in use by another server"), "{said}");
    assert_eq!(stop(first).await, Some(0));
    // The lock goes with the process.
    assert_eq!(stop(ready(&folder.path()).await).await, Some(0));
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let folder = Folder::new();
    assert_eq!(stop(ready(&folder.path()).await).await, Some(0));
    std::fs::remove_file(folder.path().join("master.key")).expect("it was there");
    let said = refused(&mut command(&folder.path())).await;
    assert!(said.contains("master key"), "{said}");
}

#[tokio::test]
async fn a_taken_port_and_every_wrong_argument_are_named() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = refused(&mut command_with_mqtt(&folder.path(), &address)).await;
    assert!(said.contains(&address) && said.contains("cannot listen"), "{said}");
    let wrong = ["--public-host", "a..b", "--database", "mysql://x", "--max-connections", "0"];
    let said = refused(command(&folder.path()).args(wrong)).await;
    for flag in ["--public-host", "--database", "--max-connections"] {
        assert!(said.contains(flag), "{flag}: {said}");
    }
}

#[tokio::test]
async fn the_doctor_finds_a_healthy_server_well_and_a_stopped_one_not() {
    let folder = Folder::new();
    let server = ready(&folder.path()).await;
    let (code, report) = doctor(&folder.path()).await;
    let verdicts: Vec<(&str, &str)> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|check| (check["name"].as_str().expect("a name"), check["verdict"].as_str().expect("a verdict")))
        .collect();
    for name in ["folder", "disk", "names", "store", "clock", "seal", "issuers", "expiry", "broker"] {
        let found = verdicts.iter().find(|(found, _)| *found == name);
        assert!(matches!(found, Some((_, "ok" | "warn"))), "{name}: {report:#}");
    }
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(stop(server).await, Some(0));
    let (code, report) = doctor(&folder.path()).await;
    assert_eq!((code, report["verdict"].as_str()), (Some(1), Some("fail")));
    let server = report["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "server");
    assert!(server.is_some_and(|check| check["remedy"].as_str().is_some_and(|text| text.contains("fleetward serve"))));
}

#[tokio::test]
async fn a_server_begins_under_a_root_that_it_has_no_key_of() {
    let folder = Folder::new();
    let files = tempfile::tempdir().expect("a folder");
    let root = |name: &str| {
        let key = SoftKey::generate().0;
        let now = SystemClock::new().now();
        let day = std::time::Duration::from_secs(86_400);
        let validity = Validity { not_before: now.minus(day), not_after: now.plus(day * 4000) };
        let made = ca::root(name, Serial::generate(&SystemRng), validity, &key).expect("signs");
        let path = files.path().join(format!("{name}.pem"));
        std::fs::write(&path, pem::write(pem::CERTIFICATE, &made.der)).expect("written");
        path
    };
    let (mine, other) = (root("mine"), root("other"));
    let under = |path: &std::path::Path| {
        let mut command = command(&folder.path());
        command.arg("--offline-root").arg(path);
        command
    };
    let bad = files.path().join("bad.pem");
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &"x".repeat(100_000)] {
        std::fs::write(&bad, text).expect("written");
        let said = refused(&mut under(&bad)).await;
        assert!(said.contains("--offline-root"), "{said}");
    }
    let said = refused(&mut under(&files.path().join("nowhere.pem"))).await;
    assert!(said.contains("nowhere.pem"), "{said}");
    let first = ready_as(&mut under(&mine)).await;
    // What a client needs now comes first, and then the root for good.
    let (root, trusted) = (std::fs::read_to_string(&mine).expect("there"), folder.read("ca.pem"));
    assert!(trusted.ends_with(&root) && trusted.matches("BEGIN").count() == 2, "{trusted}");
    assert_eq!(stop(first).await, Some(0));
    let said = refused(&mut under(&other)).await;
    assert!(said.contains("has another root") && said.contains("--root-certificate"), "{said}");
    // The flag is for the first start; the installation knows its root.
    let again = ready(&folder.path()).await;
    assert!(folder.read("ca.pem").ends_with(&root));
    assert_eq!(stop(again).await, Some(0));
}
