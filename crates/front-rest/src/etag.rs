//! Strong entity tags, and the precondition that every change must state.
//!
//! A tag is the revision of a resource in quotes, `"17"`. A change without `If-Match` is refused (428), so that nobody
//! overwrites what they have not seen; one for another revision is refused too (412), by the use case and in its
//! transaction. `If-Match: *` says "whatever it is by now" in so many words.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::problem::Problem;

/// The tag of a revision.
pub fn tag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits and quotes are visible ASCII")
}

/// What the caller believes the resource to be at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any revision, as long as the resource is there.
    Any,
    Revision(i64),
}

impl IfMatch {
    /// The revision to hold the change to; absent for any.
    pub fn revision(self) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::Revision(revision) => Some(revision),
        }
    }

    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::IF_MATCH).iter();
        let value = values.next().ok_or_else(|| {
            Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "Say what you are changing",
                "send the ETag of what you have seen as If-Match, or `If-Match: *` to change whatever is there",
            )
        })?;
        if values.next().is_some() {
            return Err(Problem::malformed("If-Match is given more than once").at("If-Match"));
        }
        match value.to_str().unwrap_or_default().trim() {
            "*" => Ok(Self::Any),
            text => {
                let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let inner = inner.ok_or_else(|| {
                    Problem::malformed("If-Match must be one strong ETag in double quotes, or *").at("If-Match")
                })?;
                // A tag that this server never gave out matches nothing; revisions begin at 1.
                Ok(Self::Revision(revision(inner).unwrap_or(0)))
            }
        }
    }
}

/// Only the one spelling that [`tag`] produces counts.
fn revision(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::parse(&parts.headers)
    }
}

/// Whether the caller already has this revision, so that 304 is enough (`If-None-Match`, weak comparison).
pub fn unchanged(headers: &HeaderMap, revision: i64) -> bool {
    let tag = tag(revision);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.trim() == "*"
            || list.split(',').any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<IfMatch, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_str(value).expect("a header value"));
        IfMatch::parse(&headers).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn only_a_strong_tag_of_ours_can_match() {
        assert_eq!(parse("\"17\""), Ok(IfMatch::Revision(17)));
        assert_eq!(parse("*"), Ok(IfMatch::Any));
        assert_eq!(parse("\"017\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("\"+17\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("\"\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("W/\"17\""), Err(400));
        assert_eq!(parse("17"), Err(400));
        assert_eq!(IfMatch::parse(&HeaderMap::new()).map_err(|p| p.status.as_u16()), Err(428));
        assert_eq!(tag(17), HeaderValue::from_static("\"17\""));
    }

    #[test]
    fn none_match_compares_weakly_and_reads_lists() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            unchanged(&headers, 3)
        };
        assert!(with("\"3\"") && with("\"1\", W/\"3\"") && with("*"));
        assert!(!with("\"30\"") && !with("3"));
    }
}
