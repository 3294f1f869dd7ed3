//! Updates from the rollout to the proven image, and every way in which one ends otherwise.

use fleetward_supply::SigningKey;
use serde_json::json;

use crate::stage::{Stage, wait_for};

/// Runs the image, as a device boots it; what the factory installed has no image and is good.
const SELF_TEST: &str = r#"[ -z "$FLEETWARD_IMAGE" ] || exec /bin/sh "$FLEETWARD_IMAGE""#;

fn image(version: &str, code: u8) -> String {
    format!("# os {version}\n{}exit {code}\n", "# the rest of an operating system\n".repeat(2000))
}

#[tokio::test]
async fn from_first_boot_to_a_proven_update_back_again_and_past_a_bad_one() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    device.handler("self-test", SELF_TEST);
    let _agent = device.start();
    stage.until("/v1/tenants/acme/devices/gw-1", |d| (d["presence"] == "online").then_some(())).await;

    let (release, _) = stage.release("2.0", &image("2.0", 0)).await;
    let rollout = stage.roll_out(&release).await;
    let end = stage.ended(&rollout, "update").await;
    assert_eq!((&end["status"], &end["step"]), (&json!("succeeded"), &json!("committed")), "{}", stage.logs());
    let record = stage.rest.get("/v1/tenants/acme/devices/gw-1").await;
    assert_eq!(record["firmware"], "2.0");
    assert!(device.status().contains("version       2.0 (slot b)"), "{}", device.status());
    stage
        .until("/v1/tenants/acme/devices/gw-1/shadow", |s| (s["state"]["reported"]["firmware"] == "2.0").then_some(()))
        .await;

    stage.rest.post(&format!("{rollout}/rollback"), &json!({})).await;
    let end = stage.ended(&rollout, "rollback").await;
    assert_eq!(end["status"], "succeeded", "{}", stage.logs());
    assert!(device.status().contains("version       1.0 (slot a)"), "{}", device.status());

    let (release, _) = stage.release("3.0", &image("3.0", 7)).await;
    let rollout = stage.roll_out(&release).await;
    let end = stage.ended(&rollout, "update").await;
    assert_eq!((&end["status"], &end["step"]), (&json!("failed"), &json!("testing")));
    let reason = end["detail"]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("fell back to 1.0: self-test: ") && reason.contains("exit status: 7"), "{reason}");
    let events = stage.rest.get("/v1/tenants/acme/devices/gw-1/events").await;
    for step in ["downloading", "installing", "restarting", "testing", "committed"] {
        let there = events.to_string().contains(&format!("\"{step}\""));
        assert!(there, "{step} stands in the time line: {events:#}\n{}", stage.logs());
    }
}

#[tokio::test]
async fn an_image_that_kills_the_agent_is_given_up() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    device.handler("self-test", "kill -9 $PPID; sleep 1");
    let mut agent = device.start();
    let (release, _) = stage.release("2.0", &image("2.0", 0)).await;
    stage.until("/v1/tenants/acme/devices/gw-1", |d| (d["presence"] == "online").then_some(())).await;
    let rollout = stage.roll_out(&release).await;
    let mut starts = 0;
    let path = format!("{rollout}/deployments");
    let end = stage
        .until(&path, |page| {
            // What starts programs on a machine starts this one again.
            if agent.ended() {
                agent = device.start();
                starts += 1;
            }
            page["items"].as_array()?.iter().find(|item| item["status"] == "failed").cloned()
        })
        .await;
    assert!(end["detail"]["reason"].as_str().unwrap_or_default().contains("never finished its self-test"), "{end}");
    assert_eq!(starts, 3, "one start of its own and two more, then the one that falls back");
    assert!(device.status().contains("version       1.0 (slot a)"));
}

#[tokio::test]
async fn a_device_believes_its_own_signers_only() {
    let stage = Stage::new().await;
    let mut device = stage.device("gw-1").await;
    let stranger = SigningKey::generate(&fleetward_base::SystemRng).verifying_key().to_pem();
    device.signer = device.folder.join("other.pem");
    std::fs::write(&device.signer, stranger).expect("writes");
    let _agent = device.start();
    stage.until("/v1/tenants/acme/devices/gw-1", |d| (d["presence"] == "online").then_some(())).await;
    let (release, _) = stage.release("2.0", &image("2.0", 0)).await;
    let end = stage.ended(&stage.roll_out(&release).await, "update").await;
    assert_eq!(end["status"], "rejected", "{end}");
    assert!(end["detail"]["reason"].as_str().unwrap_or_default().contains("is not an accepted signer"), "{end}");
}

#[tokio::test]
async fn an_artifact_that_was_changed_in_the_store_is_not_installed() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    let _agent = device.start();
    stage.until("/v1/tenants/acme/devices/gw-1", |d| (d["presence"] == "online").then_some(())).await;
    let good = image("2.0", 0);
    let (release, sha256) = stage.release("2.0", &good).await;
    let stored = stage.dir.path().join("server/artifacts/acme").join(sha256.to_string());
    std::fs::write(&stored, good.replace("operating", "0perating")).expect("writes");
    let end = stage.ended(&stage.roll_out(&release).await, "update").await;
    assert_eq!((&end["status"], &end["step"]), (&json!("failed"), &json!("verifying")), "{end}");
    assert!(device.status().contains("slot b        empty"), "{}", device.status());
}

#[tokio::test]
async fn a_download_goes_on_after_the_agent_was_killed() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    device.handler("self-test", SELF_TEST);
    let mut agent = device.start();
    stage.until("/v1/tenants/acme/devices/gw-1", |d| (d["presence"] == "online").then_some(())).await;
    let big = format!("{}{}", image("2.0", 0), "# more of it\n".repeat(2_000_000));
    let (release, sha256) = stage.release("2.0", &big).await;
    let rollout = stage.roll_out(&release).await;
    let file = device.data().join(format!("slots/b/{sha256}.image"));
    for killed_at in [2_u64, 8, 14].map(|mib| mib * 1024 * 1024) {
        wait_for("more of the image", || std::fs::metadata(&file).ok().filter(|found| found.len() > killed_at)).await;
        drop(agent);
        agent = device.start();
    }
    let end = stage.ended(&rollout, "update").await;
    assert_eq!(end["status"], "succeeded", "{}", stage.logs());
    assert!(agent.id() > 0);
}
