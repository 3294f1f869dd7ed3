//! From a key to a rollout, and every release that must be refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_base::{SeededRng, Timestamp};
use fleetward_core::lifecycle::Transition;
use fleetward_supply::trust::SignedRelease;
use fleetward_supply::{Artifact, Manifest, Sha256, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, answer};

const TENANT: &str = "/v1/tenants/acme";
const IMAGE: &[u8] = b"the whole operating system";

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(&SeededRng::new(seed))
}

fn signed(key: &SigningKey, version: &str, content: &[u8]) -> SignedRelease {
    let artifact = Artifact {
        filename: "os.img".into(),
        hardware: vec!["rev-a".into()],
        sha256: Sha256::of(content),
        size: content.len() as u64,
    };
    let manifest = Manifest::new("os".into(), version.into(), Timestamp::from_secs(1), vec![artifact]);
    SignedRelease::sign(&manifest.expect("a manifest"), key)
}

fn body(release: &SignedRelease) -> Value {
    json!({
        "manifest": BASE64_STANDARD.encode(&release.manifest),
        "signature": BASE64_STANDARD.encode(&release.signature),
        "key_id": release.key_id.to_string(),
    })
}

async fn upload(house: &House, sha256: &str, content: &'static [u8]) -> Answer {
    let path = format!("{TENANT}/artifacts/{sha256}");
    answer(house.request(Method::PUT, &path, &house.acme).body(content)).await
}

async fn register(house: &House, key: &SigningKey) -> Answer {
    let body = json!({ "name": "build", "public_key": key.verifying_key().to_pem() });
    house.post(&format!("{TENANT}/signers"), &house.acme, &body).await
}

async fn release(house: &House, release: &SignedRelease) -> Answer {
    house.post(&format!("{TENANT}/releases"), &house.acme, &body(release)).await
}

#[tokio::test]
async fn an_artifact_is_there_only_when_all_of_it_was_right() {
    let house = House::open().await;
    let hash = Sha256::of(IMAGE).to_string();
    let path = format!("{TENANT}/artifacts/{hash}");
    let head = async || answer(house.request(Method::HEAD, &path, &house.acme)).await.status.as_u16();
    assert_eq!(head().await, 404);
    assert_eq!(upload(&house, &hash, b"something else entirely :-)").await.refusal(), (422, "invalid".into()));
    assert_eq!(head().await, 404);
    assert_eq!(upload(&house, &hash, IMAGE).await.status, 201);
    assert_eq!(upload(&house, &hash, IMAGE).await.status, 200);
    assert_eq!(head().await, 200);
    let unsized_body = reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(IMAGE)]));
    let refused = answer(house.request(Method::PUT, &path, &house.acme).body(unsized_body)).await;
    assert_eq!(refused.refusal(), (411, "length-required".into()));
    for bad in ["x", &hash.to_uppercase(), "../etc"] {
        assert_eq!(upload(&house, bad, IMAGE).await.status, 404, "{bad}");
    }
    let listed = house.get(&format!("{TENANT}/artifacts"), &house.acme).await;
    assert_eq!(listed.json["items"][0]["sha256"], hash);
    assert_eq!(house.get("/v1/tenants/beta/artifacts", &house.beta).await.json["items"], json!([]));
}

#[tokio::test]
async fn only_what_an_accepted_key_signed_is_a_release() {
    let house = House::open().await;
    let (ours, other) = (key(1), key(2));
    let good = signed(&ours, "2.0.0", IMAGE);
    assert_eq!(release(&house, &good).await.refusal(), (422, "unknown-signer".into()));
    let signer = register(&house, &ours).await;
    assert_eq!(signer.status, 201);
    assert_eq!(register(&house, &ours).await.refusal(), (409, "signer-exists".into()));
    assert_eq!(release(&house, &good).await.refusal(), (409, "artifact-missing".into()));
    upload(&house, &Sha256::of(IMAGE).to_string(), IMAGE).await;
    let text = String::from_utf8(good.manifest.clone()).expect("JSON");
    let tampered = SignedRelease { manifest: text.replace("2.0.0", "2.0.1").into_bytes(), ..good.clone() };
    assert_eq!(release(&house, &tampered).await.refusal(), (422, "bad-signature".into()));
    assert_eq!(release(&house, &signed(&other, "2.0.0", IMAGE)).await.refusal(), (422, "unknown-signer".into()));
    let lying = SignedRelease { key_id: ours.verifying_key().key_id(), ..signed(&other, "2.0.0", IMAGE) };
    assert_eq!(release(&house, &lying).await.refusal(), (422, "bad-signature".into()));
    let mut unreadable = body(&good);
    for (field, value) in [("manifest", "%"), ("signature", "%"), ("key_id", "abc")] {
        unreadable[field] = json!(value);
        let refused = house.post(&format!("{TENANT}/releases"), &house.acme, &unreadable).await;
        assert_eq!((refused.status.as_u16(), &refused.json["field"]), (422, &json!(field)));
        unreadable = body(&good);
    }
    let made = release(&house, &good).await;
    assert_eq!((made.status.as_u16(), made.etag()), (201, "\"1\"".to_owned()));
    assert_eq!(made.json["hardware"], json!(["rev-a"]));
    assert_eq!(release(&house, &good).await.refusal(), (409, "release-exists".into()));
    let id = signer.json["id"].as_str().expect("an id");
    let path = format!("{TENANT}/signers/{id}");
    let revoke = house.request(Method::DELETE, &path, &house.acme).header("if-match", signer.etag());
    let revoked = answer(revoke).await;
    assert!(revoked.json["revoked_at"].is_string(), "{}", revoked.json);
    assert_eq!(release(&house, &signed(&ours, "2.1.0", IMAGE)).await.refusal(), (422, "revoked-signer".into()));
}

/// An active device, as enrolment would leave it.
async fn active_device(house: &House, name: &str) {
    let body = json!({ "name": name, "hardware": "rev-a" });
    assert_eq!(house.post(&format!("{TENANT}/devices"), &house.acme, &body).await.status, 201);
    let (tenant, id) = (crate::house::tenant("acme"), name.parse().expect("a name"));
    let enrolled = house.app.write(&tenant, "enrol", move |tx| {
        Box::pin(async move {
            let mut row = tx.device(&id).await?.expect("it was registered");
            let (before, status) = (row.revision, row.status.parse().expect("a status"));
            row.status = fleetward_core::lifecycle::decide(status, Transition::Enroll).expect("it may").to_string();
            row.revision += 1;
            tx.update_device(&row, before).await?;
            Ok(())
        })
    });
    enrolled.await.expect("written");
}

#[tokio::test]
async fn a_rollout_is_planned_made_paused_and_ended() {
    let house = House::open().await;
    let ours = key(1);
    register(&house, &ours).await;
    upload(&house, &Sha256::of(IMAGE).to_string(), IMAGE).await;
    let made = release(&house, &signed(&ours, "2.0.0", IMAGE)).await;
    let mut body = json!({
        "release": made.json["id"],
        "policy": { "phases": [{ "target": { "count": 1 }, "soak_s": 60 }, { "target": { "percent": 100 } }] },
    });
    let path = format!("{TENANT}/rollouts");
    assert_eq!(house.post(&path, &house.acme, &body).await.refusal(), (409, "nothing-to-update".into()));
    for number in 0..4 {
        active_device(&house, &format!("gw-{number}")).await;
    }
    let plan = house.post(&format!("{path}/plan"), &house.acme, &body).await;
    assert_eq!(plan.status, 200);
    insta::assert_json_snapshot!("plan", plan.json);
    assert_eq!(house.get(&path, &house.acme).await.json["items"], json!([]), "a plan makes nothing");

    let rollout = house.post(&path, &house.acme, &body).await;
    assert_eq!(rollout.status, 201);
    let id = rollout.json["id"].as_str().expect("an id");
    let mut shown = rollout.json.clone();
    (shown["id"], shown["release"]["id"]) = (json!("an id"), json!("an id"));
    insta::assert_json_snapshot!("rollout", shown);
    let control = async |verb: &str| house.post(&format!("{path}/{id}/{verb}"), &house.acme, &json!({})).await;
    let paused = control("pause").await;
    assert_eq!(
        (&paused.json["state"], &paused.json["pause"]["text"]),
        (&json!("paused"), &json!("Paused by acme owner."))
    );
    assert_eq!(control("resume").await.json["state"], "running");
    assert_eq!(control("cancel").await.json["state"], "canceled");
    assert_eq!(control("resume").await.refusal(), (409, "rollout-state".into()));
    let deployments = house.get(&format!("{path}/{id}/deployments?status=queued"), &house.acme).await;
    assert_eq!(deployments.json["items"], json!([]));
    body["policy"]["phases"] = json!([]);
    let refused = house.post(&path, &house.acme, &body).await;
    assert_eq!((refused.status.as_u16(), &refused.json["field"]), (422, &json!("policy.phases")));
    body["policy"]["phases"] = json!([{ "target": { "percent": 300 } }]);
    let refused = house.post(&path, &house.acme, &body).await;
    assert_eq!((refused.status.as_u16(), &refused.json["field"]), (422, &json!("policy.phases[0].target.percent")));
}
