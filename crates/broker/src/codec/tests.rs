use std::path::Path;

use mqtt_protocol_core::mqtt::packet::{SubEntry, SubOpts, v3_1_1, v5_0};
use proptest::prelude::*;

use super::write::{
    ConnackProperties, OutPublish, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack_with_codes, connack_v5,
    connack_v5_refused, disconnect, disconnect_to,
};
use super::{exam, frame, publish};
use crate::hooks::Qos;

/// Packets of a client, as the library builds them.
fn packets() -> Vec<(bool, Vec<u8>)> {
    let entry = |filter: &str| SubEntry::new(filter.to_owned(), SubOpts::default()).expect("a filter");
    vec![
        (
            false,
            v3_1_1::Connect::builder()
                .client_id("one")
                .expect("id")
                .keep_alive(60)
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (
            true,
            v5_0::Connect::builder()
                .client_id("one")
                .expect("id")
                .keep_alive(60)
                .will_message("t", b"x".to_vec(), mqtt_protocol_core::mqtt::packet::Qos::AtLeastOnce, true)
                .expect("will")
                .user_name("u")
                .expect("name")
                .password(b"p".to_vec())
                .expect("password")
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (
            false,
            v3_1_1::Publish::builder()
                .topic_name("a/b")
                .expect("topic")
                .qos(mqtt_protocol_core::mqtt::packet::Qos::AtLeastOnce)
                .packet_id(7u16)
                .payload(b"payload".to_vec())
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (
            true,
            [
                &[0x33, 44, 0, 3][..],
                b"a/b",
                &[0, 7, 29],
                &[
                    1, 1, 2, 0, 0, 0, 9, 3, 0, 1, b'c', 8, 0, 1, b'r', 9, 0, 2, 1, 2, 0x26, 0, 1, b'k', 0, 1, b'v',
                    0x0B, 5,
                ],
                b"payload",
            ]
            .concat(),
        ),
        (false, vec![0x40, 2, 0, 7]),
        (true, vec![0x40, 4, 0, 7, 0x10, 0]),
        (
            false,
            v3_1_1::Subscribe::builder()
                .packet_id(3u16)
                .entries(vec![entry("a/+"), entry("#")])
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (
            true,
            v5_0::Subscribe::builder()
                .packet_id(3u16)
                .entries(vec![entry("a/+"), entry("#")])
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (
            true,
            v5_0::Unsubscribe::builder()
                .packet_id(3u16)
                .entries(vec!["a", "b"])
                .expect("filters")
                .build()
                .expect("whole")
                .to_continuous_buffer(),
        ),
        (false, vec![0xC0, 0]),
        (false, vec![0xE0, 0]),
        (true, vec![0xE0, 7, 4, 5, 0x11, 0, 0, 0, 9]),
        (false, vec![0x50, 2, 0, 7]),
        (true, vec![0x50, 4, 0, 7, 0x87, 0]),
        (true, vec![0x62, 3, 0, 7, 0x92]),
        (true, vec![0x70, 2, 0, 7]),
        (true, vec![0x34, 11, 0, 1, b't', 0, 9, 3, 0x23, 0, 2, b'x', b'y']),
        (true, vec![0x82, 18, 0, 3, 2, 0x0B, 9, 0, 10, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'g', b'/', b't', 1]),
    ]
}

#[test]
fn what_the_library_builds_is_understood() {
    for (v5, bytes) in packets() {
        assert_eq!(exam::read_all(&bytes, v5), 1, "{bytes:?}");
    }
}

/// The corpus of the fuzzer: each is read without a panic, in both versions, and those that are named so are understood.
#[test]
fn the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/broker_packets");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus") {
        let file = file.expect("readable").path();
        let bytes = std::fs::read(&file).expect("readable");
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (&first, rest) = bytes.split_first().expect("the version and bytes");
        let understood = exam::read_all(rest, first & 1 == 1);
        assert_eq!(name.starts_with("good"), understood > 0, "{name}");
        seen += 1;
    }
    assert!(seen >= packets().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Good packets with some bytes changed, cut or put in: the same verdict from both decoders.
    #[test]
    fn both_decoders_agree(
        which in 0..packets().len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..5),
    ) {
        let (v5, mut bytes) = packets().swap_remove(which);
        for (at, byte, change) in changes {
            let at = at.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 2 => { bytes.remove(at); }
                _ => {}
            }
        }
        // Mostly with the right length again, so that more than the header is looked at.
        if bytes.len() > 2 && bytes.len() < 130 && !bytes[2].is_multiple_of(4) {
            bytes[1] = u8::try_from(bytes.len() - 2).expect("short");
        }
        exam::read_all(&bytes, v5);
        exam::read_all(&bytes, !v5);
    }

    #[test]
    fn noise_is_refused_in_peace(bytes in proptest::collection::vec(any::<u8>(), 0..200), v5: bool) {
        exam::read_all(&bytes, v5);
    }

    /// A PUBLISH that we write is the one that both decoders read.
    #[test]
    fn a_written_publish_is_read_back(
        topic in "[a-z/]{1,100}", payload in proptest::collection::vec(any::<u8>(), 0..20_000),
        packet_id in 1u16.., expiry: Option<u32>, (dup, retain, v5) in any::<(bool, bool, bool)>(),
        qos in 0u8..3, subscription in 0u32..268_435_456,
    ) {
        let properties: &[u8] = if v5 { &[3, 0, 1, b'c'] } else { &[] };
        let out = OutPublish {
            topic: &topic, qos: Qos::from_bits(qos), dup: dup && qos > 0, retain,
            packet_id, properties, expiry_secs: expiry.filter(|_| v5), subscription: if v5 { subscription } else { 0 }, payload: &payload,
        };
        let mut bytes = vec![];
        out.write(v5, &mut bytes);
        prop_assert_eq!(bytes.len(), out.len(v5));
        let frame::Frame::Packet { flags, body, len, .. } = frame::frame(&bytes, usize::MAX) else { panic!("a packet") };
        prop_assert_eq!(len, bytes.len());
        let read = publish::read(flags, body, v5).expect("a PUBLISH");
        prop_assert_eq!((read.topic, read.payload, read.qos), (topic.as_str(), &payload[..], qos));
        prop_assert_eq!((read.dup, read.retain), (dup && qos > 0, retain));
        prop_assert_eq!(read.properties.subscription_id, v5 && subscription != 0);
        prop_assert_eq!(read.properties.expiry_secs, expiry.filter(|_| v5));
        prop_assert_eq!(exam::read_all(&bytes, v5), 1);
    }
}

#[test]
fn the_library_reads_what_the_server_writes() {
    let body = |bytes: &[u8]| bytes[2..].to_vec();
    let mut out = vec![];
    connack_v5(
        &mut out,
        true,
        &ConnackProperties {
            session_expiry_secs: Some(7),
            receive_maximum: 100,
            max_packet: 9,
            topic_aliases: 4,
            assigned_client_id: Some("one"),
            keep_alive_secs: Some(5),
            max_qos: 1,
            no_subscription_identifiers: true,
        },
    );
    let (connack, used) = v5_0::Connack::parse(&body(&out)).expect("a CONNACK");
    assert_eq!((connack.props().len(), used), (8, out.len() - 2));
    out.clear();
    ack_with_codes(&mut out, 0x90, 9, &[0, 1, 0x87], true);
    assert_eq!(v5_0::Suback::parse(&body(&out)).expect("a SUBACK").0.reason_codes().len(), 3);
    out.clear();
    ack_with_codes(&mut out, 0xB0, 9, &[0, 0x11], true);
    assert_eq!(v5_0::Unsuback::parse(&body(&out)).expect("an UNSUBACK").0.reason_codes().len(), 2);
    out.clear();
    ack_with_codes(&mut out, 0xB0, 9, &[], false);
    assert!(v3_1_1::Unsuback::parse(&body(&out)).is_ok());
    out.clear();
    ack(&mut out, PUBACK, 9, 0x87);
    assert_eq!(v5_0::Puback::parse(&body(&out)).expect("a PUBACK").0.packet_id(), 9);
    out.clear();
    ack(&mut out, PUBREC, 9, 0x87);
    assert_eq!(v5_0::Pubrec::parse(&body(&out)).expect("a PUBREC").0.packet_id(), 9);
    out.clear();
    ack(&mut out, PUBREL, 9, 0x92);
    assert_eq!(v5_0::Pubrel::parse(&body(&out)).expect("a PUBREL").0.packet_id(), 9);
    out.clear();
    ack(&mut out, PUBCOMP, 9, 0);
    assert_eq!(v5_0::Pubcomp::parse(&body(&out)).expect("a PUBCOMP").0.packet_id(), 9);
    out.clear();
    connack_v5_refused(&mut out, 0x9C, Some("b.example.com"));
    assert_eq!(v5_0::Connack::parse(&body(&out)).expect("a CONNACK").0.props().len(), 1);
    out.clear();
    disconnect_to(&mut out, 0x9D, "b.example.com:8883");
    let (packet, length) = v5_0::Disconnect::parse(&body(&out)).expect("a DISCONNECT");
    assert_eq!(length, body(&out).len());
    assert!(format!("{packet:?}").contains("b.example.com:8883"), "{packet:?}");
    out.clear();
    disconnect(&mut out, 0x98, usize::MAX);
    let (packet, length) = v5_0::Disconnect::parse(&body(&out)).expect("a DISCONNECT");
    assert_eq!(length, body(&out).len());
    assert!(format!("{packet:?}").contains("administrative_action"), "{packet:?}");
    out.clear();
    disconnect(&mut out, 0x98, 20);
    assert_eq!(out, [0xE0, 1, 0x98], "no words for a client that takes no long packets");
}

/// Writes the corpus anew: `cargo test -p fleetward-broker write_the_corpus -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/broker_packets");
    std::fs::create_dir_all(&folder).expect("writable");
    for (n, (v5, bytes)) in packets().into_iter().enumerate() {
        let file = [&[u8::from(v5)], &bytes[..]].concat();
        std::fs::write(folder.join(format!("good-{n:02}.bin")), file).expect("writable");
    }
    for (n, bytes) in [
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F][..],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        &[0x30, 2, 0, 9],
        &[0x36, 3, 0, 1, b't'],
        &[0x30, 6, 0, 1, b't', 2, 0x23, 0],
        &[0x82, 3, 0, 1, 0],
        &[0xE0, 2, 0, 9],
        &[0x30, 6, 0, 1, b't', 4, 1, 0],
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(folder.join(format!("bad-{n:02}.bin")), [&[1], bytes].concat()).expect("writable");
    }
}
