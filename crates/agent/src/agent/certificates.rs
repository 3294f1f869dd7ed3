//! Getting, proving and renewing the certificate, beside everything else.
//!
//! What comes next is read from the key store each time (`identity::KeyStore::next_step`); kept here is only what may be
//! forgotten: when to try again, and which credential the next connection is made with.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Rng, Secret};
use fleetward_supply::Sha256;

use super::{Agent, Done, Link, chance};
use crate::disk;
use crate::est::{EstError, Proof};
use crate::identity::{Credential, IdentityError, KeyStore, Step};
use crate::mqtt::{End, Session};
use crate::record::Slot;

/// Where the hash of the token lies that the current certificate was got with.
const TOKEN_USED: &str = "identity/token";
/// Waits between attempts that the server refused.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Looks at the certificate's time at least this often, because the clock may be set.
const CHECK: Duration = Duration::from_secs(30);

/// What may be forgotten of the certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    current: Option<Arc<Credential>>,
    /// The one that the next connection has to prove.
    candidate: Option<Arc<Credential>>,
    /// A request is under way.
    asking: bool,
    /// Nothing is done before this moment of the monotonic clock.
    not_before: Duration,
    failures: u32,
    /// Where in its window the renewal lies.
    chance: f64,
    /// The server does not want the current certificate.
    unwanted: bool,
    /// It was said that a token is missing.
    missed_token: bool,
}

impl Certificates {
    pub(super) fn new(rng: &dyn Rng) -> Self {
        Self {
            current: None,
            candidate: None,
            asking: false,
            not_before: Duration::ZERO,
            failures: 0,
            chance: chance(rng),
            unwanted: false,
            missed_token: false,
        }
    }

    pub(super) fn to_connect_with(&self) -> Option<Arc<Credential>> {
        self.candidate.clone().or_else(|| self.current.clone())
    }

    pub(super) fn in_use(&self) -> Option<Arc<Credential>> {
        self.current.clone()
    }

    pub(super) fn session_ended(&mut self, end: &End, now: Duration) {
        if end.is_about_identity() {
            self.unwanted = true;
            self.not_before = now;
        }
    }

    /// The candidate, where it is this credential.
    fn take_candidate(&mut self, credential: &Arc<Credential>) -> Option<Arc<Credential>> {
        self.candidate.take_if(|candidate| Arc::ptr_eq(candidate, credential))
    }

    fn failed(&mut self, now: Duration) {
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(self.failures.min(16))).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait.mul_f64(0.5 + 0.5 * self.chance);
    }

    fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, Duration::ZERO);
    }
}

impl Agent {
    /// Takes the next step towards a certificate that lasts, where it is time for one.
    pub(super) fn look_after_certificate(&mut self) {
        let now = self.clock.monotonic();
        if self.certificates.asking || self.certificates.candidate.is_some() || now < self.certificates.not_before {
            return;
        }
        if let Err(error) = self.next_step() {
            tracing::error!(%error, "key store");
            self.certificates.failed(now);
        }
    }

    fn next_step(&mut self) -> Result<(), IdentityError> {
        let (disk, device) = (Arc::clone(&self.disk), self.options.device.clone());
        let store = KeyStore::new(disk.as_ref(), &device);
        if self.certificates.unwanted && self.has_new_token() {
            tracing::warn!("the server refuses this device, and there is a new token: enrolling anew");
            store.forget()?;
            (self.certificates.current, self.certificates.unwanted) = (None, false);
        }
        if self.certificates.current.is_none() {
            self.certificates.current = store.current()?.map(Arc::new);
        }
        match store.next_step(self.clock.now(), self.certificates.chance)? {
            Step::MakeKey(place) => {
                tracing::info!(%place, "making a key");
                store.make_key(place)?;
                return self.next_step();
            }
            Step::Enroll { place, request } => self.enroll(place, request),
            Step::Renew { place, request } => self.renew(place, request),
            Step::Prove(candidate) => self.prove(candidate),
            Step::Rest { .. } => {
                // One that is not wanted waits for a new token.
                let wait = if self.certificates.unwanted { FIRST_WAIT } else { CHECK };
                self.certificates.not_before = self.clock.monotonic() + wait;
            }
        }
        Ok(())
    }

    fn enroll(&mut self, place: Slot, request: Vec<u8>) {
        let Some(token) = self.token() else {
            if !std::mem::replace(&mut self.certificates.missed_token, true) {
                tracing::error!("this device has no certificate and no enrolment token: give one with --token-file");
            }
            self.certificates.not_before = self.clock.monotonic() + FIRST_WAIT;
            return;
        };
        tracing::info!("enrolling");
        let (service, device) = (self.service.clone(), self.options.device.clone());
        self.certificates.asking = true;
        self.work.spawn(async move {
            let result = service.request(&device, Proof::Token(&token), &request).await;
            Done::Issued { place, result }
        });
    }

    fn renew(&mut self, place: Slot, request: Vec<u8>) {
        let Some(current) = self.certificates.current.clone() else { return };
        tracing::info!(until = %current.certificate.not_after, "renewing the certificate");
        let (service, device) = (self.service.clone(), self.options.device.clone());
        self.certificates.asking = true;
        self.work.spawn(async move {
            let result = service.request(&device, Proof::Certificate(&current), &request).await;
            Done::Issued { place, result }
        });
    }

    /// The next connection is made with the new certificate; the session that stands ends for it, the old certificate stays.
    fn prove(&mut self, candidate: Box<Credential>) {
        tracing::info!(serial = %candidate.certificate.serial, "trying the new certificate");
        self.certificates.candidate = Some(Arc::from(candidate));
        if let Link::Open(session) = std::mem::replace(&mut self.link, Link::Waiting(Duration::ZERO)) {
            self.online.send_replace(false);
            self.machine.disconnected();
            self.farewell(session);
        }
        if matches!(self.link, Link::Waiting(_)) {
            self.connect();
        }
    }

    pub(super) fn farewell(&mut self, session: Box<Session>) {
        self.work.spawn(async move {
            session.close().await;
            Done::Left
        });
    }

    /// An answer to a request came.
    pub(super) fn issued(&mut self, place: Slot, result: Result<Vec<u8>, EstError>) {
        self.certificates.asking = false;
        let (disk, device) = (Arc::clone(&self.disk), self.options.device.clone());
        let store = KeyStore::new(disk.as_ref(), &device);
        let kept = match result {
            Ok(der) => store.keep_certificate(place, &der, self.clock.now()).map_err(|error| error.to_string()),
            Err(error) => {
                if let EstError::Later { after: Some(after) } = &error {
                    self.certificates.not_before = self.clock.monotonic() + (*after).min(LONGEST_WAIT);
                    tracing::warn!(%error, "no certificate yet");
                    return;
                }
                Err(error.to_string())
            }
        };
        match kept {
            Ok(()) => {
                tracing::info!(%place, "a certificate was issued");
                if self.certificates.current.is_none() {
                    self.remember_token();
                }
                self.certificates.succeeded();
                self.look_after_certificate();
            }
            Err(reason) => {
                tracing::warn!(%reason, "no certificate");
                self.certificates.failed(self.clock.monotonic());
            }
        }
    }

    /// The server accepted a connection with this credential: if it was to be proven, it is the one in use from now on. False
    /// where another one is to be proven.
    pub(super) fn proven(&mut self, credential: &Arc<Credential>) -> bool {
        self.certificates.unwanted = false;
        let Some(candidate) = self.certificates.take_candidate(credential) else {
            return self.certificates.candidate.is_none();
        };
        match KeyStore::new(self.disk.as_ref(), &self.options.device).adopt(candidate.place) {
            Ok(()) => {
                tracing::info!(serial = %candidate.certificate.serial, "the new certificate is in use");
                self.certificates.current = Some(candidate);
                self.certificates.succeeded();
            }
            Err(error) => {
                tracing::error!(%error, "cannot switch to the new certificate");
                self.certificates.failed(self.clock.monotonic());
            }
        }
        true
    }

    /// No connection with this credential. A candidate that the server does not want is dropped; one that could not be tried is
    /// tried again later, and the one in use goes on meanwhile.
    pub(super) fn not_accepted(&mut self, credential: &Arc<Credential>, end: &End) {
        let now = self.clock.monotonic();
        let Some(candidate) = self.certificates.take_candidate(credential) else {
            return self.certificates.session_ended(end, now);
        };
        self.certificates.failed(now);
        if end.is_about_identity() {
            tracing::warn!(reason = %end, "the server does not accept the new certificate");
            if let Err(error) = KeyStore::new(self.disk.as_ref(), &self.options.device).discard(candidate.place) {
                tracing::error!(%error, "cannot discard it");
            }
        }
    }

    fn token(&self) -> Option<Secret<String>> {
        let text = match (&self.options.token, &self.options.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(file)) => std::fs::read_to_string(file).ok()?,
            (None, None) => return None,
        };
        let token = text.trim();
        (!token.is_empty()).then(|| Secret::new(token.to_owned()))
    }

    /// Whether there is a token that the current certificate was not got with.
    fn has_new_token(&self) -> bool {
        let Some(token) = self.token() else { return false };
        let used = self.disk.read(TOKEN_USED).ok().flatten().unwrap_or_default();
        Sha256::of(token.expose().as_bytes()).to_string().into_bytes() != used
    }

    fn remember_token(&self) {
        let Some(token) = self.token() else { return };
        let hash = Sha256::of(token.expose().as_bytes()).to_string();
        if let Err(error) = disk::replace(self.disk.as_ref(), TOKEN_USED, hash.as_bytes()) {
            tracing::warn!(%error, "cannot remember that the token was used");
        }
    }
}
