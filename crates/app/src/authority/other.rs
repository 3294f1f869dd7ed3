//! Certificates that authorities of ours sign and that are no device's. Each has its row before anybody gets it, so that it
//! stands in the log, can be revoked like any other, and is known when somebody asks.

use fleetward_base::Timestamp;
use fleetward_pki::{Certificate, Issued};
use fleetward_store::{OtherCertificateRow, SystemTx};

use super::ServerIdentity;
use crate::App;
use crate::error::{Error, Result};

/// What such a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherKind {
    Claim,
    AttestationKey,
    Registration,
    Ocsp,
    Server,
}

impl OtherKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::AttestationKey => "attestation-key",
            Self::Registration => "registration",
            Self::Ocsp => "ocsp",
            Self::Server => "server",
        }
    }
}

/// The row of a certificate that the authority with this fingerprint signed.
pub(crate) fn other_row(kind: OtherKind, authority: &str, issued: &Issued, now: Timestamp) -> OtherCertificateRow {
    OtherCertificateRow {
        serial: issued.serial.to_string(),
        authority: authority.to_owned(),
        fingerprint: issued.fingerprint.clone(),
        kind: kind.as_str().to_owned(),
        der: issued.der.clone(),
        issued_at: now,
        not_after: issued.validity.not_after,
        revoked_at: None,
        reason: None,
    }
}

/// Writes down the certificate that this server is about to show: what is stapled to it, and what is answered to others,
/// goes by this row.
pub(super) async fn keep_server(app: &App, authority: &Certificate, identity: &ServerIdentity) -> Result<()> {
    let Some(own) = identity.chain.first() else { return Ok(()) };
    let own = Certificate::parse(own).map_err(Error::internal)?;
    let row = OtherCertificateRow {
        serial: own.serial.to_string(),
        authority: authority.fingerprint(),
        fingerprint: own.fingerprint(),
        kind: OtherKind::Server.as_str().to_owned(),
        not_after: own.not_after,
        der: own.der,
        issued_at: app.now(),
        revoked_at: None,
        reason: None,
    };
    app.store()
        .system_write("server certificate", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.installation().await?.insert_other_certificate(&row).await?) })
        })
        .await
}
