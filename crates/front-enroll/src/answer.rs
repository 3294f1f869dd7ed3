//! Answers that the deployed clients can read.
//!
//! strongSwan before 5.9.11 (Debian 12 has 5.9.8) reads a body on one line only, and libest one in lines only; libest says
//! who it is. `Content-Transfer-Encoding: base64` is what RFC 7030 §4.1.3 has and some clients insist on, although RFC
//! 8951 made it void. The body is known whole, so the answer has a Content-Length and leaves in one write with its head.

use axum::body::Body;
use axum::response::Response;
use fleetward_pki::cms;
use fleetward_pki::est::{Layout, encode};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};

const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// Certificates in DER as certs-only CMS, laid out for whoever asked with `headers`.
pub(crate) fn certificates(headers: &HeaderMap, certificates: &[&[u8]]) -> Response {
    let body = encode(&cms::certs_only(certificates), layout(headers));
    let mut response = Response::new(Body::from(body));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, http::HeaderValue::from_static(CERTS_ONLY));
    fields.insert(TRANSFER_ENCODING, http::HeaderValue::from_static("base64"));
    response
}

fn layout(headers: &HeaderMap) -> Layout {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    // "libest client 1.0", "libest 3.2.0p", "Cisco EST client 2.0 with BRSKI": the same client over the years.
    if agent.contains("libest") || agent.starts_with("cisco est client") { Layout::Lines } else { Layout::OneLine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libest_gets_lines() {
        let of = |agent: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            agent.map(|agent| headers.insert(USER_AGENT, http::HeaderValue::from_static(agent)));
            layout(&headers)
        };
        assert_eq!(of(None), Layout::OneLine);
        assert_eq!(of(Some("Go-http-client/1.1")), Layout::OneLine);
        assert_eq!(of(Some("libest client 1.0")), Layout::Lines);
        assert_eq!(of(Some("libest 3.2.0p")), Layout::Lines);
        assert_eq!(of(Some("Cisco EST client 2.0 with BRSKI")), Layout::Lines);
    }
}
