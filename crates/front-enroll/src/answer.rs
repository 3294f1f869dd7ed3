//! Answers that the deployed clients can read.
//!
//! strongSwan before 5.9.11 (Debian 12 has 5.9.8) reads a body on one line only, and libest one in lines only; libest says
//! who it is. `Content-Transfer-Encoding: base64` is what RFC 7030 §4.1.3 has and some clients insist on, although RFC
//! 8951 made it void. The body is known whole, so the answer has a Content-Length and leaves in one write with its head.

use axum::body::Body;
use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::Enrolled;
use fleetward_app::identity_policy::identity_policy;
use fleetward_base::TenantId;
use fleetward_core::identity_policy::Layout as Wanted;
use fleetward_pki::cms;
use fleetward_pki::est::{Layout, encode};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};

pub(crate) const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// The certificate that was issued, and nothing else (RFC 7030 §4.2.3).
pub(crate) async fn enrolled(app: &App, headers: &HeaderMap, enrolled: &Enrolled) -> Response {
    certificates(app, headers, Some(&enrolled.tenant), &[&enrolled.certificate]).await
}

/// Certificates in DER as certs-only CMS, laid out for whoever asked with `headers`.
pub(crate) async fn certificates(
    app: &App,
    headers: &HeaderMap,
    tenant: Option<&TenantId>,
    certificates: &[&[u8]],
) -> Response {
    base64(CERTS_ONLY, &cms::certs_only(certificates), layout_for(app, headers, tenant).await)
}

/// DER in base64 under a media type.
pub(crate) fn base64(kind: &'static str, der: &[u8], layout: Layout) -> Response {
    let mut response = Response::new(Body::from(encode(der, layout)));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    fields.insert(TRANSFER_ENCODING, http::HeaderValue::from_static("base64"));
    response
}

/// The layout for a client of the tenant; one that cannot be asked after is laid out as the client's name says.
pub(crate) async fn layout_for(app: &App, headers: &HeaderMap, tenant: Option<&TenantId>) -> Layout {
    let wanted = match tenant {
        Some(tenant) => identity_policy(app, tenant).await.map(|policy| policy.est.layout).unwrap_or(Wanted::Auto),
        None => Wanted::Auto,
    };
    layout(headers, wanted)
}

pub(crate) fn layout(headers: &HeaderMap, wanted: Wanted) -> Layout {
    match wanted {
        Wanted::OneLine => return Layout::OneLine,
        Wanted::Lines => return Layout::Lines,
        Wanted::Auto => {}
    }
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
            layout(&headers, Wanted::Auto)
        };
        assert_eq!(of(None), Layout::OneLine);
        assert_eq!(of(Some("Go-http-client/1.1")), Layout::OneLine);
        assert_eq!(of(Some("libest client 1.0")), Layout::Lines);
        assert_eq!(of(Some("libest 3.2.0p")), Layout::Lines);
        assert_eq!(of(Some("Cisco EST client 2.0 with BRSKI")), Layout::Lines);
    }
}
