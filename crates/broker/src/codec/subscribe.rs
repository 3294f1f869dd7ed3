//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8, §3.10), read by `mqtt-protocol-core`.

use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};

use crate::Reason;

/// One entry of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedFilter {
    pub(crate) filter: String,
    /// 0 to 2, as asked.
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0: send retained messages; 1: only if the subscription is new; 2: do not.
    pub(crate) retain_handling: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) packet_id: u16,
    /// The identifier that what matches these filters carries; 0 for none.
    pub(crate) identifier: u32,
    pub(crate) filters: Vec<WantedFilter>,
}

/// Reads the body of a SUBSCRIBE.
pub(crate) fn read_subscribe(body: &[u8], v5: bool) -> Result<Subscribe, Reason> {
    let mut identifier = 0;
    let (packet_id, entries) = if v5 {
        let (packet, used) = v5_0::Subscribe::parse(body).map_err(super::reason_of)?;
        whole(used, body)?;
        for property in packet.props() {
            if let Property::SubscriptionIdentifier(p) = property {
                // §3.8.2.1.2: neither 0 nor more than one.
                if p.val() == 0 || identifier != 0 {
                    return Err(Reason::ProtocolError);
                }
                identifier = p.val();
            }
        }
        (packet.packet_id(), packet.entries().clone())
    } else {
        let (packet, used) = v3_1_1::Subscribe::parse(body).map_err(super::reason_of)?;
        whole(used, body)?;
        (packet.packet_id(), packet.entries().clone())
    };
    if packet_id == 0 {
        return Err(Reason::MalformedPacket);
    }
    let mut filters = Vec::with_capacity(entries.len());
    for entry in &entries {
        let [options] = *entry.sub_opts().to_buffer();
        if !v5 && options & 0xFC != 0 {
            return Err(Reason::MalformedPacket);
        }
        filters.push(WantedFilter {
            filter: text(entry.topic_filter())?,
            qos: options & 3,
            no_local: options & 0x04 != 0,
            retain_as_published: options & 0x08 != 0,
            retain_handling: options >> 4 & 3,
        });
    }
    Ok(Subscribe { packet_id, identifier, filters })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsubscribe {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<String>,
}

/// Reads the body of an UNSUBSCRIBE.
pub(crate) fn read_unsubscribe(body: &[u8], v5: bool) -> Result<Unsubscribe, Reason> {
    let (packet_id, entries) = if v5 {
        let (packet, used) = v5_0::Unsubscribe::parse(body).map_err(super::reason_of)?;
        whole(used, body)?;
        (packet.packet_id(), packet.entries().clone())
    } else {
        let (packet, used) = v3_1_1::Unsubscribe::parse(body).map_err(super::reason_of)?;
        whole(used, body)?;
        (packet.packet_id(), packet.entries().clone())
    };
    if packet_id == 0 {
        return Err(Reason::MalformedPacket);
    }
    let filters = entries.iter().map(|e| text(e.as_str())).collect::<Result<_, _>>()?;
    Ok(Unsubscribe { packet_id, filters })
}

fn whole(used: usize, body: &[u8]) -> Result<(), Reason> {
    if used == body.len() { Ok(()) } else { Err(Reason::MalformedPacket) }
}

/// A NUL in a string is a malformed packet, §1.5.4.
fn text(text: &str) -> Result<String, Reason> {
    if text.contains('\0') { Err(Reason::MalformedPacket) } else { Ok(text.to_owned()) }
}
