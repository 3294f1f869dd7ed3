//! The Range header (RFC 9110 §14.1, §14.2): which bytes of a file are asked for.
//!
//! What is not a range set of bytes is ignored, as the specification wants it, and the whole file is sent. So is a request
//! for more parts than [`MAX_PARTS`], or for parts that overlap: nobody who resumes a download sends such a thing.

use std::ops::Range;

/// Parts that one answer may have.
pub const MAX_PARTS: usize = 16;

/// What a Range header asks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole file: no header, or one to be ignored.
    Whole,
    /// These bytes; in the order they were asked for, none empty, all within the file.
    Parts(Vec<Range<u64>>),
    /// Ranges, and none of them within the file: 416.
    Nothing,
}

/// Reads the header for a file of `size` bytes.
pub fn parse(header: &str, size: u64) -> Asked {
    let Some(set) = header.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes")) else {
        return Asked::Whole;
    };
    let mut parts = Vec::new();
    let mut count = 0;
    for spec in set.1.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        // Empty list elements are allowed and mean nothing (§5.6.1.2).
        if spec.is_empty() {
            continue;
        }
        count += 1;
        match part(spec, size) {
            Err(Malformed) => return Asked::Whole,
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
        }
    }
    if count == 0 || count > MAX_PARTS || overlap(&parts) {
        Asked::Whole
    } else if parts.is_empty() {
        Asked::Nothing
    } else {
        Asked::Parts(parts)
    }
}

struct Malformed;

/// One range; none where it lies outside of the file.
fn part(spec: &str, size: u64) -> Result<Option<Range<u64>>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    if first.is_empty() {
        let suffix = number(last)?;
        let start = size.saturating_sub(suffix);
        return Ok((suffix > 0 && start < size).then_some(start..size));
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    if !last.is_empty() && number(last)? < first {
        return Err(Malformed);
    }
    Ok((first < size).then_some(first..end))
}

/// Digits and nothing else; a number beyond 64 bits is beyond every file.
fn number(text: &str) -> Result<u64, Malformed> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if b.start < a.end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_headers_mean_for_a_file_of_a_hundred_bytes() {
        let one = |range: Range<u64>| Asked::Parts(vec![range]);
        for (header, asked) in [
            ("bytes=0-0", one(0..1)),
            ("bytes=10-19", one(10..20)),
            ("bytes=10-", one(10..100)),
            ("bytes=-10", one(90..100)),
            ("bytes=-1000", one(0..100)),
            ("bytes=90-1000", one(90..100)),
            ("BYTES=0-1", one(0..2)),
            ("bytes= 0-1 ,\t5-6", Asked::Parts(vec![0..2, 5..7])),
            ("bytes=5-6,0-1", Asked::Parts(vec![5..7, 0..2])),
            ("bytes=0-1,,200-", one(0..2)),
            ("bytes=0-99999999999999999999999", one(0..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=200-,300-400", Asked::Nothing),
            // Not a range set of bytes, or an unreasonable one: ignored.
            ("bytes=9-8", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=,", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=0-1;2-3", Asked::Whole),
            ("bytes 0-1", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("", Asked::Whole),
            ("bytes=0-10,5-20", Asked::Whole),
            ("bytes=0-,0-,0-", Asked::Whole),
        ] {
            assert_eq!(parse(header, 100), asked, "{header}");
        }
        let many: Vec<String> = (0..17).map(|i| format!("{i}-{i}")).collect();
        assert_eq!(parse(&format!("bytes={}", many.join(",")), 100), Asked::Whole);
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_file_and_apart(header in "(bytes=)?[0-9, -]{0,24}", size in 0..200_u64) {
            if let Asked::Parts(parts) = parse(&header, size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= size);
            }
        }
    }
}
