//! An issuer elsewhere: asked over its API, outside of any transaction, and believed only after a look at what it gave.
//!
//! One that does not answer is left alone for a while (`breaker`); devices are told to come back. What it signed is
//! remembered for a device that asks again with the same request, since its first question may have outlasted its
//! patience.

mod breaker;
mod cfssl;
mod http;
mod step;
mod vault;

use std::collections::HashMap;
use std::time::Duration;

use fleetward_base::{Secret, Timestamp, limits};
use fleetward_core::issuer::{Issuer as Config, IssuerKind};
use fleetward_pki::foreign::{self, Named, Wanted};
use fleetward_pki::{Certificate, pem};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::leaf::{SignedLeaf, Wish};
use crate::App;
use crate::error::{Error, Result};
use breaker::Breaker;
pub(crate) use http::Failure;
use http::Http;

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What an issuer knows us by. Which fields there are depends on its kind.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// step-ca: the private key of a JWK provisioner.
    pub jwk: Option<Secret<String>>,
    /// Vault: a token, or
    pub token: Option<Secret<String>>,
    /// the id of an AppRole with a secret.
    pub role_id: Option<Secret<String>>,
    pub secret_id: Option<Secret<String>>,
    /// cfssl: the hexadecimal key of the profile.
    pub auth_key: Option<Secret<String>>,
}

enum Api {
    Step(Box<step::Step>),
    Vault(Box<vault::Vault>),
    Cfssl(Box<cfssl::Cfssl>),
}

pub(crate) struct External {
    config: Config,
    api: Api,
    http: Http,
    authorities: Vec<Vec<u8>>,
    turns: Semaphore,
    state: Mutex<State>,
    remembered: Mutex<HashMap<[u8; 32], (Duration, SignedLeaf)>>,
}

/// How it went of late.
#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    last_success: Option<Timestamp>,
    last_failure: Option<(Timestamp, String)>,
    failing: bool,
}

/// Whether something changed that is worth an event.
pub(crate) enum Turn {
    Failed(String),
    Recovered,
}

/// How it went of late, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentHealth {
    /// It is left alone for a while.
    pub paused: bool,
    pub last_success: Option<Timestamp>,
    pub last_failure: Option<(Timestamp, String)>,
}

impl External {
    /// # Errors
    /// `Invalid` with the field that cannot be.
    pub(crate) fn new(config: Config, credential: &Credential) -> Result<Self> {
        config.check().map_err(|error| Error::invalid(error.field, error.reason))?;
        let authorities = pem::read(pem::CERTIFICATE, config.authorities());
        let authorities = authorities.map_err(|error| Error::invalid("authorities", error.to_string()))?;
        if authorities.is_empty() {
            return Err(Error::invalid("authorities", "holds no certificate in PEM"));
        }
        let kept = config.clone();
        let http = Http::new(config.url().unwrap_or_default(), config.tls_ca())?;
        let api = match config {
            Config::BuiltIn => return Err(Error::internal("the built-in issuer is asked for by its key")),
            Config::StepCa(config) => Api::Step(Box::new(step::Step::new(config, credential)?)),
            Config::Vault(config) => Api::Vault(Box::new(vault::Vault::new(config, credential)?)),
            Config::Cfssl(config) => Api::Cfssl(Box::new(cfssl::Cfssl::new(config, credential)?)),
        };
        Ok(Self {
            config: kept,
            api,
            http,
            authorities,
            turns: Semaphore::new(limits::ISSUER_REQUESTS_AT_ONCE),
            state: Mutex::default(),
            remembered: Mutex::default(),
        })
    }

    /// The authorities (DER) that it may sign with.
    pub(crate) fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    pub(crate) fn kind(&self) -> IssuerKind {
        self.config.kind()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn recent(&self, now: Duration) -> RecentHealth {
        let state = self.state.lock();
        RecentHealth {
            paused: state.breaker.is_open(now),
            last_success: state.last_success,
            last_failure: state.last_failure.clone(),
        }
    }

    /// What it gave for the same request a little while ago.
    pub(crate) fn remembered(&self, request: &[u8; 32], now: Duration) -> Option<SignedLeaf> {
        let known = self.remembered.lock().get(request).cloned();
        known.filter(|(at, _)| now.saturating_sub(*at) < REMEMBERED).map(|(_, signed)| signed)
    }

    pub(crate) fn forget(&self, request: &[u8; 32]) {
        self.remembered.lock().remove(request);
    }

    /// Has a certificate made, and holds it to what was wished. Says what is worth an event besides.
    pub(crate) async fn sign(&self, app: &App, wish: &Wish<'_>) -> (Result<SignedLeaf, Failure>, Option<Turn>) {
        if !self.state.lock().breaker.admits(app.clock().monotonic()) {
            let reason = "it failed of late and is left alone for a while".to_owned();
            return (Err(Failure::Down { reason, wait: None }), None);
        }
        let outcome = match tokio::time::timeout(limits::ISSUER_DEADLINE, self.ask(app, wish)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Down { reason: "it took too long".to_owned(), wait: None }),
        };
        if let (Ok(signed), Named::Device(_)) = (&outcome, wish.named) {
            self.remember(wish, signed, app.clock().monotonic());
        }
        let turn = self.count(app, outcome.as_ref().err());
        (outcome, turn)
    }

    async fn ask(&self, app: &App, wish: &Wish<'_>) -> Result<SignedLeaf, Failure> {
        let _turn = self.turns.acquire().await.map_err(Failure::answer)?;
        let der = match &self.api {
            Api::Step(step) => step.sign(app, &self.http, wish).await,
            Api::Vault(vault) => vault.sign(app, &self.http, wish).await,
            Api::Cfssl(cfssl) => cfssl.sign(&self.http, wish).await,
        }?;
        let wanted = Wanted {
            tenant: wish.tenant,
            named: wish.named,
            csr: wish.csr,
            not_after: wish.latest,
            authorities: &self.authorities,
        };
        let (issued, authority) = foreign::check(&der, &wanted, app.now()).map_err(Failure::answer)?;
        Ok(SignedLeaf { issued, authority, elsewhere: true })
    }

    /// Tells it that a certificate of its was revoked.
    pub(crate) async fn revoke(&self, app: &App, der: &[u8]) -> Result<(), Failure> {
        let certificate = Certificate::parse(der).map_err(Failure::answer)?;
        match &self.api {
            Api::Step(step) => step.revoke(app, &self.http, &certificate.serial).await,
            Api::Vault(vault) => vault.revoke(app, &self.http, &certificate.serial).await,
            Api::Cfssl(cfssl) => cfssl.revoke(&self.http, &certificate).await,
        }
    }

    /// Asks it what it signs with now, whatever the breaker says.
    pub(crate) async fn present_authorities(&self, app: &App) -> Result<Vec<Vec<u8>>, Failure> {
        let asked = async {
            match &self.api {
                Api::Step(step) => step.authorities(&self.http).await,
                Api::Vault(vault) => vault.authorities(app, &self.http).await,
                Api::Cfssl(cfssl) => cfssl.authorities(&self.http).await,
            }
        };
        match tokio::time::timeout(limits::ISSUER_DEADLINE, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Down { reason: "it took too long".to_owned(), wait: None }),
        }
    }

    fn remember(&self, wish: &Wish<'_>, signed: &SignedLeaf, now: Duration) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= limits::ISSUER_REMEMBERED {
            remembered.retain(|_, (at, _)| now.saturating_sub(*at) < REMEMBERED);
        }
        if remembered.len() < limits::ISSUER_REMEMBERED {
            remembered.insert(wish.csr.request_hash(wish.tenant), (now, signed.clone()));
        }
    }

    /// A refusal of one request says nothing of the next one, so it does not open the breaker.
    fn count(&self, app: &App, failure: Option<&Failure>) -> Option<Turn> {
        let mut state = self.state.lock();
        let Some(failure) = failure else {
            state.breaker.succeeded();
            state.last_success = Some(app.now());
            return std::mem::take(&mut state.failing).then_some(Turn::Recovered);
        };
        match failure {
            Failure::Down { wait, .. } => state.breaker.failed(app.clock().monotonic(), *wait),
            Failure::Refused { .. } | Failure::Answer(_) => state.breaker.succeeded(),
        }
        let said = failure.to_string();
        state.last_failure = Some((app.now(), said.clone()));
        (!std::mem::replace(&mut state.failing, true)).then_some(Turn::Failed(said))
    }
}

/// The first certificate (DER) of a PEM text.
fn first_certificate(text: &str) -> Result<Vec<u8>, Failure> {
    all_certificates(text)?.into_iter().next().ok_or_else(|| Failure::answer("no certificate in PEM"))
}

fn all_certificates(text: &str) -> Result<Vec<Vec<u8>>, Failure> {
    pem::read(pem::CERTIFICATE, text).map_err(Failure::answer)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
