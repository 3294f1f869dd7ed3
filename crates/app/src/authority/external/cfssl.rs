//! cfssl: requests under an HMAC key where the profile wants one.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use fleetward_core::issuer::Cfssl as Config;
use fleetward_pki::{Certificate, pem};
use fleetward_wire::issuer::cfssl;
use reqwest::Method;
use serde_json::Value;

use super::super::leaf::Wish;
use super::http::{Call, Failure, Http};
use super::{Credential, first_certificate, hex, unhex};
use crate::error::{Error, Result};

pub(super) struct Cfssl {
    config: Config,
    key: Option<hmac::Key>,
}

impl Cfssl {
    pub(super) fn new(config: Config, credential: &Credential) -> Result<Self> {
        let key = credential.auth_key.as_ref().map(|text| {
            let bytes = unhex(text.expose()).filter(|bytes| bytes.len() >= 8);
            bytes.ok_or_else(|| Error::invalid("credential.auth_key", "at least 16 hexadecimal digits"))
        });
        let key = key.transpose()?.map(|bytes| hmac::Key::new(HMAC_SHA256, &bytes));
        Ok(Self { config, key })
    }

    pub(super) async fn sign(&self, http: &Http, wish: &Wish<'_>) -> Result<Vec<u8>, Failure> {
        let csr = pem::write(pem::CERTIFICATE_REQUEST, wish.csr.der());
        let request = cfssl::request(&csr, &wish.uri(), &self.config.profile, &self.config.label);
        let (path, body) = match &self.key {
            Some(key) => ("/api/v1/cfssl/authsign", cfssl::authenticated(&request, hmac::sign(key, &request).as_ref())),
            None => ("/api/v1/cfssl/sign", serde_json::from_slice(&request).map_err(Failure::answer)?),
        };
        let answer = http.send(&call(path, body)).await?;
        first_certificate(&cfssl::certificate(&answer).map_err(Failure::answer)?)
    }

    /// Where it has a database of what it issued; one without answers 404, and there is nothing to tell it.
    pub(super) async fn revoke(&self, http: &Http, certificate: &Certificate) -> Result<(), Failure> {
        let authority = certificate.authority_key_id.as_deref().map(hex).unwrap_or_default();
        let body = cfssl::revoke_body(&certificate.serial.to_decimal(), &authority);
        match http.send(&call("/api/v1/cfssl/revoke", body)).await {
            Ok(_) | Err(Failure::Refused { status: 404 | 405, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn authorities(&self, http: &Http) -> Result<Vec<Vec<u8>>, Failure> {
        let body = cfssl::info_body(&self.config.profile, &self.config.label);
        let answer = http.send(&call("/api/v1/cfssl/info", body)).await?;
        Ok(vec![first_certificate(&cfssl::certificate(&answer).map_err(Failure::answer)?)?])
    }
}

fn call(path: &str, body: Value) -> Call<'_> {
    Call { method: Method::POST, path, headers: Vec::new(), body: Some(body), refusal: cfssl::refusal }
}
