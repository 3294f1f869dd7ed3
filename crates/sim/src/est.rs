//! EST (RFC 7030 with the clarifications of RFC 8951) as a device speaks it.
//!
//! Only what a device needs: `cacerts`, `simpleenroll` with a one-time token, `simplereenroll` with the certificate.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{Decode as _, Encode as _};
use fleetward_base::DeviceId;
use http::Method;
use rustls_pki_types::CertificateDer;

use crate::http::Connection;
use crate::identity::{DeviceKey, Identity};

/// Asks for the first certificate of `device`; the token is its HTTP Basic password.
pub async fn enroll(connection: &mut Connection, device: &DeviceId, token: &str) -> anyhow::Result<Identity> {
    let key = DeviceKey::generate()?;
    let request = key.request(device)?;
    let certificate = post_enroll(connection, device, token, &request).await?;
    Ok(key.certified(device.clone(), certificate))
}

/// The exchange alone, for a load that makes its keys beforehand.
pub async fn post_enroll(
    connection: &mut Connection,
    device: &DeviceId,
    token: &str,
    request_der: &[u8],
) -> anyhow::Result<CertificateDer<'static>> {
    let credentials = format!("Basic {}", STANDARD.encode(format!("{device}:{token}")));
    post(connection, "/.well-known/est/simpleenroll", &[("authorization", &credentials)], request_der).await
}

/// Renews on a connection that was opened with the certificate in use.
pub async fn reenroll(connection: &mut Connection, request_der: &[u8]) -> anyhow::Result<CertificateDer<'static>> {
    post(connection, "/.well-known/est/simplereenroll", &[], request_der).await
}

/// The chain that the server would have devices trust.
pub async fn cacerts(connection: &mut Connection) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let answer = connection.send(Method::GET, "/.well-known/est/cacerts", &[], Vec::new()).await?.success()?;
    certs_only(&answer.body)
}

async fn post(
    connection: &mut Connection,
    path: &str,
    headers: &[(&str, &str)],
    request_der: &[u8],
) -> anyhow::Result<CertificateDer<'static>> {
    let mut all = vec![("content-type", "application/pkcs10"), ("content-transfer-encoding", "base64")];
    all.extend_from_slice(headers);
    let answer = connection.send(Method::POST, path, &all, STANDARD.encode(request_der)).await?;
    let answer = answer.success().context("enrolment")?;
    certs_only(&answer.body)?.into_iter().next().context("the answer holds no certificate")
}

/// The certificates of a base64 certs-only CMS message, in the order given (RFC 8951 §3.1: white space is no matter).
pub fn certs_only(body: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let compact: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(compact).context("the answer is not base64")?;
    let outer = cms::content_info::ContentInfo::from_der(&der).context("the answer is no CMS message")?;
    let signed: cms::signed_data::SignedData = outer.content.decode_as().context("the message is not SignedData")?;
    let Some(set) = signed.certificates else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for choice in set.0.iter() {
        if let cms::cert::CertificateChoices::Certificate(certificate) = choice {
            found.push(CertificateDer::from(certificate.to_der().context("encoding a certificate")?));
        }
    }
    Ok(found)
}
