//! GetCert (RFC 8894 §3.3.4): a certificate that was issued before, to the device whose it is.

use fleetward_base::DeviceId;
use fleetward_core::access::DeviceRights;
use fleetward_pki::scep::{FailInfo, Refused};
use fleetward_pki::{Certificate, Serial};
use fleetward_store::TenantTx;
use rustls_pki_types::CertificateDer;

use super::{Asking, Fate};
use crate::authority;
use crate::enroll::still_admitted;
use crate::error::{Error, Result};

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
