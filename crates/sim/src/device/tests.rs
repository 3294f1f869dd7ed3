//! The device against a broker that is not ours, with a scripted service behind it and artifacts over real mTLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_base::{SeededRng, Timestamp};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::ExtendedKeyUsagePurpose;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Device, Firmware, World};
use crate::bench::mosquitto::Mosquitto;
use crate::identity::DeviceKey;
use crate::json::at;
use crate::mqtt::{Client, Options, Packet};
use crate::net::Stream;

const THING: &str = "$aws/things/gw-1";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a scene serves and offers.
struct Scene {
    image: &'static [u8],
    /// What the door really gives.
    served: &'static [u8],
    signed_by: u64,
    hardware: &'static str,
}

const GOOD: Scene = Scene { image: b"exit 0\n", served: b"exit 0\n", signed_by: 1, hardware: "a-1" };

/// Lets a device take one job and returns every report it made of it, and the firmware it reported last.
async fn play(scene: Scene) -> (Vec<(String, String)>, String) {
    let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
    let mut tasks = JoinSet::new();
    let port = serve(&mosquitto, scene.served, &mut tasks).await;
    let service = mosquitto.client("service").expect("a certificate");
    let stream = mosquitto.door.open(&service, None).await.expect("a connection");
    let mut service = Client::connect(stream, "service", &Options::default()).await.expect("accepted");
    let filters = ["$aws/things/+/shadow/update", "$aws/things/+/jobs/start-next", "$aws/things/+/jobs/+/update"];
    service.subscribe_all(&filters, |_| {}).await.expect("subscribed");
    let (seen, mut reports) = mpsc::unbounded_channel();
    let document = document(&scene, port);
    tasks.spawn(async move {
        let mut ended = false;
        loop {
            answer(&mut service, &document, &mut ended, &seen).await;
        }
    });

    let stop = CancellationToken::new();
    tasks.spawn(device(&mosquitto).live(stop.clone()));
    let mut story = Vec::new();
    let mut firmware = String::new();
    let told = async {
        loop {
            let (topic, body): (String, Value) = reports.recv().await.expect("the service lives");
            let text = |pointer| at(&body, pointer).as_str().unwrap_or_default().to_owned();
            if topic.ends_with("/shadow/update") {
                firmware = text("/state/reported/firmware");
            } else if topic.ends_with("/update") {
                story.push((text("/status"), text("/statusDetails/step")));
                if text("/status") != "IN_PROGRESS" {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the job ends");
    stop.cancel();
    (story, firmware)
}

fn device(mosquitto: &Mosquitto) -> Device {
    let (certificate, key) = mosquitto.issue("gw-1", ExtendedKeyUsagePurpose::ClientAuth).expect("a certificate");
    let identity = DeviceKey::from_pair(key).certified("gw-1".parse().expect("a name"), certificate);
    let world = World::new(mosquitto.door.clone(), mosquitto.trust.clone(), Duration::ZERO);
    let signers = [SigningKey::generate(&SeededRng::new(1)).verifying_key()].into_iter().collect();
    let firmware = Firmware { version: "1.0".into(), image: Bytes::from_static(b"exit 0\n") };
    let source = std::net::Ipv4Addr::LOCALHOST;
    Device::new(Arc::new(world), Arc::new(identity), "a-1", signers, source, firmware)
}

fn document(scene: &Scene, port: u16) -> Value {
    let sha256 = Sha256::of(scene.image);
    let size = scene.image.len() as u64;
    let artifact = Artifact { filename: "os.img".into(), hardware: vec![scene.hardware.into()], sha256, size };
    let manifest = Manifest::new("os".into(), "2.0".into(), Timestamp::from_secs(1), vec![artifact]).expect("valid");
    let signed = SignedRelease::sign(&manifest, &SigningKey::generate(&SeededRng::new(scene.signed_by)));
    json!({
        "operation": "update", "rollout": "r", "release": { "name": "os", "version": "2.0" },
        "manifest": STANDARD.encode(&signed.manifest), "signature": STANDARD.encode(&signed.signature),
        "key_id": signed.key_id.to_string(),
        "artifact": {
            "sha256": sha256.to_string(), "size": size, "url": format!("https://localhost:{port}/artifacts/{sha256}"),
        },
    })
}

/// Answers one request as the services do.
async fn answer(
    service: &mut Client<Stream>,
    document: &Value,
    ended: &mut bool,
    seen: &mpsc::UnboundedSender<(String, Value)>,
) {
    let Packet::Publish(message) = service.next().await.expect("the broker lives") else { return };
    service.acknowledge(message.id.expect("QoS 1"));
    let body: Value = serde_json::from_slice(&message.payload).expect("JSON");
    let mut reply = json!({ "clientToken": at(&body, "/clientToken"), "timestamp": 1 });
    if message.topic.ends_with("/start-next") && !*ended {
        reply["execution"] = json!({ "jobId": "j", "jobDocument": document, "status": "IN_PROGRESS" });
    }
    if message.topic.contains("/jobs/j/") && at(&body, "/status") != "IN_PROGRESS" {
        *ended = true;
    }
    service.publish(&format!("{}/accepted", message.topic), reply.to_string().as_bytes());
    service.flush().await.expect("sent");
    assert!(message.topic.starts_with(THING), "{}", message.topic);
    // The test may have seen enough.
    let _over = seen.send((message.topic, body));
}

/// Serves the same bytes at every path, over mTLS.
async fn serve(mosquitto: &Mosquitto, content: &'static [u8], tasks: &mut JoinSet<()>) -> u16 {
    let (certificate, key) = mosquitto.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .expect("a key pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            let give = service_fn(move |_request| async move {
                let answer = Response::builder().status(StatusCode::OK).body(Full::new(Bytes::from_static(content)));
                Ok::<_, Infallible>(answer.expect("a plain answer"))
            });
            let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), give).await;
        }
    });
    port
}

fn steps(story: &[(String, String)]) -> Vec<&str> {
    story.iter().map(|(_, step)| step.as_str()).collect()
}

#[tokio::test]
async fn a_good_update_is_kept() {
    let (story, firmware) = play(GOOD).await;
    assert_eq!(steps(&story), ["installing", "restarting", "testing", "committed"]);
    assert_eq!(story.last().map(|(status, _)| status.as_str()), Some("SUCCEEDED"));
    assert_eq!(firmware, "2.0");
}

#[tokio::test]
async fn a_bad_image_is_left_again() {
    let (story, firmware) = play(Scene { image: b"exit 1\n", served: b"exit 1\n", ..GOOD }).await;
    assert_eq!(steps(&story), ["installing", "restarting", "testing", "falling-back", "testing"]);
    assert_eq!(story.last().map(|(status, _)| status.as_str()), Some("FAILED"));
    assert_eq!(firmware, "1.0");
}

#[tokio::test]
async fn what_nobody_vouches_for_is_not_installed() {
    for (scene, status) in [
        (Scene { signed_by: 2, ..GOOD }, "REJECTED"),
        (Scene { hardware: "b-2", ..GOOD }, "REJECTED"),
        (Scene { served: b"exit 0 \n", ..GOOD }, "FAILED"),
    ] {
        let (story, firmware) = play(scene).await;
        assert_eq!(story, [(status.to_owned(), "verifying".to_owned())]);
        assert_eq!(firmware, "1.0");
    }
}
