//! MQTT over WebSocket, over sockets.

use std::sync::Arc;

use axum::Extension;
use bytes::Bytes;
use fleetward_app::{Peer, registry};
use fleetward_front_mqtt::websocket::{Upgrades, router};
use fleetward_sim::mqtt::{Client, Failure, Options, Packet, Version};
use futures::{SinkExt, StreamExt, future};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use tokio_util::task::TaskTracker;

use crate::house::{Device, House, id, tenant, within};

/// The door as the listener opens it to a client with this certificate.
async fn open(house: &House, device: Option<&Device>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let certificates: Arc<[_]> = device.map(|device| device.certificate.clone().into()).into_iter().collect();
    let peer = Peer { address: "192.0.2.1:4711".parse().expect("an address"), certificates };
    let door = router(house.broker.clone()).layer(Extension(peer)).layer(Extension(Upgrades::default()));
    TaskTracker::new().spawn(async move { axum::serve(listener, door).await.expect("served") });
    TcpStream::connect(address).await.expect("accepted")
}

async fn shake(
    socket: TcpStream,
    headers: &[(&'static str, &'static str)],
) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = "ws://localhost/mqtt".into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    within(client_async(request, socket)).await.map(|(socket, _)| socket)
}

fn five() -> Options {
    Options { version: Version::V5, ..Options::default() }
}

const OFFER: (&str, &str) = ("sec-websocket-protocol", "mqtt");

async fn upgraded(house: &House, device: Option<&Device>) -> WebSocketStream<TcpStream> {
    shake(open(house, device).await, &[OFFER]).await.expect("upgraded")
}

async fn refused(house: &House, headers: &[(&'static str, &'static str)]) -> u16 {
    match shake(open(house, None).await, headers).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// The stream of bytes in a WebSocket, cut into frames of `frame` bytes.
fn bytes_of(socket: WebSocketStream<TcpStream>, frame: usize) -> impl AsyncRead + AsyncWrite + Unpin {
    let (sink, frames) = socket.split();
    let frames = frames.filter_map(|frame| {
        future::ready(match frame {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        })
    });
    let sink = sink.sink_map_err(std::io::Error::other).with_flat_map(move |bytes: Bytes| {
        let cut: Vec<_> = bytes.chunks(frame).map(|part| Ok(Message::Binary(Bytes::copy_from_slice(part)))).collect();
        futures::stream::iter(cut)
    });
    tokio::io::join(StreamReader::new(frames), SinkWriter::new(CopyToBytes::new(sink)))
}

#[tokio::test]
async fn a_session_runs_over_frames_that_are_cut_anywhere() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    for (frame, version) in [(1, Version::V5), (7, Version::V311), (64 * 1024, Version::V5)] {
        let stream = bytes_of(upgraded(&house, Some(&gw)).await, frame);
        let options = Options { version, ..Options::default() };
        let mut client = within(Client::connect(stream, "gw-1", &options)).await.expect("connected");
        within(client.subscribe_all(&["$aws/things/gw-1/shadow/update/accepted"], |_| {})).await.expect("subscribed");
        client.publish("$aws/things/gw-1/shadow/update", br#"{"state":{"reported":{"a":1}}}"#);
        within(client.flush()).await.expect("sent");
        let accepted = loop {
            if let Packet::Publish(message) = within(client.next()).await.expect("a packet") {
                break message;
            }
        };
        assert!(accepted.topic.ends_with("/update/accepted"), "{}", accepted.topic);
    }
}

#[tokio::test]
async fn the_certificate_counts_as_it_does_without() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    for (who, name, code) in [(None, "gw-1", 0x87), (Some(&gw), "gw-2", 0x85)] {
        let stream = bytes_of(upgraded(&house, who).await, 1024);
        match within(Client::connect(stream, name, &five())).await {
            Err(Failure::Refused { code: seen }) => assert_eq!(seen, code),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted as {name}"),
        }
    }
    let stream = bytes_of(upgraded(&house, Some(&gw)).await, 1024);
    let mut client = within(Client::connect(stream, "gw-1", &five())).await.expect("connected");
    registry::revoke_device(&house.app, &house.admin, &tenant("acme"), &id("gw-1"), "stolen").await.expect("revoked");
    let end = loop {
        if let Err(end) = within(client.next()).await {
            break end;
        }
    };
    assert!(matches!(end, Failure::Disconnected { code: 0x98 }), "{end}");
}

#[tokio::test]
async fn what_is_no_mqtt_over_websocket_is_told_so() {
    let house = House::new().await;
    assert_eq!(refused(&house, &[]).await, 400, "no subprotocol");
    assert_eq!(refused(&house, &[("sec-websocket-protocol", "amqp")]).await, 400);
    assert_eq!(refused(&house, &[OFFER, ("origin", "https://elsewhere.example")]).await, 403);
    assert_eq!(refused(&house, &[OFFER, ("sec-websocket-version", "7")]).await, 400);
    shake(open(&house, None).await, &[OFFER, ("origin", "https://localhost")]).await.expect("of the host itself");

    let mut plain = open(&house, None).await;
    within(plain.write_all(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await.expect("sent");
    let mut answer = String::new();
    within(plain.read_to_string(&mut answer)).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(answer.contains("ask for an upgrade"), "{answer}");
}

#[tokio::test]
async fn text_and_frames_that_claim_too_much_end_the_connection() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut text = upgraded(&house, Some(&gw)).await;
    within(text.send(Message::text("\u{10}\u{c}"))).await.expect("sent");
    while let Some(Ok(_)) = within(text.next()).await {}

    // A frame that says it has 2^40 bytes, of which four come: CVE-2026-25627.
    let mut raw = upgraded(&house, Some(&gw)).await;
    let socket = raw.get_mut();
    within(socket.write_all(&[0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0x10, 0x0C])).await.expect("sent");
    let mut rest = Vec::new();
    within(socket.read_to_end(&mut rest)).await.ok();
}
