//! Our decoder against `mqtt-protocol-core`'s, for tests and for the fuzzer.
//!
//! Hidden from the documentation and of no use to a program: it reads a client's bytes in both ways and panics where the
//! verdicts differ in more than what is written down here.

use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};

use super::connect::{read_connect, read_disconnect};
use super::frame::{Frame, PacketType, frame};
use super::publish::{self, Publish, handed_on};
use super::subscribe::{read_subscribe, read_unsubscribe};

/// Reads everything in `bytes` as a client of 5.0 or 3.1.1 might have sent it; how many packets were understood.
pub fn read_all(mut bytes: &[u8], v5: bool) -> usize {
    let mut understood = 0;
    while let Frame::Packet { kind, flags, body, len } = frame(bytes, 256 * 1024) {
        let good = match kind {
            PacketType::Connect => read_connect(body).is_ok(),
            PacketType::Publish => same_publish(flags, body, v5),
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
                same_ack(kind, body, v5)
            }
            PacketType::Subscribe => read_subscribe(body, v5).is_ok(),
            PacketType::Unsubscribe => read_unsubscribe(body, v5).is_ok(),
            PacketType::Disconnect => read_disconnect(body, v5).is_ok(),
            PacketType::Pingreq | PacketType::Auth => body.is_empty(),
        };
        understood += usize::from(good);
        bytes = bytes.get(len..).unwrap_or_default();
    }
    understood
}

fn same_publish(flags: u8, body: &[u8], v5: bool) -> bool {
    let ours = publish::read(flags, body, v5);
    // The library takes two things that the standard does not, and we do not: identifier 0 (§2.2.1), and a 5.0 PUBLISH
    // that ends before the length of its properties (§3.3.2.3.1). It leaves two to its caller: a subscription
    // identifier of 0 and the alias 0.
    let topic_len = body.first_chunk::<2>().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    let after_topic = 2 + topic_len;
    let id = body.get(after_topic..after_topic + 2);
    let no_id = flags & 6 != 0 && id.is_none_or(|id| id == [0, 0]);
    let ends_early = v5 && body.len() <= after_topic + if flags & 6 == 0 { 0 } else { 2 };
    if no_id || ends_early {
        assert!(ours.is_err(), "{flags} {body:?}");
        return false;
    }
    if v5 {
        let theirs = v5_0::Publish::parse(flags, body.into());
        if theirs.as_ref().is_ok_and(|(theirs, _)| theirs.props().iter().any(unreadable)) {
            assert!(ours.is_err(), "{flags} {body:?}");
            return false;
        }
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{flags} {body:?}: {ours:?} {theirs:?}");
        let (Ok(ours), Ok((theirs, _))) = (ours, theirs) else { return false };
        compare_v5(&ours, &theirs);
    } else {
        let theirs = v3_1_1::Publish::parse(flags, body.into());
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{flags} {body:?}: {ours:?} {theirs:?}");
        let (Ok(ours), Ok((theirs, _))) = (ours, theirs) else { return false };
        assert_eq!(ours.topic, theirs.topic_name());
        assert_eq!(ours.payload, theirs.payload().as_slice());
        assert_eq!(ours.packet_id, theirs.packet_id().unwrap_or(0));
        compare_flags(&ours, theirs.qos(), theirs.dup(), theirs.retain());
    }
    true
}

/// Two more that the library takes: a NUL in what others are to read (§1.5.4), and a response topic with wildcards
/// ([MQTT-3.3.2-14]).
fn unreadable(property: &Property) -> bool {
    match property {
        Property::ContentType(p) => p.val().contains('\0'),
        Property::ResponseTopic(p) => p.val().contains(['\0', '+', '#']),
        Property::UserProperty(p) => p.key().contains('\0') || p.val().contains('\0'),
        _ => false,
    }
}

fn compare_flags(ours: &Publish<'_>, qos: Qos, dup: bool, retain: bool) {
    assert_eq!((ours.qos, ours.dup, ours.retain), (qos as u8, dup, retain));
}

fn compare_v5(ours: &Publish<'_>, theirs: &v5_0::Publish) {
    assert_eq!(ours.topic, theirs.topic_name());
    assert_eq!(ours.payload, theirs.payload().as_slice());
    assert_eq!(ours.packet_id, theirs.packet_id().unwrap_or(0));
    compare_flags(ours, theirs.qos(), theirs.dup(), theirs.retain());
    let (mut alias, mut expiry, mut subscription, mut kept) = (None, None, false, Vec::new());
    for property in theirs.props() {
        match property {
            Property::TopicAlias(p) => alias = Some(p.val()),
            Property::MessageExpiryInterval(p) => expiry = Some(p.val()),
            Property::SubscriptionIdentifier(_) => subscription = true,
            other => kept.append(&mut other.to_continuous_buffer()),
        }
    }
    let properties = &ours.properties;
    assert_eq!(
        (properties.topic_alias, properties.expiry_secs, properties.subscription_id),
        (alias, expiry, subscription)
    );
    assert_eq!(handed_on(properties, &mut Vec::new()), kept);
}

/// PUBACK and the three packets of QoS 2 have one shape (§3.4 to §3.7).
fn same_ack(kind: PacketType, body: &[u8], v5: bool) -> bool {
    let ours = publish::read_ack(body, v5);
    if !v5 {
        // The library takes a 3.1.1 PUBACK that is too long (3.1.1 §3.4.1).
        assert_eq!(ours.is_ok(), body.len() == 2 && body != [0, 0]);
        return ours.is_ok();
    }
    let theirs = match kind {
        PacketType::Pubrec => v5_0::Pubrec::parse(body).map(|(p, used)| (p.packet_id(), used)),
        PacketType::Pubrel => v5_0::Pubrel::parse(body).map(|(p, used)| (p.packet_id(), used)),
        PacketType::Pubcomp => v5_0::Pubcomp::parse(body).map(|(p, used)| (p.packet_id(), used)),
        _ => v5_0::Puback::parse(body).map(|(p, used)| (p.packet_id(), used)),
    };
    // We do not look into the properties, and take any reason code; what we refuse they refuse too.
    let whole = matches!(theirs, Ok((id, used)) if used == body.len() && id != 0);
    assert!(ours.is_ok() || !whole, "{body:?}");
    if let (Ok((ours, _)), Ok((theirs, _))) = (ours, theirs) {
        assert_eq!(ours, theirs);
    }
    ours.is_ok()
}
