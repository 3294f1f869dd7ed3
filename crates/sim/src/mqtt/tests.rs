use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, Failure, Options};
use super::codec::{self, Connect, Malformed, Packet, Publish, Version};

fn bytes(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

fn decoded(input: &[u8], version: Version) -> Result<Option<Packet>, Malformed> {
    codec::decode(&mut BytesMut::from(input), version, 1000)
}

#[test]
fn connect_as_the_standard_has_it() {
    let connect = |version, clean, session_expiry_secs| {
        bytes(|out| {
            let connect = Connect {
                version,
                client_id: "d1",
                keep_alive_secs: 60,
                clean,
                session_expiry_secs,
                username: None,
                password: None,
            };
            codec::connect(out, &connect);
        })
    };
    assert_eq!(connect(Version::V311, true, 0), b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02d1");
    assert_eq!(connect(Version::V5, false, 7), b"\x10\x14\0\x04MQTT\x05\0\0\x3c\x05\x11\0\0\0\x07\0\x02d1");
}

#[test]
fn publish_and_back() {
    for version in [Version::V311, Version::V5] {
        for id in [None, Some(7)] {
            let out = bytes(|out| codec::publish(out, version, "a/b", &[b'x'; 300], id, false));
            let message = Publish {
                topic: "a/b".into(),
                payload: Bytes::from(vec![b'x'; 300]),
                id,
                retain: false,
                duplicate: false,
                properties: Bytes::new(),
            };
            assert_eq!(decoded(&out, version), Ok(Some(Packet::Publish(message))));
        }
    }
}

#[test]
fn every_cut_of_a_packet_waits_for_the_rest() {
    let whole = bytes(|out| codec::publish(out, Version::V5, "topic", &[0; 200], Some(1), false));
    for end in 0..whole.len() {
        assert_eq!(decoded(&whole[..end], Version::V5), Ok(None), "cut at {end}");
    }
}

#[test]
fn what_no_server_sends_is_refused() {
    for bad in [
        &b"\x00\x00"[..],
        b"\x10\x00",
        b"\x20\x01\x00",
        b"\x34\x05\0\x01a\0\x01",
        b"\x30\x01\0",
        b"\x30\x04\0\x09ab",
        b"\x30\x04\0\x02\xff\xfe",
        b"\x30\xff\xff\xff\xff",
        b"\x30\xff\xff\x01",
        b"\xe0\x00",
    ] {
        assert!(decoded(bad, Version::V311).is_err(), "{bad:x?}");
    }
    assert!(decoded(b"\x32\x07\0\x01a\0\x01\x09\x09", Version::V5).is_err());
}

#[test]
fn server_packets() {
    for (input, version, packet) in [
        (&b"\x40\x02\0\x05"[..], Version::V311, Packet::Puback { id: 5, code: 0 }),
        (b"\x40\x03\0\x05\x87", Version::V5, Packet::Puback { id: 5, code: 0x87 }),
        (b"\x90\x04\0\x01\x01\x80", Version::V311, Packet::Suback { id: 1, codes: vec![1, 0x80] }),
        (b"\x90\x04\0\x01\0\x01", Version::V5, Packet::Suback { id: 1, codes: vec![1] }),
        (b"\xd0\0", Version::V5, Packet::Pingresp),
        (b"\xe0\x02\x98\0", Version::V5, Packet::Disconnect { code: 0x98 }),
    ] {
        assert_eq!(decoded(input, version), Ok(Some(packet)));
    }
}

#[tokio::test]
async fn a_connection_from_connack_to_the_servers_goodbye() {
    let (near, mut far) = tokio::io::duplex(4096);
    let server = async {
        let mut connect = [0; 64];
        let length = far.read(&mut connect).await.expect("the CONNECT comes");
        assert_eq!(connect[0], 0x10, "{length}");
        far.write_all(b"\x20\x03\x01\0\0").await.expect("CONNACK");
        let length = far.read(&mut connect).await.expect("the SUBSCRIBE comes");
        assert_eq!(connect[..length][..2], [0x82, 7]);
        far.write_all(b"\x32\x07\0\x01t\0\x09\0x\x90\x04\0\x01\0\x01").await.expect("a message and the SUBACK");
        let length = far.read(&mut connect).await.expect("the PUBACK comes");
        assert_eq!(connect[..length], *b"\x40\x02\0\x09");
        far.write_all(b"\xe0\x02\x98\0").await.expect("DISCONNECT");
    };
    let client = async {
        let options = Options { version: Version::V5, ..Options::default() };
        let mut client = Client::connect(near, "d", &options).await.expect("accepted");
        assert!(client.session_present());
        let mut seen = Vec::new();
        client.subscribe_all(&["a"], |message| seen.push(message.topic)).await.expect("subscribed");
        assert_eq!(seen, ["t"]);
        assert!(matches!(client.next().await, Err(Failure::Disconnected { code: 0x98 })));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_refusal_has_its_code() {
    let (near, mut far) = tokio::io::duplex(4096);
    far.write_all(b"\x20\x02\0\x05").await.expect("CONNACK");
    assert!(matches!(Client::connect(near, "d", &Options::default()).await, Err(Failure::Refused { code: 5 })));
}
