//! A device's key and the request for its certificate.
//!
//! Keys are P-256 and live in memory only: a simulated device that ends is gone, and no benchmark keeps one for the next.

use anyhow::Context as _;
use fleetward_base::DeviceId;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A private key that has no certificate yet.
#[derive(Debug)]
pub struct DeviceKey(KeyPair);

/// A device with its private key and the certificate that it was given.
#[derive(Debug)]
pub struct Identity {
    pub device: DeviceId,
    pub certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl DeviceKey {
    pub fn generate() -> anyhow::Result<Self> {
        Ok(Self(KeyPair::generate().context("making a P-256 key")?))
    }

    /// A PKCS#10 request in DER for `device`: subject `CN=device` and nothing else, for the server derives the rest.
    pub fn request(&self, device: &DeviceId) -> anyhow::Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, device.as_str());
        Ok(params.serialize_request(&self.0).context("signing the request")?.der().to_vec())
    }

    #[cfg(test)]
    pub(crate) fn from_pair(pair: KeyPair) -> Self {
        Self(pair)
    }

    pub fn certified(self, device: DeviceId, certificate: CertificateDer<'static>) -> Identity {
        Identity { device, certificate, key: self.0 }
    }
}

impl Identity {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// A request over the key in use, as a renewal without a new key sends it.
    pub fn renewal_request(&self) -> anyhow::Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.device.as_str());
        Ok(params.serialize_request(&self.key).context("signing the request")?.der().to_vec())
    }
}
