//! The client token, by which a requester finds its answer among others.

use fleetward_base::limits;

/// The client token of a payload whatever else is wrong with it, so that a refusal finds its way to who asked. `None`
/// where there is none, or none that may be echoed.
pub fn client_token(payload: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Token {
        #[serde(rename = "clientToken")]
        token: Option<String>,
    }
    let token = match serde_json::from_slice::<Token>(payload) {
        Ok(found) => found.token?,
        Err(_) => salvage(payload)?,
    };
    (token.len() <= limits::CLIENT_TOKEN_BYTES).then_some(token)
}

/// The string after the first `"clientToken":` of something that is no JSON.
fn salvage(payload: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"clientToken\"";
    let at = payload.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = payload.get(at.checked_add(KEY.len())?..)?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
    values.next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::client_token;

    fn check(payload: &str, expect: Option<&str>) {
        assert_eq!(client_token(payload.as_bytes()).as_deref(), expect, "{payload}");
    }

    #[test]
    fn tokens_are_found_in_good_and_broken_payloads() {
        check(r#"{"clientToken":"a"}"#, Some("a"));
        check(r#"{"state":{"clientToken":"inner"},"clientToken":"a"}"#, Some("a"));
        check(r#"{"state":{"desired":{"x":1},"clientToken" : "a\u0062c""#, Some("abc"));
        check(r#"{"clientToken":"a","state":"#, Some("a"));
        check(r#"{"clientToken":"a"#, None);
        check(r#"{"clientToken":7}"#, None);
        check(r#"{"clientToken":null}"#, None);
        check("", None);
        check("[]", None);
        check("\"clientToken\"", None);
        check(&format!(r#"{{"clientToken":"{}"}}"#, "x".repeat(64)), Some(&"x".repeat(64)));
        check(&format!(r#"{{"clientToken":"{}"}}"#, "x".repeat(65)), None);
    }
}
