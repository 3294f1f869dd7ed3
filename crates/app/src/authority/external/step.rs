//! step-ca: each request with a one-time token by the key of a JWK provisioner.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use fleetward_base::{Secret, TokenId};
use fleetward_core::issuer::StepCa;
use fleetward_pki::{Serial, pem};
use fleetward_wire::issuer::step::{self, Claims};
use reqwest::Method;

use super::super::leaf::Wish;
use super::http::{Call, Failure, Http};
use super::{Credential, first_certificate};
use crate::App;
use crate::error::{Error, Result};

/// A token is used at once.
const TOKEN_SECONDS: i64 = 300;

pub(super) struct Step {
    config: StepCa,
    key_id: String,
    pair: EcdsaKeyPair,
}

impl Step {
    pub(super) fn new(config: StepCa, credential: &Credential) -> Result<Self> {
        let bad = |reason: &str| Error::invalid("credential.jwk", reason.to_owned());
        let jwk = credential.jwk.as_ref().ok_or_else(|| bad("the provisioner's private key is missing"))?;
        let jwk = step::jwk(jwk.expose()).map_err(|error| bad(&error.to_string()))?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, jwk.private.expose(), &jwk.public)
            .map_err(|_| bad("its private half is not that of its public one"))?;
        Ok(Self { config, key_id: jwk.key_id, pair })
    }

    pub(super) async fn sign(&self, app: &App, http: &Http, wish: &Wish<'_>) -> Result<Vec<u8>, Failure> {
        let uri = wish.uri();
        let der = wish.csr.der();
        let hash = digest(&SHA256, der).as_ref().try_into().ok();
        let token = self.token(app, http, "/1.0/sign", wish.common_name(), &[&uri], hash)?;
        let csr = pem::write(pem::CERTIFICATE_REQUEST, der);
        let body = step::sign_body(&csr, &token, wish.validity.not_before, wish.validity.not_after);
        let answer = http.send(&call(Method::POST, "/1.0/sign", Some(body))).await?;
        first_certificate(&step::certificate(&answer).map_err(Failure::answer)?)
    }

    pub(super) async fn revoke(&self, app: &App, http: &Http, serial: &Serial) -> Result<(), Failure> {
        let serial = serial.to_decimal();
        let token = self.token(app, http, "/1.0/revoke", &serial, &[], None)?;
        let body = step::revoke_body(&serial, &token, "revoked in the registry");
        http.send(&call(Method::POST, "/1.0/revoke", Some(body))).await.map(drop)
    }

    /// What it signs with now: its intermediates, and its roots where it has none.
    pub(super) async fn authorities(&self, http: &Http) -> Result<Vec<Vec<u8>>, Failure> {
        let mut found = Vec::new();
        for path in ["/1.0/intermediates", "/1.0/roots"] {
            let answer = match http.send(&call(Method::GET, path, None)).await {
                // Releases before 0.23 have no list of intermediates.
                Err(Failure::Refused { status: 404, .. }) => continue,
                other => other?,
            };
            for text in step::certificates(&answer).map_err(Failure::answer)? {
                found.push(first_certificate(&text)?);
            }
        }
        Ok(found)
    }

    fn token(
        &self,
        app: &App,
        http: &Http,
        path: &str,
        subject: &str,
        sans: &[&str],
        request: Option<[u8; 32]>,
    ) -> Result<Secret<String>, Failure> {
        let (audience, id) = (http.url(path), TokenId::generate(app.clock().as_ref(), app.rng().as_ref()).to_string());
        let unsigned = step::unsigned(&Claims {
            provisioner: &self.config.provisioner,
            key_id: &self.key_id,
            audience: &audience,
            subject,
            sans,
            root: self.config.root_sha256.as_deref(),
            request,
            id: &id,
            at: app.now(),
            seconds: TOKEN_SECONDS,
        });
        let signature = self.pair.sign(&SystemRandom::new(), unsigned.as_bytes()).map_err(Failure::answer)?;
        Ok(step::signed(&unsigned, signature.as_ref()))
    }
}

fn call(method: Method, path: &str, body: Option<serde_json::Value>) -> Call<'_> {
    Call { method, path, headers: Vec::new(), body, refusal: step::refusal }
}
