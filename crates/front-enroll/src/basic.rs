//! HTTP credentials: the device's name and its one-time token or symmetric key by Basic, a token alone by Bearer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enroll::Credentials;
use fleetward_base::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::refusal::Refusal;

/// The credentials of a request. `None` where it has none; `Some(None)` where they are neither Basic (RFC 7617) nor Bearer
/// credentials (RFC 6750), as the device flow gives them.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<Option<Credentials>> {
    headers.get(AUTHORIZATION).map(|value| value.to_str().ok().and_then(parse))
}

/// What a client is told that sent something else.
pub(crate) fn not_basic() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "the credentials are neither HTTP Basic nor Bearer credentials")
}

fn parse(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials { device: String::new(), token: Secret::new(encoded.trim().to_owned()) });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Secret::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (device, token) = pair.expose().split_once(':')?;
    Some(Credentials { device: device.to_owned(), token: Secret::new(token.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_name_and_a_token() {
        let parsed = parse(&format!("basic {}", STANDARD.encode("gw:1:token"))).expect("credentials");
        assert_eq!((parsed.device.as_str(), parsed.token.expose().as_str()), ("gw", "1:token"));
        let bearer = parse("Bearer token").expect("credentials");
        assert_eq!((bearer.device.as_str(), bearer.token.expose().as_str()), ("", "token"));
        for bad in ["", "Basic", "Basic !", "Digest abc", &format!("Basic {}", STANDARD.encode("no colon"))] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
