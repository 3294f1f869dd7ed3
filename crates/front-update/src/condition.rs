//! Conditional requests (RFC 9110 §13) on a file that never changes: only its entity tag can be asked for.
//!
//! Dates are no validators here, since nothing says when an artifact was last modified: a condition with a date is never
//! met in `If-Range` and is ignored elsewhere, as §13.1.3 and §13.1.4 want it where there is no modification date.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// What the conditions of a GET or HEAD lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// 412: the client wants another file than the one that is here.
    Failed,
    /// 304: the client has this one.
    NotModified,
}

/// Evaluates `If-Match` and `If-None-Match` in the order of §13.2.2.
pub fn evaluate(headers: &HeaderMap, tag: &str) -> Verdict {
    if let Some(list) = list(headers, &IF_MATCH)
        && !matches(&list, tag, Strength::Strong)
    {
        return Verdict::Failed;
    }
    match list(headers, &IF_NONE_MATCH) {
        Some(list) if matches(&list, tag, Strength::Weak) => Verdict::NotModified,
        _ => Verdict::Go,
    }
}

/// Whether a Range header counts (§13.1.5): without If-Range, or where it names exactly this file, strongly.
pub fn range_counts(headers: &HeaderMap, tag: &str) -> bool {
    match list(headers, &IF_RANGE) {
        None => true,
        Some(only) => only.trim() == tag,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

/// All lines of a header as one; none where there is no such header. What is not text matches nothing.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    Some(lines.map(|line| line.to_str().unwrap_or_default()).collect::<Vec<_>>().join(","))
}

/// Whether the list of entity tags has this one, or is `*`.
fn matches(list: &str, tag: &str, strength: Strength) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, opaque) = match rest.strip_prefix("W/") {
            Some(opaque) => (true, opaque),
            None => (false, rest),
        };
        // A tag may hold commas: it ends at its own closing quote. What is no tag ends the list.
        let Some((inner, after)) = opaque.strip_prefix('"').and_then(|text| text.split_once('"')) else { return false };
        let same = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(inner);
        if same && (strength == Strength::Weak || !weak) {
            return true;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&HeaderName, &str)| ((*name).clone(), value.parse().expect("a header value"));
        lines.iter().map(pair).collect()
    }

    #[test]
    fn verdicts() {
        for (lines, verdict) in [
            (vec![], Verdict::Go),
            (vec![(&IF_NONE_MATCH, "\"abc\"")], Verdict::NotModified),
            (vec![(&IF_NONE_MATCH, "W/\"abc\"")], Verdict::NotModified),
            (vec![(&IF_NONE_MATCH, "*")], Verdict::NotModified),
            (vec![(&IF_NONE_MATCH, "\"x\", \"a,b\" ,\"abc\"")], Verdict::NotModified),
            (vec![(&IF_NONE_MATCH, "\"x\""), (&IF_NONE_MATCH, "\"abc\"")], Verdict::NotModified),
            (vec![(&IF_NONE_MATCH, "\"x\"")], Verdict::Go),
            (vec![(&IF_NONE_MATCH, "abc")], Verdict::Go),
            (vec![(&IF_NONE_MATCH, "\"abc")], Verdict::Go),
            (vec![(&IF_NONE_MATCH, "")], Verdict::Go),
            (vec![(&IF_MATCH, "\"abc\"")], Verdict::Go),
            (vec![(&IF_MATCH, "*")], Verdict::Go),
            (vec![(&IF_MATCH, "W/\"abc\"")], Verdict::Failed),
            (vec![(&IF_MATCH, "\"x\"")], Verdict::Failed),
            (vec![(&IF_MATCH, "nonsense")], Verdict::Failed),
            (vec![(&IF_MATCH, "\"x\""), (&IF_NONE_MATCH, "\"abc\"")], Verdict::Failed),
            (vec![(&IF_MATCH, "\"abc\""), (&IF_NONE_MATCH, "\"abc\"")], Verdict::NotModified),
        ] {
            assert_eq!(evaluate(&headers(&lines), TAG), verdict, "{lines:?}");
        }
    }

    #[test]
    fn when_a_range_counts() {
        assert!(range_counts(&headers(&[]), TAG));
        assert!(range_counts(&headers(&[(&IF_RANGE, "\"abc\"")]), TAG));
        for no in ["\"x\"", "W/\"abc\"", "Fri, 20 Nov 2026 10:53:00 GMT", "", "*"] {
            assert!(!range_counts(&headers(&[(&IF_RANGE, no)]), TAG), "{no}");
        }
    }
}
