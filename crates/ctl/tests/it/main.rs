//! `wardctl` as scripts use it: the built program, the real door, exit codes and JSON.

mod house;
mod offline_root;
mod story;

use std::time::Duration;

use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn from_the_setup_token_to_a_tenant() {
    let house = House::fresh().await;
    let wrong = house.run(&["setup", "fws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]).await;
    assert_eq!(wrong.code, 4, "{wrong:?}");
    let made = house.run(&["setup", &house.setup_token]).await;
    assert!(made.out.starts_with("export FLEETWARD_TOKEN=fwa_"), "{made:?}");
    assert_eq!(house.run(&["setup", &house.setup_token]).await.code, 4, "once is once");
}

#[tokio::test]
async fn exit_codes_are_the_contract() {
    let mut house = House::open().await;
    house.run(&["device", "create", "gw-1"]).await;
    for (args, code) in [
        (vec!["device", "show", "gw-1"], 0),
        (vec!["device", "show"], 2),
        (vec!["device", "set", "gw-1"], 2),
        (vec!["device", "fly", "gw-1"], 2),
        (vec!["device", "show", "nope"], 3),
        (vec!["--tenant", "nope", "device", "list"], 3),
        (vec!["--token", "wrong", "device", "list"], 4),
        (vec!["device", "create", "gw-1"], 5),
        (vec!["device", "delete", "gw-1"], 5),
        (vec!["device", "suspend", "gw-1", "nope"], 6),
        (vec!["shadow", "set", "gw-1", "{}", "--version", "9"], 5),
        (vec!["--url", "http://127.0.0.1:9", "whoami"], 1),
        (vec!["--url", "http://example.com", "whoami"], 2),
        (vec!["--ca-file", "/nowhere", "whoami"], 2),
    ] {
        let run = house.run(&args).await;
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        assert!(code == 0 || !run.err.is_empty(), "{args:?} says nothing");
    }
    let viewer = house.run(&["api-token", "create", "eyes", "--role", "viewer", "-o", "json"]).await.json();
    house.set_token(viewer["token"].as_str().expect("a token"));
    let refused = house.run(&["device", "revoke", "gw-1"]).await;
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("device:revoke") && refused.err.contains("next: ask an owner"), "{}", refused.err);
    // A token of a tenant knows its tenant.
    house.leave_tenant();
    assert_eq!(house.run(&["device", "show", "gw-1", "-o", "json"]).await.json()["name"], "gw-1");
}

#[tokio::test]
async fn an_incident_is_rehearsed_before_it_is_one() {
    let house = House::open().await;
    house.run(&["device", "create", "gw-1"]).await;
    let drill = ["drill", "key-compromise", "--device", "gw-1"];
    let run = async |rest: &[&str]| house.run(&[&drill[..], rest].concat()).await;
    let refused = run(&[]).await;
    assert_eq!(refused.code, 2, "neither rehearsed nor done");
    assert!(refused.err.contains("wardctl revoke device gw-1") && refused.err.contains("--dry-run"), "{refused:?}");
    let said = run(&["--dry-run"]).await;
    assert_eq!(said.code, 9, "it has nothing that lets it in again: {said:?}");
    assert!(said.out.contains("gw-1") && said.out.contains("no_way") && said.out.contains("REHEARSED"), "{said:?}");
    let json = run(&["--dry-run", "-o", "json"]).await;
    assert_eq!(json.code, 9);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&json["devices"]["first"], &json["permitted"]), (&json!(["gw-1"]), &json!(true)));
    assert_eq!(house.run(&["device", "show", "gw-1", "-o", "json"]).await.json()["status"], "claimed");
    assert_eq!(run(&["--execute", "--confirm", "gw-2"]).await.code, 2, "confirmed something else");
    let nobody = ["drill", "revocation-cascade", "--tag", "nobody", "--dry-run"];
    assert_eq!(house.run(&nobody).await.code, 0, "nobody is met, and nobody is stranded");
    let two = ["drill", "revocation-cascade", "--tag", "x", "--everything", "--dry-run"];
    assert_eq!(house.run(&two).await.code, 2);
    assert_eq!(house.run(&["drill", "mass-rollback", "--dry-run"]).await.code, 0);
}

#[tokio::test]
async fn json_is_what_scripts_rely_on() {
    let house = House::open().await;
    let token =
        house.run(&["enroll-token", "create", "gw-1", "--ttl", "15m", "--hardware", "rev-b", "-o", "json"]).await;
    assert!(token.json()["token"].as_str().is_some_and(|token| token.starts_with("fwe_")));
    let device = house.run(&["device", "show", "gw-1", "-o", "json"]).await.json();
    assert_eq!(
        (&device["name"], &device["status"], &device["presence"]),
        (&json!("gw-1"), &json!("claimed"), &json!("offline"))
    );
    for field in ["firmware", "certificate"] {
        assert!(device.get(field).is_some(), "{field} is missing: {device}");
    }
    let listed = house.run(&["device", "list", "-o", "json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    let table = house.run(&["device", "list"]).await.out;
    assert!(table.starts_with("NAME  STATUS   PRESENCE  FIRMWARE  HARDWARE"), "{table}");
}

#[tokio::test]
async fn a_device_is_changed_without_being_overwritten() {
    let house = House::open().await;
    house.run(&["device", "create", "gw-1", "--owner", "ops", "--attribute", "rack=7"]).await;
    house.run(&["device", "tag", "gw-1", "beta", "old"]).await;
    let tagged = house.run(&["device", "tag", "gw-1", "eu", "--remove", "old", "-o", "json"]).await.json();
    assert_eq!(tagged["tags"], json!(["beta", "eu"]));
    let set = house.run(&["device", "set", "gw-1", "--owner", "", "--attribute", "rack=", "-o", "json"]).await.json();
    assert_eq!((&set["owner"], &set["attributes"]), (&json!(null), &json!({})));
    let many = house.run(&["device", "create", "gw-2"]).await;
    assert_eq!(many.code, 0);
    let both = house.run(&["device", "revoke", "gw-1", "gw-2", "-o", "json"]).await.json();
    assert_eq!((&both[0]["status"], &both[1]["status"]), (&json!("suspended"), &json!("suspended")));
}

#[tokio::test]
async fn more_rows_than_a_page_come_all_the_same() {
    let house = House::open().await;
    let ctx = house.app.system("test");
    for number in 0..1005 {
        let id = format!("gw-{number:04}").parse().expect("a name");
        let tenant = "acme".parse().expect("a name");
        let made = fleetward_app::registry::create_device(&house.app, &ctx, &tenant, id, Default::default()).await;
        made.expect("registered");
    }
    let listed = house.run(&["device", "list", "--limit", "1003", "-o", "json"]).await.json();
    let listed = listed.as_array().expect("rows");
    assert_eq!((listed.len(), &listed[1002]["name"]), (1003, &json!("gw-1002")));
}

#[tokio::test]
async fn events_are_followed_as_they_happen() {
    let house = House::open().await;
    let (mut child, mut lines) = house.start(&["event", "watch", "-o", "json"]);
    // What happens before the stream is open is not told: make devices until one is.
    let mut made = 0;
    let seen = loop {
        made += 1;
        house.run(&["device", "create", &format!("gw-{made}")]).await;
        let line = tokio::time::timeout(Duration::from_millis(500), lines.next_line()).await;
        if let Ok(line) = line {
            break line.expect("readable").expect("a line");
        }
        assert!(made < 20, "nothing was told");
    };
    let event: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(event["action"], "device.created");
    child.kill().await.expect("stopped");
    let listed = house.run(&["event", "list", "--device", "gw-1", "-o", "json"]).await.json();
    assert_eq!(listed[0]["action"], "device.created");
    assert_eq!(house.run(&["event", "verify"]).await.code, 0);
}

#[tokio::test]
async fn help_and_completion_need_no_server() {
    let house = House::fresh().await;
    let help = house.run(&["--help"]).await;
    for word in ["Exit codes:", "enroll-token", "rollout", "FLEETWARD_CA_FILE"] {
        assert!(help.out.contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(house.run(&["completion", shell]).await.out.contains("wardctl"), "{shell}");
    }
}

#[tokio::test]
async fn a_batch_is_made_known_before_it_is_made() {
    let house = House::open().await;
    let file = house.file("batch.csv");
    std::fs::write(&file, "serial,device,class\nSN-1,gw-1,gateway\nSN-2,a/b,\n").expect("written");
    let path = file.to_str().expect("UTF-8");
    let tried = house.run(&["inventory", "import", path, "--dry-run"]).await;
    assert_eq!(tried.code, 6, "{tried:?}");
    assert!(tried.out.contains("device") && tried.err.contains("1 not taken"), "{tried:?}");
    assert_eq!(house.run(&["inventory", "show", "SN-1"]).await.code, 3, "nothing was written");
    std::fs::write(&file, "serial,device,class\nSN-1,gw-1,gateway\nSN-2,gw-2,\n").expect("written");
    let taken = house.run(&["inventory", "import", path, "-o", "json"]).await.json();
    assert_eq!((&taken["added"], &taken["faulty"]), (&json!(2), &json!(0)));
    let again = house.run(&["inventory", "import", path, "-o", "json"]).await.json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &json!(2)));
    assert_eq!(house.run(&["inventory", "remove", "SN-2"]).await.code, 0);
    let listed = house.run(&["inventory", "list", "-o", "json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));

    let keys = house.run(&["enrollment-group", "create", "line-4", "--class", "gateway", "-o", "json"]).await.json();
    let scope = house.run(&["enrollment-group", "id-scope"]).await.out;
    assert_eq!(keys["id_scope"], scope.trim());
    let rotated = house.run(&["enrollment-group", "rotate-key", "line-4", "-o", "json"]).await.json();
    assert_eq!(rotated["secondary_key"], keys["primary_key"]);
    assert_eq!(house.run(&["enrollment-group", "revoke", "line-4"]).await.code, 0);
    assert_eq!(house.run(&["enrollment-group", "rotate-key", "line-4"]).await.code, 5);
    assert_eq!(house.run(&["enrollment", "approve", "WDJB-MJHT"]).await.code, 3);
    assert_eq!(house.run(&["device", "did", "challenge", "gw-9", "did:web:localhost"]).await.code, 1);
}
