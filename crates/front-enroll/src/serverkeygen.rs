//! `POST serverkeygen` (RFC 7030 §4.4): a key and its certificate, for devices that cannot make good keys.
//!
//! The answer is multipart: the key as PKCS#8, then the certificate. It is not encrypted beyond TLS, and a request that asks
//! for that is refused.

use axum::body::Body;
use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::{Proof, enroll_with_server_key};
use fleetward_pki::cms;
use fleetward_pki::est::encode;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::refusal::Refusal;
use crate::{Asked, answer, basic, body};

const MULTIPART: &str = "multipart/mixed; boundary=fleetward-est-boundary";
const BOUNDARY: &str = "--fleetward-est-boundary";

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let credentials = basic::credentials(asked.headers);
    let proof = match &credentials {
        Some(Some(credentials)) => Proof::Token(credentials),
        Some(None) => return Err(basic::not_basic()),
        None if asked.peer.leaf().is_some() => Proof::Certificate(&asked.peer.certificates),
        None => {
            return Err(Refusal::challenge("send the device's name and its enrolment token as HTTP Basic credentials"));
        }
    };
    let der = body::request_der(asked.headers, asked.body)?;
    let (attempt, label) = (asked.attempt(app), asked.target.label.as_ref());
    let (enrolled, key) = enroll_with_server_key(app, &attempt, label, proof, &der, asked.channel).await?;
    let layout = answer::layout_for(app, asked.headers, Some(&enrolled.tenant)).await;
    let part = |kind: &str, der: &[u8]| {
        let text = encode(der, layout);
        format!(
            "{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            text.trim_end()
        )
    };
    let parts = part("application/pkcs8", key.expose())
        + &part(answer::CERTS_ONLY, &cms::certs_only(&[&enrolled.certificate]))
        + BOUNDARY
        + "--\r\n";
    let mut response = Response::new(Body::from(parts));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MULTIPART));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
