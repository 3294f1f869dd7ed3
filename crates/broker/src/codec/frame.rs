//! The fixed header (MQTT 5.0 §2.1): which packet, how long, and whether it may be that long.

use crate::Reason;

/// Packets other than PUBLISH are not longer than this.
pub(crate) const MAX_CONTROL: usize = 16 * 1024;

/// Control packet types that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Unsubscribe,
    Pingreq,
    Disconnect,
    Auth,
}

/// What the first bytes of a buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole packet: its type, the four flag bits, its body, and its length with the header.
    Packet {
        kind: PacketType,
        flags: u8,
        body: &'a [u8],
        len: usize,
    },
    /// Not whole yet; as much as is known of the length it will have.
    Incomplete {
        len: Option<usize>,
    },
    Bad(Reason),
}

/// Looks at the first packet in `bytes`. A packet above `max` bytes is refused by its header, before it is there.
pub(crate) fn frame(bytes: &[u8], max: usize) -> Frame<'_> {
    let Some((&first, rest)) = bytes.split_first() else { return Frame::Incomplete { len: None } };
    let (kind, flags) = match packet_type(first) {
        Ok(known) => known,
        Err(reason) => return Frame::Bad(reason),
    };
    let mut remaining = 0usize;
    let mut header = 1;
    loop {
        let Some(&byte) = rest.get(header - 1) else { return Frame::Incomplete { len: None } };
        remaining |= usize::from(byte & 0x7F) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if header == 5 {
            // A fifth length byte, §1.5.5.
            return Frame::Bad(Reason::MalformedPacket);
        }
    }
    let len = header + remaining;
    if len > max {
        return Frame::Bad(Reason::PacketTooLarge);
    }
    match bytes.get(header..len) {
        Some(body) => Frame::Packet { kind, flags, body, len },
        None => Frame::Incomplete { len: Some(len) },
    }
}

fn packet_type(first: u8) -> Result<(PacketType, u8), Reason> {
    let flags = first & 0x0F;
    // Flags other than PUBLISH's are fixed, §2.1.3.
    let (kind, fixed) = match first >> 4 {
        1 => (PacketType::Connect, 0),
        3 => (PacketType::Publish, flags),
        4 => (PacketType::Puback, 0),
        5 => (PacketType::Pubrec, 0),
        6 => (PacketType::Pubrel, 2),
        7 => (PacketType::Pubcomp, 0),
        8 => (PacketType::Subscribe, 2),
        10 => (PacketType::Unsubscribe, 2),
        12 => (PacketType::Pingreq, 0),
        14 => (PacketType::Disconnect, 0),
        15 => (PacketType::Auth, 0),
        // CONNACK, SUBACK, UNSUBACK and PINGRESP are the server's; 0 is nobody's.
        2 | 9 | 11 | 13 => return Err(Reason::ProtocolError),
        _ => return Err(Reason::MalformedPacket),
    };
    if flags == fixed { Ok((kind, flags)) } else { Err(Reason::MalformedPacket) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_short_and_too_long() {
        assert_eq!(frame(&[], 100), Frame::Incomplete { len: None });
        assert_eq!(frame(&[0x30], 100), Frame::Incomplete { len: None });
        assert_eq!(frame(&[0x30, 0x80], 100), Frame::Incomplete { len: None });
        assert_eq!(frame(&[0x30, 2, 0], 100), Frame::Incomplete { len: Some(4) });
        assert_eq!(
            frame(&[0x32, 2, 7, 8, 9], 100),
            Frame::Packet { kind: PacketType::Publish, flags: 2, body: &[7, 8], len: 4 }
        );
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 1 << 20), Frame::Bad(Reason::PacketTooLarge));
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 1 << 20), Frame::Bad(Reason::MalformedPacket));
        assert_eq!(frame(&[0x30, 99], 101), Frame::Incomplete { len: Some(101) });
        assert_eq!(frame(&[0x30, 99], 100), Frame::Bad(Reason::PacketTooLarge));
    }

    #[test]
    fn wrong_types_and_flags() {
        for first in [0x00, 0x11, 0x41, 0x60, 0x80, 0x83, 0xA0, 0xC1, 0xE2, 0xF1] {
            assert_eq!(frame(&[first, 0], 100), Frame::Bad(Reason::MalformedPacket), "{first:#x}");
        }
        for first in [0x20, 0x90, 0xB0, 0xD0] {
            assert_eq!(frame(&[first, 0], 100), Frame::Bad(Reason::ProtocolError), "{first:#x}");
        }
    }
}
