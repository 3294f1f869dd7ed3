//! Two decoders and two encoders: packets of each kind, good and damaged, and what the fuzzer has found.

use std::path::Path;

use bytes::Bytes;
use mqtt_proto::{Pid, QoS, QosPid, TopicFilter, TopicName, v3, v5};
use proptest::prelude::*;

use crate::differential::{Class, Verdict, compare};

/// A packet of a client as the other encoder writes it, its version, and whether it comes first.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) v5: bool,
    pub(crate) first: bool,
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß€😀]{0,12}"
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-zA-Z0-9$ _äß]{1,8}(/[a-z0-9]{0,6}){0,4}".prop_map(|topic| TopicName::try_from(&*topic).expect("a topic"))
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let filters = ["#", "+", "/", "a/+", "+/b/#", "$share/g/a/+", "$share/g//", "$aws/things/x/#", "ä/ö"];
    let known = prop::sample::select(filters.to_vec()).prop_map(str::to_owned);
    prop_oneof![known, "[a-z]{1,8}(/[a-z0-9]{0,6}){0,4}"]
        .prop_map(|text| TopicFilter::try_from(&*text).expect("a filter"))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn pid() -> impl Strategy<Value = Pid> {
    (1..=u16::MAX).prop_map(|id| Pid::try_from(id).expect("not 0"))
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::Level0, QoS::Level1, QoS::Level2])
}

fn users() -> impl Strategy<Value = Vec<v5::UserProperty>> {
    let one = (text(), text()).prop_map(|(name, value)| v5::UserProperty { name: name.into(), value: value.into() });
    prop::collection::vec(one, 0..3)
}

fn maybe<T: Strategy>(of: T) -> impl Strategy<Value = Option<T::Value>> {
    prop::option::of(of)
}

fn written_v3(packet: v3::Packet, first: bool) -> Written {
    Written { bytes: packet.encode().expect("encodes").as_ref().to_vec(), v5: false, first }
}

fn written_v5(packet: v5::Packet, first: bool) -> Written {
    Written { bytes: packet.encode().expect("encodes").as_ref().to_vec(), v5: true, first }
}

fn connect_v3() -> impl Strategy<Value = Written> {
    let will = (topic(), qos(), any::<bool>(), bytes());
    let login = (text(), maybe(bytes()));
    ("[a-z0-9]{1,23}", any::<bool>(), any::<u16>(), maybe(will), maybe(login)).prop_map(
        |(id, clean, alive, will, login)| {
            let (username, password) = login.map_or((None, None), |(name, password)| (Some(name.into()), password));
            let last_will =
                will.map(|(topic_name, qos, retain, message)| v3::LastWill { topic_name, qos, retain, message });
            let connect = v3::Connect {
                clean_session: clean,
                last_will,
                username,
                password,
                ..v3::Connect::new(id.into(), alive)
            };
            written_v3(connect.into(), true)
        },
    )
}

fn will_v5() -> impl Strategy<Value = v5::LastWill> {
    let properties = (maybe(any::<u32>()), maybe(any::<u32>()), maybe(text()), maybe(topic()), maybe(bytes()), users());
    (topic(), qos(), any::<bool>(), bytes(), properties).prop_map(|(topic_name, qos, retain, payload, properties)| {
        let (delay_interval, message_expiry_interval, media, response_topic, correlation_data, user_properties) =
            properties;
        let properties = v5::WillProperties {
            delay_interval,
            payload_is_utf8: Some(false),
            message_expiry_interval,
            content_type: media.map(Into::into),
            response_topic,
            correlation_data,
            user_properties,
        };
        v5::LastWill { qos, retain, topic_name, payload, properties }
    })
}

fn connect_v5() -> impl Strategy<Value = Written> {
    let asked =
        (maybe(any::<u32>()), maybe(1..=u16::MAX), maybe(1..=u32::MAX), maybe(any::<u16>()), maybe(any::<bool>()));
    let who = ("[a-z0-9]{0,23}", maybe(text()), maybe(bytes()));
    (who, any::<bool>(), any::<u16>(), asked, users(), maybe(will_v5())).prop_map(
        |((id, username, password), clean_start, alive, asked, user_properties, last_will)| {
            let (session_expiry_interval, receive_max, max_packet_size, topic_alias_max, info) = asked;
            let properties = v5::ConnectProperties {
                session_expiry_interval,
                receive_max,
                max_packet_size,
                topic_alias_max,
                request_response_info: info,
                request_problem_info: info,
                user_properties,
                ..Default::default()
            };
            let username = username.map(Into::into);
            let connect = v5::Connect {
                clean_start,
                properties,
                last_will,
                username,
                password,
                ..v5::Connect::new(id.into(), alive)
            };
            written_v5(connect.into(), true)
        },
    )
}

fn qos_pid() -> impl Strategy<Value = QosPid> {
    prop_oneof![Just(QosPid::Level0), pid().prop_map(QosPid::Level1), pid().prop_map(QosPid::Level2)]
}

fn publish() -> impl Strategy<Value = Written> {
    let v3 = (qos_pid(), topic(), any::<(bool, bool)>(), bytes()).prop_map(
        |(qos_pid, topic_name, (dup, retain), payload)| {
            written_v3(v3::Publish { dup, retain, qos_pid, topic_name, payload }.into(), false)
        },
    );
    let properties =
        (maybe(any::<u32>()), maybe(1..=16u16), maybe(topic()), maybe(bytes()), users(), maybe(text()), maybe(text()));
    let v5 = (qos_pid(), topic(), any::<(bool, bool)>(), bytes(), properties).prop_map(
        |(qos_pid, topic_name, (dup, retain), payload, properties)| {
            let (expiry, topic_alias, response_topic, correlation_data, user_properties, media, utf8) = properties;
            let properties = v5::PublishProperties {
                payload_is_utf8: utf8.as_ref().map(|_| true),
                message_expiry_interval: expiry,
                topic_alias,
                response_topic,
                correlation_data,
                user_properties,
                subscription_id: None,
                content_type: media.map(Into::into),
            };
            let payload = utf8.map_or(payload, |text| Bytes::from(text.into_bytes()));
            written_v5(v5::Publish { dup, retain, qos_pid, topic_name, payload, properties }.into(), false)
        },
    );
    prop_oneof![v3, v5]
}

fn acknowledgements() -> impl Strategy<Value = Written> {
    let v3 = (pid(), 0..4u8).prop_map(|(pid, kind)| {
        let packet = match kind {
            0 => v3::Packet::Puback(pid),
            1 => v3::Packet::Pubrec(pid),
            2 => v3::Packet::Pubrel(pid),
            _ => v3::Packet::Pubcomp(pid),
        };
        written_v3(packet, false)
    });
    let v5 = (pid(), 0..4u8, any::<bool>(), maybe(text()), users()).prop_map(|(pid, kind, good, reason, users)| {
        let reason_string = reason.map(Into::into);
        macro_rules! ack {
            ($packet:ident, $code:ident, $properties:ident, $bad:ident) => {{
                let mut packet = v5::$packet::new(pid, if good { v5::$code::Success } else { v5::$code::$bad });
                packet.properties = v5::$properties { reason_string, user_properties: users };
                v5::Packet::from(packet)
            }};
        }
        let packet = match kind {
            0 => ack!(Puback, PubackReasonCode, PubackProperties, QuotaExceeded),
            1 => ack!(Pubrec, PubrecReasonCode, PubrecProperties, QuotaExceeded),
            2 => ack!(Pubrel, PubrelReasonCode, PubrelProperties, PacketIdentifierNotFound),
            _ => ack!(Pubcomp, PubcompReasonCode, PubcompProperties, PacketIdentifierNotFound),
        };
        written_v5(packet, false)
    });
    prop_oneof![v3, v5]
}

fn subscribe() -> impl Strategy<Value = Written> {
    let v3 = (pid(), prop::collection::vec((filter(), qos()), 1..5))
        .prop_map(|(pid, topics)| written_v3(v3::Subscribe { pid, topics }.into(), false));
    let rules = prop::sample::select(vec![
        v5::RetainHandling::SendAtSubscribe,
        v5::RetainHandling::SendAtSubscribeIfNotExist,
        v5::RetainHandling::DoNotSend,
    ]);
    let one = (filter(), qos(), any::<(bool, bool)>(), rules).prop_map(
        |(filter, max_qos, (local, kept), retain_handling)| {
            // Nobody shares with himself, [MQTT-3.8.3-4].
            let no_local = local && !filter.is_shared();
            (filter, v5::SubscriptionOptions { max_qos, no_local, retain_as_published: kept, retain_handling })
        },
    );
    let v5 = (pid(), maybe(1..268_435_456u32), users(), prop::collection::vec(one, 1..5)).prop_map(
        |(pid, id, users, topics)| {
            let subscription_id = id.map(|id| v5::VarByteInt::try_from(id).expect("fits"));
            let properties = v5::SubscribeProperties { subscription_id, user_properties: users };
            written_v5(v5::Subscribe { pid, properties, topics }.into(), false)
        },
    );
    prop_oneof![v3, v5]
}

fn others() -> impl Strategy<Value = Written> {
    let filters = || prop::collection::vec(filter(), 1..5);
    let v3 = (pid(), filters()).prop_map(|(pid, topics)| written_v3(v3::Unsubscribe { pid, topics }.into(), false));
    let v5 = (pid(), filters(), users()).prop_map(|(pid, topics, user_properties)| {
        let properties = v5::UnsubscribeProperties { user_properties };
        written_v5(v5::Unsubscribe { pid, properties, topics }.into(), false)
    });
    let bye = (any::<bool>(), maybe(any::<u32>()), maybe(text()), users()).prop_map(|(will, expiry, reason, users)| {
        let mut bye = if will {
            v5::Disconnect::new(v5::DisconnectReasonCode::DisconnectWithWillMessage)
        } else {
            v5::Disconnect::new_normal()
        };
        bye.properties.session_expiry_interval = expiry;
        bye.properties.reason_string = reason.map(Into::into);
        bye.properties.user_properties = users;
        written_v5(bye.into(), false)
    });
    prop_oneof![
        v3,
        v5,
        bye,
        Just(()).prop_map(|()| written_v3(v3::Packet::Disconnect, false)),
        Just(()).prop_map(|()| written_v3(v3::Packet::Pingreq, false)),
        Just(()).prop_map(|()| written_v5(v5::Packet::Pingreq, false)),
    ]
}

/// A packet that a client may send after its CONNECT.
pub(crate) fn later() -> impl Strategy<Value = Written> {
    prop_oneof![3 => publish(), 1 => acknowledgements(), 1 => subscribe(), 1 => others()]
}

/// Any packet of a client.
pub(crate) fn any_packet() -> impl Strategy<Value = Written> {
    prop_oneof![1 => connect_v3(), 1 => connect_v5(), 5 => later()]
}

/// What happens to bytes on their way: some are changed, put in or left out.
pub(crate) type Damage = Vec<(prop::sample::Index, u8, u8)>;

pub(crate) fn damage(most: usize) -> impl Strategy<Value = Damage> {
    // Bytes that mean something more often than others.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 3, 4, 0x0B, 0x23, 0x26, 0x7F, 0x80, 0xFF])];
    prop::collection::vec((any::<prop::sample::Index>(), byte, 0..6u8), 0..most)
}

/// Damages a packet; with `mended` its length is made right again, so that it is looked into.
pub(crate) fn damaged(bytes: &[u8], damage: &Damage, mended: bool) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte, how) in damage {
        let at = at.index(bytes.len());
        match how {
            0..3 => bytes[at] = *byte,
            3 => bytes[at] ^= 1 << (byte & 7),
            4 => bytes.insert(at, *byte),
            _ if bytes.len() > 2 => drop(bytes.remove(at)),
            _ => {}
        }
    }
    let header = bytes.iter().skip(1).position(|byte| byte & 0x80 == 0);
    match header {
        Some(length) if mended && length < 4 => {
            let body = bytes.split_off(length + 2);
            let mut mended = vec![bytes[0]];
            crate::client::varint(&mut mended, body.len());
            [mended, body].concat()
        }
        _ => bytes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Every packet that the other encoder writes is understood, and means the same to both.
    #[test]
    fn what_the_other_writes_is_understood(written in any_packet()) {
        let Written { bytes, v5, first } = &written;
        prop_assert!(matches!(compare(bytes, *v5, *first), Verdict::Understood), "{written:?}");
    }

    /// `compare` panics where they differ otherwise than it is written down.
    #[test]
    fn damaged_packets_meet_the_same_fate(
        written in any_packet(),
        damage in damage(6),
        mended in any::<bool>(),
    ) {
        let bytes = damaged(&written.bytes, &damage, mended);
        for first in [written.first, !written.first] {
            compare(&bytes, written.v5, first);
            compare(&bytes, !written.v5, first);
        }
    }

    #[test]
    fn so_does_noise(bytes in prop::collection::vec(any::<u8>(), 0..60), v5 in any::<bool>(), first in any::<bool>()) {
        compare(&bytes, v5, first);
    }
}

/// One packet of each class, so that none is on the list that does not happen.
#[test]
fn each_known_difference_happens() {
    let publish = |properties: &[u8], topic: &str, payload: &[u8]| {
        (crate::client::publish_with(true, 0x30, 0, topic, properties, payload), true, false)
    };
    let packet = crate::client::packet;
    let connect = |bytes: &[u8]| (packet(0x10, bytes), true, true);
    for ((bytes, v5, first), class) in [
        (publish(&[], "t", &[0; 128 * 1024 + 1]), Class::Limit),
        ((packet(0x82, &[&[0, 1, 0][..], &b"\0\x01t\0".repeat(5000)].concat()), true, false), Class::Limit),
        (publish(&[], "a\x1Fb", b""), Class::HouseTopic),
        (publish(&[], "", b""), Class::EmptyTopic),
        (publish(&[0x23, 0, 0], "t", b""), Class::Alias),
        (publish(&[0x23, 0, 17], "t", b""), Class::Alias),
        (publish(&[0x0B, 1], "t", b""), Class::SubscriptionIdentifier),
        ((packet(0x82, &[0, 1, 2, 0x0B, 0, 0, 1, b't', 0]), true, false), Class::SubscriptionIdentifier),
        (connect(b"\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\0\0\x03one"), Class::Zero),
        (connect(b"\0\x04MQTT\x05\x02\0\x3c\x04\x15\0\x01x\0\x03one"), Class::Authentication),
        ((packet(0xF0, &[]), true, false), Class::Authentication),
        (connect(b"\0\x04MQTT\x04\x22\0\x3c\0\x03one"), Class::WillFlags),
        (connect(b"\0\x04MQTT\x04\x42\0\x3c\0\x03one\0\x01p"), Class::Credentials311),
        (connect(b"\0\x04MQTT\x04\x00\0\x3c\0\0"), Class::Credentials311),
        (connect(b"\0\x06MQIsdp\x03\x02\0\x3c\0\x03one"), Class::Version31),
        ((packet(0x82, b"\0\x01\0\0\x0a$share/g/t\x04"), true, false), Class::SharedNoLocal),
        (publish(&[0x03, 0, 2, b'a', 0], "t", b""), Class::Nul),
        ((packet(0x82, &[0, 1, 0, 0, 2, b'a', b'#', 0]), true, false), Class::Filter),
        ((packet(0xA2, &[0, 1, 0, 0, 0]), true, false), Class::Filter),
        ((packet(0x40, &[0, 1, 0x42]), true, false), Class::Acknowledgement),
        (publish(&[1, 1], "t", &[0xFF]), Class::PayloadFormat),
        ((packet(0x30, &[0, 1, b't', 0x80, 0, b'x']), true, false), Class::LongLength),
    ] {
        match compare(&bytes, v5, first) {
            Verdict::Differs(found) => assert_eq!(found, class, "{:?}", &bytes[..bytes.len().min(40)]),
            verdict => panic!("{verdict:?} for {class:?}"),
        }
    }
}

/// The inputs of the fuzz target `broker_differential`: a byte of the version and of the place, and a stream.
#[test]
fn the_corpus_of_the_comparison() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/broker_differential");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus") {
        crate::differential::input(&std::fs::read(file.expect("readable").path()).expect("readable"));
        seen += 1;
    }
    assert!(seen > 20);
}

/// Writes inputs to start from: `cargo test -p fleetward-broker --test it write_inputs -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_inputs() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let write = |folder: &str, n: usize, file: &[u8]| {
        std::fs::create_dir_all(corpus.join(folder)).expect("writable");
        std::fs::write(corpus.join(folder).join(format!("seed-{n:02}.bin")), file).expect("writable");
    };
    let mut draw = |strategy: BoxedStrategy<Written>| strategy.new_tree(&mut runner).expect("a value").current();
    for n in 0..24 {
        let Written { bytes, v5, first } = draw(match n % 8 {
            0 => connect_v3().boxed(),
            1 => connect_v5().boxed(),
            _ => later().boxed(),
        });
        write("broker_differential", n, &[&[u8::from(v5) | u8::from(first) << 1], &bytes[..]].concat());
    }
    for n in 0..16 {
        let v5 = n % 2 == 0;
        let mut stream = crate::stream::greeting(v5, n % 4 < 2);
        while stream.len() < 300 {
            let next = draw(later().boxed());
            if next.v5 == v5 {
                stream.extend(next.bytes);
            }
        }
        write("broker_connection", n, &[&[n as u8], &stream[..]].concat());
    }
}
