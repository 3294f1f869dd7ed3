//! How the list of an authority is cut into shards.
//!
//! A shard is named by the last hexadecimal digits of the serial numbers in it: none for the whole list, then one, then
//! two. What was cut once stays: a certificate carries the URL of the shard that it was issued under, so a finer cut
//! adds shards and the coarser ones go on.

use crate::issue::Serial;

/// Certificates issued from which on lists are cut by one digit, and by two. At these, with a certificate in twenty
/// revoked, a shard has some 60 lines, and at a million some 200.
const ONE_DIGIT: u64 = 20_000;
const TWO_DIGITS: u64 = 400_000;

/// The finest cut of an authority whose tenant was issued so many certificates.
pub const fn digits(issued: u64) -> usize {
    match issued {
        TWO_DIGITS.. => 2,
        ONE_DIGIT.. => 1,
        _ => 0,
    }
}

/// All shards that there are at a cut, the whole list first.
pub fn labels(digits: usize) -> Vec<String> {
    let mut labels = vec![String::new()];
    for width in 1..=digits.min(2) {
        labels.extend((0..16_usize.pow(u32::try_from(width).unwrap_or(0))).map(|number| format!("{number:0width$x}")));
    }
    labels
}

/// The shard of a serial number (as it is shown) at a cut.
pub fn label(serial: &str, digits: usize) -> &str {
    serial.get(serial.len().saturating_sub(digits.min(2))..).unwrap_or_default()
}

/// The endings of two digits that belong to a shard.
pub fn tails(label: &str) -> Vec<String> {
    match label.len() {
        0 => (0..256).map(|number| format!("{number:02x}")).collect(),
        1 => (0..16).map(|number| format!("{number:x}{label}")).collect(),
        _ => vec![label.to_owned()],
    }
}

/// A text that names a shard.
pub fn is_label(text: &str) -> bool {
    (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The shard of a serial number at a cut.
pub fn of(serial: &Serial, digits: usize) -> String {
    label(&serial.to_string(), digits).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_certificates_are_256_shards() {
        assert_eq!([0, 19_999, 20_000, 399_999, 400_000, 1_000_000].map(digits), [0, 0, 1, 1, 2, 2]);
        assert_eq!([0, 1, 2, 9].map(|digits| labels(digits).len()), [1, 17, 273, 273]);
    }

    #[test]
    fn every_serial_number_is_in_one_shard_of_each_cut() {
        for serial in ["41a3", "4100", "41ff", "a3"] {
            for digits in 0..=2 {
                let label = label(serial, digits);
                assert!(labels(digits).contains(&label.to_owned()), "{serial} {digits}");
                assert!(tails(label).iter().any(|tail| serial.ends_with(tail.as_str())), "{serial} {digits}");
            }
        }
        assert_eq!(tails("3").len(), 16);
        assert!(tails("3").iter().all(|tail| tail.ends_with('3')));
        for (text, is) in [("3", true), ("a3", true), ("A3", false), ("", false), ("a3b", false), ("g", false)] {
            assert_eq!(is_label(text), is, "{text}");
        }
    }
}
