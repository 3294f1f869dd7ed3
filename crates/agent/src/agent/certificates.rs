//! Getting, proving and renewing the certificate, beside everything else.
//!
//! What comes next is read from the key store each time (`identity::KeyStore::next_step`); kept here is only what may be
//! forgotten: when to try again, and which credential the next connection is made with.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Clock as _, Rng, Secret};
use fleetward_supply::Sha256;
use fleetward_wire::renew::{self, RenewRequest};

use super::{Agent, Done, Link, chance};
use crate::attest::Attester;
use crate::clock::Steps;
use crate::disk;
use crate::est::{EstError, Proof};
use crate::handover::{Phase, TOKEN_USED, name_of};
use crate::identity::{Credential, IdentityError, KeyStore, Step, place_in_window};
use crate::mqtt::{End, Message, Session};
use crate::record::Slot;

/// Waits between attempts that the server refused.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// A server that says when to come back is believed, up to this.
const LONGEST_TURN: Duration = Duration::from_secs(3600);
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
    /// Where in its window the renewal lies, for a device that has no certificate yet.
    chance: f64,
    /// The server asked to renew the certificate with this serial number. Not kept on the disk: it asks again whenever the
    /// device subscribes, until it has renewed.
    asked: Option<String>,
    steps: Steps,
    /// The server is not asked for the time before this moment of the monotonic clock.
    ask_time_at: Duration,
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
            asked: None,
            ask_time_at: Duration::ZERO,
            steps: Steps::default(),
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

    fn place_in_window(&self) -> f64 {
        self.current.as_ref().map_or(self.chance, |current| place_in_window(&current.certificate))
    }

    fn is_asked(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| self.asked.as_ref() == Some(&current.certificate.serial.to_string()))
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
        if self.certificates.steps.look(self.clock.as_ref()) && self.certificates.failures == 0 {
            tracing::info!(time = %self.clock.now(), "the clock was set");
            self.certificates.not_before = self.certificates.not_before.min(now);
        }
        self.ask_time(now);
        if self.certificates.asking || self.certificates.candidate.is_some() || now < self.certificates.not_before {
            return;
        }
        if let Err(error) = self.next_step() {
            tracing::error!(%error, "key store");
            self.certificates.failed(now);
        }
    }

    /// A machine whose clock is known to be wrong asks the server, again and again: whoever answers proves itself first.
    fn ask_time(&mut self, now: Duration) {
        if !self.clock.is_behind() || now < self.certificates.ask_time_at {
            return;
        }
        self.certificates.ask_time_at = now + LONGEST_WAIT;
        let (service, clock) = (self.service.clone(), Arc::clone(&self.clock));
        self.work.spawn(async move {
            match service.ask_time().await {
                Ok(()) => {
                    tracing::info!(time = %clock.now(), "the machine's clock is behind; the server said the time")
                }
                Err(error) => {
                    tracing::warn!(%error, "the machine's clock is behind, and the server did not say the time")
                }
            }
            Done::Left
        });
    }

    fn next_step(&mut self) -> Result<(), IdentityError> {
        let (disk, device, keys) = (Arc::clone(&self.disk), self.options.device.clone(), self.keys.clone());
        let store = KeyStore::new(disk.as_ref(), &device).with_keys(keys.as_deref());
        if self.certificates.unwanted && self.has_new_token() {
            tracing::warn!("the server refuses this device, and there is a new token: enrolling anew");
            store.forget()?;
            (self.certificates.current, self.certificates.unwanted) = (None, false);
        }
        if self.certificates.current.is_none() {
            self.certificates.current = store.current()?.map(Arc::new);
        }
        let (place, asked) = (self.certificates.place_in_window(), self.certificates.is_asked());
        match store.step(self.clock.now(), place, asked)? {
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
        let attester = self.attestation.attester();
        self.work.spawn(async move {
            introduce(attester.as_ref(), &device, &Proof::Token(&token), place).await;
            let result = service.request(&device, Proof::Token(&token), &request).await;
            Done::Issued { place, result }
        });
    }

    fn renew(&mut self, place: Slot, request: Vec<u8>) {
        let Some(current) = self.certificates.current.clone() else { return };
        tracing::info!(until = %current.certificate.not_after, "renewing the certificate");
        let (service, device) = (self.service.clone(), self.options.device.clone());
        self.certificates.asking = true;
        let attester = self.attestation.attester();
        self.work.spawn(async move {
            introduce(attester.as_ref(), &device, &Proof::Certificate(&current), place).await;
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
        let (disk, device, keys) = (Arc::clone(&self.disk), self.options.device.clone(), self.keys.clone());
        let store = KeyStore::new(disk.as_ref(), &device).with_keys(keys.as_deref());
        let kept = match result {
            Ok(der) => store.keep_certificate(place, &der, self.clock.now()).map_err(|error| error.to_string()),
            Err(error) => {
                self.another_key(place, &error);
                if let EstError::Later { after: Some(after) } = &error {
                    self.certificates.not_before = self.clock.monotonic() + (*after).min(LONGEST_TURN);
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
                self.look_at_anchors_soon();
                self.look_after_certificate();
            }
            Err(reason) => {
                tracing::warn!(%reason, "no certificate");
                self.certificates.failed(self.clock.monotonic());
            }
        }
    }

    /// A renewal was refused for what is in the request, and that is the key: it may have been certified before, where the
    /// tenant wants a new one each time. The next attempt has another. A first enrolment keeps its key, since its token is
    /// spent on it.
    fn another_key(&self, place: Slot, error: &EstError) {
        if self.certificates.current.is_none() || !matches!(error, EstError::Refused { status: 400 | 422, .. }) {
            return;
        }
        if let Err(error) = self.key_store().discard(place) {
            tracing::error!(%error, "cannot discard the key");
        }
    }

    /// The server accepted a connection with this credential: if it was to be proven, it is the one in use from now on. False
    /// where another one is to be proven.
    pub(super) fn proven(&mut self, credential: &Arc<Credential>) -> bool {
        self.certificates.unwanted = false;
        let Some(candidate) = self.certificates.take_candidate(credential) else {
            return self.certificates.candidate.is_none();
        };
        match self.key_store().adopt(candidate.place) {
            Ok(()) => {
                tracing::info!(serial = %candidate.certificate.serial, "the new certificate is in use");
                self.certificates.current = Some(candidate);
                self.certificates.succeeded();
                self.settle();
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
            if let Err(error) = self.key_store().discard(candidate.place) {
                tracing::error!(%error, "cannot discard it");
            }
        }
    }

    fn key_store(&self) -> KeyStore<'_> {
        KeyStore::new(self.disk.as_ref(), &self.options.device).with_keys(self.keys.as_deref())
    }

    /// The server may have asked to renew now: somewhere within the seconds that it gives, so that a fleet that is asked at
    /// once does not come at once.
    pub(super) fn hear_renew(&mut self, message: &Message) {
        if message.topic != renew::topic(&self.options.device) {
            return;
        }
        let Some(request) = RenewRequest::parse(&message.payload) else {
            return tracing::warn!("a request to renew cannot be read");
        };
        let Some(current) = self.certificates.current.as_ref() else { return };
        let serial = current.certificate.serial.to_string();
        if self.certificates.asked.as_ref() == Some(&serial) {
            return;
        }
        let wait = Duration::from_secs(request.spread_s.into()).mul_f64(chance(self.rng.as_ref()));
        tracing::info!(reason = %request.reason, seconds = wait.as_secs_f64(), "the server asks to renew the certificate");
        self.certificates.asked = Some(serial);
        self.certificates.not_before = self.clock.monotonic() + wait;
    }

    /// The token to enrol with. A device that was transferred has one from its order, until it is in; what its command line
    /// named before that counts no more, and another one does.
    fn token(&self) -> Option<Secret<String>> {
        let given = self.token_given();
        let Some(handover) = self.going.state.as_ref().filter(|handover| handover.has_moved()) else { return given };
        let name = given.as_ref().map(|token| name_of(token.expose().as_bytes()));
        if name.is_some() && name != handover.given.token {
            return given;
        }
        (handover.phase == Phase::Enrolling).then(|| Secret::new(handover.order.token.clone()))
    }

    /// What the command line names.
    pub(super) fn token_given(&self) -> Option<Secret<String>> {
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

/// Shows the TPM before a certificate is asked for. Whether that is needed is the server's to know: what it does not take here
/// it refuses there, where policy needs it, and not otherwise.
async fn introduce(attester: Option<&Attester>, device: &str, proof: &Proof<'_>, place: Slot) {
    let Some(attester) = attester else { return };
    if let Err(error) = attester.introduce(device, proof, place).await {
        tracing::warn!(%error, "the server was not shown which TPM has the key");
    }
}
