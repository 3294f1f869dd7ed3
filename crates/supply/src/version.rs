//! Which of two versions is the newer one, for versions as people really write them.
//!
//! Semantic Versioning 2.0.0 §11 where a version follows it; `v1.2`, `1.2.0.4` and `2024-05` get an order too instead of a
//! refusal. The order is for people and for "is this a step back"; identity of a release is its exact text, never this.

use std::cmp::Ordering;

/// Compares two versions. Total, and transitive; `1.2` and `v1.2.0+build7` are equal.
///
/// ```
/// use fleetward_supply::version::compare;
/// assert!(compare("2.0.0-rc.1", "2.0.0").is_lt());
/// assert!(compare("1.10", "1.9.3").is_gt());
/// ```
pub fn compare(a: &str, b: &str) -> Ordering {
    let ((core_a, pre_a), (core_b, pre_b)) = (split(a), split(b));
    compare_parts(core_a, core_b, "0").then_with(|| match (pre_a, pre_b) {
        (None, None) => Ordering::Equal,
        // A pre-release comes before its release.
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => compare_parts(a, b, ""),
    })
}

/// The dotted core and what follows the first `-`; a leading `v` and build metadata do not count.
fn split(version: &str) -> (&str, Option<&str>) {
    let version = version.trim();
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    let version = version.split_once('+').map_or(version, |(version, _build)| version);
    match version.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (version, None),
    }
}

/// Part by part; where one side has no more parts it has `missing` ones.
fn compare_parts(a: &str, b: &str, missing: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(a), Some(b)) => compare_part(a, b),
            (Some(a), None) => compare_part(a, missing),
            (None, Some(b)) => compare_part(missing, b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Nothing comes before numbers, numbers in their order before words in theirs.
fn compare_part(a: &str, b: &str) -> Ordering {
    let rank = |part: &str| match part {
        "" => 0,
        part if part.bytes().all(|b| b.is_ascii_digit()) => 1,
        _ => 2,
    };
    let digits = |part: &str| part.trim_start_matches('0').len();
    rank(a).cmp(&rank(b)).then_with(|| match rank(a) {
        // Of two numbers without leading zeros the longer one is greater, at any length.
        1 => digits(a).cmp(&digits(b)).then_with(|| a.trim_start_matches('0').cmp(b.trim_start_matches('0'))),
        _ => a.cmp(b),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn oldest_to_newest() {
        let order = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0.1",
            "1.9",
            "1.10",
            "2.0-rc",
            "v2",
            "10",
            "99999999999999999999999",
            "a",
        ];
        for pair in order.windows(2) {
            assert!(compare(pair[0], pair[1]).is_lt(), "{pair:?}");
            assert!(compare(pair[1], pair[0]).is_gt(), "{pair:?}");
        }
    }

    #[test]
    fn equal_though_written_otherwise() {
        for (a, b) in [("1", "1.0.0"), ("v1.2", "1.2.0+build7"), ("01.2", "1.2"), (" 1", "1")] {
            assert!(compare(a, b).is_eq(), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn a_total_order(mut versions in prop::collection::vec("[v0-9a-c.+-]{0,8}", 3)) {
            versions.sort_by(|a, b| compare(a, b));
            let (first, middle, last) = (&versions[0], &versions[1], &versions[2]);
            prop_assert!(compare(first, middle).is_le() && compare(middle, last).is_le() && compare(first, last).is_le());
            prop_assert_eq!(compare(first, last), compare(last, first).reverse());
            prop_assert!(compare(first, first).is_eq());
        }
    }
}
