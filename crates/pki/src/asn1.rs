//! Writing DER: each function gives one finished element.
//!
//! Written by hand and not with derived encoders, because what a certificate repeats from a request must stay the same
//! bytes: a string type or an order that was changed on the way would make another subject of it.

use base::Timestamp;
use const_oid::ObjectIdentifier;

use fleetward_base as base;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// A whole NULL, where an algorithm has it for its parameters.
pub(crate) const NULL: [u8; 2] = [0x05, 0x00];

/// One element: `tag`, the length of all `parts`, and the parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    push_length(&mut out, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().skip_while(|byte| **byte == 0).count();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant).expect("a length has at most eight bytes"));
            out.extend(bytes.iter().skip(bytes.len() - significant));
        }
    }
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(OID, &[oid.as_bytes()])
}

/// A positive INTEGER from its bytes, most significant first.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    match digits.first() {
        None => element(INTEGER, &[&[0]]),
        Some(first) if *first >= 0x80 => element(INTEGER, &[&[0], digits]),
        Some(_) => element(INTEGER, &[digits]),
    }
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[content])
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], content])
}

/// A BIT STRING of named bits (X.690 §11.2.2: without the zeros at the end); bit 0 is the highest of `flags`.
pub(crate) fn named_bits(flags: u8) -> Vec<u8> {
    let unused = u8::try_from(flags.trailing_zeros().min(7)).expect("seven at most");
    if flags == 0 { element(BIT_STRING, &[&[0]]) } else { element(BIT_STRING, &[&[unused, flags]]) }
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    element(UTF8_STRING, &[text.as_bytes()])
}

/// A GeneralizedTime in whole seconds, as OCSP has its moments (RFC 6960 §4.2.2.1).
pub(crate) fn generalized_time(at: Timestamp) -> Vec<u8> {
    let text: String = at.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    element(GENERALIZED_TIME, &[text.as_bytes(), b"Z"])
}

/// The general name of a URI (RFC 5280 §4.2.1.6).
pub(crate) fn uri(uri: &str) -> Vec<u8> {
    element(0x86, &[uri.as_bytes()])
}

/// A Time: UTCTime until 2049, GeneralizedTime from then (RFC 5280 §4.1.2.5). Fractions of a second are cut off.
pub(crate) fn time(at: Timestamp) -> Vec<u8> {
    let text: String = at.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    match text.get(..2) {
        Some("20") if text.get(2..4).is_some_and(|year| year < "50") => {
            element(UTC_TIME, &[text.get(2..).unwrap_or_default().as_bytes(), b"Z"])
        }
        Some("19") if text.get(2..4).is_some_and(|year| year >= "50") => {
            element(UTC_TIME, &[text.get(2..).unwrap_or_default().as_bytes(), b"Z"])
        }
        _ => generalized_time(at),
    }
}

/// An Extension (RFC 5280 §4.1); `critical` is written only where it is true, as DER wants a default.
pub(crate) fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let truth = element(BOOLEAN, &[&[0xff]]);
    sequence(&[&oid(id), if critical { &truth } else { &[] }, &octets(value)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode, Encode};

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(SEQUENCE, &[&[0; 0x7f]])[..2], [0x30, 0x7f]);
        assert_eq!(element(SEQUENCE, &[&[0; 0x80]])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(element(SEQUENCE, &[&[0; 0x100]])[..4], [0x30, 0x82, 1, 0]);
        assert_eq!(element(SEQUENCE, &[&[0; 0x1_0000]])[..5], [0x30, 0x83, 1, 0, 0]);
    }

    #[test]
    fn integers_stay_positive_and_short() {
        for (bytes, expected) in
            [(&[][..], &[2, 1, 0][..]), (&[0, 0], &[2, 1, 0]), (&[0, 0x7f], &[2, 1, 0x7f]), (&[0x80], &[2, 2, 0, 0x80])]
        {
            assert_eq!(unsigned(bytes), expected);
        }
    }

    #[test]
    fn times_read_back_as_the_same_second() {
        for secs in [0, 951_782_400, 1_795_171_980, 2_524_607_999, 2_524_608_000, 4_102_444_800] {
            let written = time(Timestamp::from_secs(secs));
            let read = x509_cert::time::Time::from_der(&written).expect("a Time");
            assert_eq!(read.to_unix_duration().as_secs(), u64::try_from(secs).expect("after 1970"));
            assert_eq!(read.to_der().expect("a Time"), written, "{secs}: the form that RFC 5280 wants");
        }
    }

    #[test]
    fn key_usage_bytes_are_those_that_clients_compare() {
        // fioconfig refuses a renewed certificate whose KeyUsage is not exactly these bytes.
        assert_eq!(named_bits(0b1000_0000), [0x03, 0x02, 0x07, 0x80]);
        assert_eq!(named_bits(0b0000_0110), [0x03, 0x02, 0x01, 0x06]);
    }
}
