//! A release from key to rollout.

use fleetward_core::lifecycle::Status;
use serde_json::json;

use crate::house::House;

/// A device as enrolment would leave it.
async fn activate(house: &House, name: &str) {
    assert_eq!(house.run(&["device", "create", name, "--hardware", "rev-a"]).await.code, 0);
    let (tenant, id) = ("acme".parse().expect("a name"), name.parse().expect("a name"));
    let written = house.app.write(&tenant, "enrol", move |tx| {
        Box::pin(async move {
            let mut row = tx.device(&id).await?.expect("it was registered");
            let before = row.revision;
            row.status = Status::Active.to_string();
            row.revision += 1;
            tx.update_device(&row, before).await?;
            Ok(())
        })
    });
    written.await.expect("written");
}

#[tokio::test]
async fn a_release_goes_from_key_to_rollout() {
    let house = House::open().await;
    let (key, image) = (house.file("release.key"), house.file("os-1.img"));
    let (key, image) = (key.to_str().expect("UTF-8"), image.to_str().expect("UTF-8"));
    std::fs::write(image, "the whole operating system").expect("written");
    let made = house.run(&["key", "create", key, "-o", "json"]).await.json();
    assert!(!made.to_string().contains("PRIVATE"));
    let artifact = format!("{image}=rev-a,rev-b");
    let create = ["release", "create", "--name", "os", "--version", "2.0", "--key", key, "--artifact", &artifact];
    let unknown = house.run(&create).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("next: register the public key"), "{}", unknown.err);
    let public = format!("{key}.pub");
    let registered = house.run(&["key", "register", &public, "--name", "build", "-o", "json"]).await.json();
    assert_eq!(registered["key_id"], made["key_id"]);
    let release = house.run(&create).await;
    assert_eq!(release.code, 0, "{release:?}");
    assert_eq!(house.run(&create).await.code, 5, "a version is released once");
    let shown = house.run(&["release", "show", "os@2.0", "-o", "json"]).await.json();
    assert_eq!(
        (&shown["hardware"], &shown["artifacts"][0]["filename"]),
        (&json!(["rev-a", "rev-b"]), &json!("os-1.img"))
    );
    assert_eq!(house.run(&["release", "show", "os@3.0"]).await.code, 3);

    for name in ["gw-1", "gw-2"] {
        activate(&house, name).await;
    }
    let plan = house.run(&["rollout", "plan", "--release", "os@2.0", "--canary", "1", "-o", "json"]).await.json();
    assert_eq!((&plan["target_count"], &plan["phases"][0]["quota"]), (&json!(2), &json!(1)));
    let begun = house.run(&["rollout", "create", "--release", "os@2.0", "--canary", "1", "--soak", "1m"]).await;
    assert!(begun.out.starts_with("os@2.0  os@2.0  running"), "{begun:?}");
    let paused = house.run(&["rollout", "pause", "os@2.0", "--note", "lunch"]).await;
    assert!(paused.out.contains("paused: Paused by first administrator: lunch"), "{paused:?}");
    let watched = house.run(&["rollout", "watch", "os@2.0", "--exit-status", "-o", "json"]).await;
    assert_eq!(watched.code, 8, "{watched:?}");
    assert!(watched.err.contains("the rollout is paused: Paused by"), "{}", watched.err);
    let waiting = house.run(&["rollout", "watch", "os@2.0", "--give-up-after", "1"]).await;
    assert_eq!(waiting.code, 7, "{waiting:?}");
    assert_eq!(house.run(&["rollout", "cancel", "os@2.0"]).await.code, 0);
    assert_eq!(house.run(&["rollout", "resume", "os@2.0"]).await.code, 5);
    let table = house.run(&["rollout", "list"]).await.out;
    assert!(table.contains("os@2.0") && table.contains("canceled"), "{table}");
    assert_eq!(house.run(&["rollout", "show", "nope"]).await.code, 3);
}

#[tokio::test]
async fn a_shadow_is_set_and_read() {
    let house = House::open().await;
    house.run(&["device", "create", "gw-1"]).await;
    let set = house.run(&["shadow", "set", "gw-1", r#"{"interval_s":30}"#]).await.json();
    assert_eq!(set["version"], 1);
    let shown = house.run(&["shadow", "get", "gw-1"]).await.json();
    assert_eq!(shown["state"]["delta"], json!({ "interval_s": 30 }));
    assert_eq!(house.run(&["shadow", "set", "gw-1", "{"]).await.code, 2);
    assert_eq!(house.run(&["shadow", "delete", "gw-1"]).await.code, 0);
    assert_eq!(house.run(&["shadow", "get", "gw-1"]).await.code, 3);
}
