//! JSON bodies: read within a limit, checked for depth, and refused with the path of the fault.
//!
//! The declared length is held against the limit before a byte is read, and what arrives is counted, so a body can never
//! make the server allocate more than the limit. Unknown and repeated fields are refused by the types themselves
//! (`deny_unknown_fields`). An error tells where and of what kind, and never repeats the value.

use aws_lc_rs::digest;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use fleetward_base::limits;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// A JSON body and the fingerprint of the request that brought it.
#[derive(Debug)]
pub struct Json<T> {
    pub value: T,
    /// SHA-256 over method, path and body, for `Idempotency-Key`.
    pub fingerprint: [u8; 32],
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, limits::REST_BODY_BYTES).await?;
        if !bytes.is_empty() && !is_json(&parts.headers) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
                "send `Content-Type: application/json`",
            ));
        }
        // Nothing at all says the same as an object without fields.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        let fingerprint = fingerprint(parts.method.as_str(), parts.uri.path(), &bytes);
        Ok(Self { value: parse(&bytes)?, fingerprint })
    }
}

/// `application/json` or anything in JSON's suffix, such as `application/merge-patch+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The whole body, when it is no longer than `limit`.
pub async fn read(headers: &HeaderMap, body: axum::body::Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large("the body", limit as u64);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(limits::REST_BODY_DEADLINE, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body ended early")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "The body did not come in time",
            format!("send it within {} s", limits::REST_BODY_DEADLINE.as_secs()),
        )),
    }
}

pub(crate) fn fingerprint(method: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [method.as_bytes(), path.as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The value, or where and why it cannot be read.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if depth(bytes) > limits::REST_JSON_DEPTH {
        return Err(Problem::malformed(format!("JSON is nested deeper than {} levels", limits::REST_JSON_DEPTH)));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        refusal(error.inner(), &path)
    })?;
    reader.end().map_err(|error| refusal(&error, ""))?;
    Ok(value)
}

fn refusal(error: &serde_json::Error, path: &str) -> Problem {
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "A value is not acceptable",
            without_values(&error.to_string()),
        )
        .at(path),
        serde_json::error::Category::Eof => Problem::malformed(format!("JSON ends early at {place}")),
        _ => Problem::malformed(format!("not JSON at {place}")),
    }
}

/// Serde's sentence without the value that it quotes and without its position: ``invalid type: string "x", expected u32 at
/// line 1 column 9`` becomes `invalid type, expected u32`. The names of fields and variants stay, they are ours.
fn without_values(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(message, _)| message);
    for kind in ["invalid type", "invalid value", "invalid length"] {
        if let Some(rest) = text.strip_prefix(kind) {
            let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
            return format!("{kind}, expected {expected}");
        }
    }
    for kind in ["unknown field", "unknown variant"] {
        if let Some(rest) = text.strip_prefix(kind) {
            let expected = rest.rsplit_once(", expected ").map_or("nothing", |(_, expected)| expected);
            return format!("{kind}, expected {expected}");
        }
    }
    text.to_owned()
}

/// How deep brackets nest, strings aside. Counts nothing else: whether it is JSON the parser says.
pub(crate) fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut open, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => {
                open += 1;
                deepest = deepest.max(open);
            }
            (false, b'}' | b']') => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        phases: Vec<Phase>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Phase {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        percent: u8,
    }

    fn check(text: &str) -> (u16, Option<String>, String) {
        let problem = parse::<Sample>(text.as_bytes()).expect_err(text);
        (problem.status.as_u16(), problem.field, problem.detail)
    }

    #[test]
    fn a_fault_is_named_by_its_path_and_without_its_value() {
        let at = |field: &str| Some(field.to_owned());
        assert_eq!(
            check(r#"{"phases":[{"percent":5},{"percent":"hunter2"}]}"#),
            (422, at("phases[1].percent"), "invalid type, expected u8".into())
        );
        assert_eq!(
            check(r#"{"phases":[{"percent":300}]}"#),
            (422, at("phases[0].percent"), "invalid value, expected u8".into())
        );
        assert_eq!(
            check(r#"{"phases":[{"percent":5,"x":1}]}"#),
            (422, at("phases[0].x"), "unknown field, expected `percent`".into())
        );
        assert_eq!(check(r#"{}"#), (422, None, "missing field `phases`".into()));
        assert_eq!(check(r#"{"phases":[],"phases":[]}"#).0, 422);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for bad in ["", "{", "nope", "{\"phases\":[]} x", "\u{feff}{}", "{\"phases\":[1,]}"] {
            let (status, field, detail) = check(bad);
            assert!(status == 400 || status == 422, "{bad}: {status} {field:?} {detail}");
        }
        assert_eq!(check("{").0, 400);
        assert_eq!(check("{\"phases\":[]} x").0, 400);
        assert!(parse::<Sample>(b"{\"phases\":[]}\xff").is_err());
        assert!(parse::<serde_json::Value>(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, deep) in [("1", 0), ("[[]]", 2), (r#"{"a":"[[[[\"[["}"#, 1), (r#"["\\",[]]"#, 2), ("]]][", 1)] {
            assert_eq!(depth(text.as_bytes()), deep, "{text}");
        }
        let deep = "[".repeat(limits::REST_JSON_DEPTH + 1) + &"]".repeat(limits::REST_JSON_DEPTH + 1);
        assert_eq!(parse::<serde_json::Value>(deep.as_bytes()).expect_err("too deep").status, 400);
        let fits = "[".repeat(limits::REST_JSON_DEPTH) + &"]".repeat(limits::REST_JSON_DEPTH);
        assert!(parse::<serde_json::Value>(fits.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Err(problem) = parse::<Sample>(&bytes) {
                prop_assert!(matches!(problem.status.as_u16(), 400 | 422));
            }
        }

        #[test]
        fn a_refusal_never_repeats_a_value(secret in "[a-zA-Z0-9]{12,24}") {
            for text in [
                format!(r#"{{"phases":"{secret}"}}"#),
                format!(r#"{{"phases":[{{"percent":"{secret}"}}]}}"#),
                format!(r#"{{"phases":[{{"percent":{{"{secret}":1}}}}]}}"#),
                format!(r#""{secret}""#),
                format!(r#"{{"phases":[],"x":"{secret}"}}"#),
            ] {
                let problem = parse::<Sample>(text.as_bytes()).expect_err("not a sample");
                prop_assert!(!problem.detail.contains(&secret), "{}", problem.detail);
            }
        }
    }

    #[test]
    fn requests_that_differ_have_other_fingerprints() {
        let base = fingerprint("POST", "/a", b"b");
        for other in [fingerprint("PUT", "/a", b"b"), fingerprint("POST", "/", b"ab"), fingerprint("POST", "/ab", b"")]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn json_comes_in_several_types() {
        let is = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(value));
            is_json(&headers)
        };
        assert!(is("application/json") && is("Application/JSON; charset=utf-8") && is("application/merge-patch+json"));
        assert!(!is("text/plain") && !is("application/x-www-form-urlencoded") && !is("text/json+json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
