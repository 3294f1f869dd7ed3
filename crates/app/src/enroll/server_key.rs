//! Keys that the server makes for devices that cannot make good ones (RFC 7030 §4.4).
//!
//! Only where the tenant's policy says so: such a key was once outside its device. It is made here, goes out with the answer,
//! and is kept nowhere; an answer that got lost cannot be given again, and another credential is needed.

use fleetward_base::{Secret, TenantId};
use fleetward_pki::SoftKey;
use rustls_pki_types::CertificateDer;

use super::certificate::enroll_with_certificate;
use super::channel::{Channel, Request};
use super::first::enroll_device;
use super::{Attempt, Credentials, Enrolled};
use crate::App;
use crate::error::Result;

/// What shows who asks.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    Token(&'a Credentials),
    /// The chain of the hand-shake, leaf first.
    Certificate(&'a [CertificateDer<'a>]),
}

/// Issues a certificate for a new key, and gives the key (PKCS#8) with it.
///
/// # Errors
/// `Conflict` (`server-keys-off`) where the tenant's policy does not allow it; else as enrolment or renewal.
pub async fn enroll_with_server_key(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    proof: Proof<'_>,
    der: &[u8],
    channel: Channel,
) -> Result<(Enrolled, Secret<Vec<u8>>)> {
    let (key, pkcs8) = SoftKey::generate();
    let request = Request { server_key: Some(&key), ..Request::new(der, channel) };
    let enrolled = match proof {
        Proof::Token(credentials) => enroll_device(app, attempt, label, credentials, request).await?,
        Proof::Certificate(chain) => enroll_with_certificate(app, attempt, label, chain, request).await?,
    };
    Ok((enrolled, pkcs8))
}
