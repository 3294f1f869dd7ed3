//! GetCert and GetCRL (RFC 8894 §3.3.4): a certificate that was issued before, to the device whose it is, and the list of
//! revoked ones, which is no secret, to anybody.

use fleetward_base::{DeviceId, limits};
use fleetward_core::access::DeviceRights;
use fleetward_pki::scep::{FailInfo, Refused};
use fleetward_pki::{Certificate, Serial};
use fleetward_store::TenantTx;
use rustls_pki_types::CertificateDer;

use super::{Asking, Fate};
use crate::authority;
use crate::enroll::still_admitted;
use crate::error::{Error, Result};
use crate::publication;

impl Asking<'_> {
    /// For whoever has the key of that certificate, or shows another of the same device that still counts: nobody learns here
    /// which other devices there are.
    pub(super) async fn issued(&self, issuer: &[u8], serial: &Serial) -> Result<Fate> {
        let wanted = serial.to_string();
        let found = self.app.read(self.tenant, "scep certificate", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.certificate(&wanted).await?) })
        });
        if let Some(row) = found.await? {
            let certificate = Certificate::parse(&row.der).map_err(Error::internal)?;
            let signer = self.message.signer();
            let own = certificate.spki == signer.spki;
            if certificate.issuer == issuer && (own || self.shows(&row.device).await?) {
                return Ok(Fate::Certificate(row.der));
            }
        }
        Ok(self.refuse(Refused::new(FailInfo::BadCertId, "there is no such certificate")).await)
    }

    /// The list of the authority that the certificate names as its issuer. Whether there is such a certificate is not said.
    pub(super) async fn list(&self, issuer: &[u8], serial: &Serial) -> Result<Fate> {
        let most = limits::SCEP_LIST_BYTES;
        let refused = match publication::list_of_issuer(self.app, self.tenant, issuer, serial, most).await {
            Ok(Some(list)) => return Ok(Fate::List(list)),
            Ok(None) => Refused::new(FailInfo::BadCertId, "no authority here has this name"),
            Err(Error::TooLarge { .. }) => {
                Refused::new(FailInfo::BadRequest, "the list is too large for an answer; fetch it from its URL")
            }
            Err(error) => return Err(error),
        };
        Ok(self.refuse(refused).await)
    }

    async fn shows(&self, device: &DeviceId) -> Result<bool> {
        let presented = CertificateDer::from(self.message.signer().der.as_slice());
        match authority::trust(self.app).load().verify(&presented, &[], self.app.now()) {
            Ok(shown) if shown.tenant == *self.tenant && shown.device == *device => {
                still_admitted(self.app, self.tenant, device, &shown.serial, DeviceRights::Full).await
            }
            _ => Ok(false),
        }
    }
}
