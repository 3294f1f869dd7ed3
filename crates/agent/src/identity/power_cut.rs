//! The key store against the ladder that the server goes by (`core::rotation`), on a disk that loses power: before and after
//! each operation of each part of a device's life, each time losing none, all or some of what was not synced, and then once
//! more on the way back; at once, and after the grace of the old certificate is over. No cut locks the device out.

use std::collections::BTreeMap;

use fleetward_base::{Rng as _, SeededRng, TenantId};
use fleetward_core::rotation::{Event, Held, Standing, Terms, decide};
use fleetward_pki::issue::Issuer;
use fleetward_pki::key::SoftKey;
use fleetward_pki::{Serial, Validity, ca, leaf};

use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};

const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const TERMS: Terms = Terms {
    proof_deadline: Duration::from_secs(3 * 24 * 3600),
    grace: Duration::from_secs(7 * 24 * 3600),
    grace_sessions: 3,
};

/// A server as the registry is: it answers the same request with the same certificate, and lets in what the ladder accepts.
struct Server {
    key: SoftKey,
    authority: Certificate,
    rng: SeededRng,
    held: BTreeMap<String, Held>,
    /// What was issued, by who asked with what, and for which key.
    answers: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    /// The one-time token, and the key that it was spent on.
    token: u32,
    spent: BTreeMap<u32, Vec<u8>>,
    now: Timestamp,
}

impl Server {
    fn new() -> Self {
        let (key, _pkcs8) = SoftKey::generate();
        let rng = SeededRng::new(1);
        let validity = Validity { not_before: START.minus(DAY), not_after: START.plus(DAY * 3650) };
        let root = ca::root("test", Serial::generate(&rng), validity, &key).unwrap();
        let authority = Certificate::parse(&root.der).unwrap();
        let (held, answers, spent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { key, authority, rng, held, answers, token: 0, spent, now: START }
    }

    fn happen(&mut self, event: Event<'_>) {
        let open: Vec<Held> = self.held.values().filter(|one| !one.standing.is_terminal()).cloned().collect();
        for step in decide(self.now, &open, event, &TERMS) {
            self.held.insert(step.after.serial.clone(), step.after);
        }
    }

    /// Time goes by, and the reconciler looks now and then.
    fn wait(&mut self, span: Duration) {
        for _ in 0..8 {
            self.now = self.now.plus(span / 8);
            self.happen(Event::Elapsed);
        }
    }

    fn accepts(&self, credential: &Credential) -> bool {
        let held = self.held.get(&credential.certificate.serial.to_string());
        held.is_some_and(|one| one.standing.is_accepted() && one.not_after >= self.now)
    }

    fn issue(&mut self, with: &str, request: &[u8], renews: bool) -> Vec<u8> {
        let csr = fleetward_pki::csr::parse(request).unwrap();
        let asked = (with.to_owned(), csr.spki().to_vec());
        if let Some(same) = self.answers.get(&asked) {
            return same.clone();
        }
        let issuer = Issuer::new(&self.authority, &self.key).unwrap();
        let (tenant, device): (TenantId, _) = ("acme".parse().unwrap(), "gw-1".parse().unwrap());
        let validity = Validity { not_before: self.now, not_after: self.now.plus(DAY * 90) };
        let issued = leaf::issue(&issuer, &tenant, &device, &csr, Serial::generate(&self.rng), validity).unwrap();
        let serial = issued.serial.to_string();
        self.held.insert(serial.clone(), Held::pending(serial.clone(), self.now, validity.not_after));
        self.happen(Event::Issued { serial: &serial, renews });
        self.answers.insert(asked, issued.der.clone());
        issued.der
    }

    fn enroll(&mut self, request: &[u8]) -> Vec<u8> {
        let key = fleetward_pki::csr::parse(request).unwrap().spki().to_vec();
        let spent = self.spent.entry(self.token).or_insert_with(|| key.clone());
        assert_eq!(*spent, key, "the one-time token was spent on a key that is lost");
        self.issue(&format!("token {}", self.token), request, false)
    }

    /// None where the certificate that is shown may not renew.
    fn renew(&mut self, current: &Credential, request: &[u8]) -> Option<Vec<u8>> {
        let serial = current.certificate.serial.to_string();
        let standing = self.held.get(&serial)?.standing;
        if !self.accepts(current) || standing == Standing::Superseded {
            return None;
        }
        self.happen(Event::Used { serial: &serial, at_once: false });
        Some(self.issue(&serial, request, true))
    }

    fn let_in(&mut self, credential: &Credential) -> bool {
        let accepted = self.accepts(credential);
        if accepted {
            self.happen(Event::Used { serial: &credential.certificate.serial.to_string(), at_once: false });
        }
        accepted
    }

    fn revoke_all(&mut self) {
        self.held.values_mut().for_each(|one| one.standing = Standing::Revoked);
        self.token += 1;
    }
}

/// A part of a device's life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// The first certificate.
    Enroll,
    /// At its time.
    Renew,
    /// Because the server asked, while the certificate before is in its grace.
    Asked,
    /// The server takes the new certificate back before it is used.
    Refused,
    /// Everything is revoked, and a new token comes.
    Anew,
}

const LIFE: [Part; 6] = [Part::Enroll, Part::Renew, Part::Asked, Part::Refused, Part::Renew, Part::Anew];

struct Device<'a> {
    disk: &'a SimDisk,
    server: &'a mut Server,
    part: Part,
    /// The certificate that the server asked to renew.
    asked: Option<String>,
    /// The server has taken one back.
    taken_back: bool,
}

impl Device<'_> {
    /// Takes steps until there is nothing to do; false where the power was cut.
    fn settle(&mut self) -> bool {
        for _ in 0..40 {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    assert!(self.disk.is_dead(), "{:?}: {error}", self.part);
                    return false;
                }
            }
        }
        panic!("{:?}: does not come to rest", self.part);
    }

    fn step(&mut self) -> Result<bool, IdentityError> {
        let store = KeyStore::new(self.disk, "gw-1");
        let current = store.current()?;
        let asked = self.asked.is_some() && current.as_ref().map(|c| c.certificate.serial.to_string()) == self.asked;
        match store.step(self.server.now, 0.5, asked)? {
            Step::MakeKey(place) => store.make_key(place)?,
            Step::Enroll { place, request } => {
                self.disk.tick()?;
                let der = self.server.enroll(&request);
                self.disk.tick()?;
                store.keep_certificate(place, &der, self.server.now)?;
            }
            Step::Renew { place, request } => {
                let current = current.expect("there is one");
                self.disk.tick()?;
                let Some(der) = self.server.renew(&current, &request) else {
                    return self.locked_out(&store, &current);
                };
                if self.part == Part::Refused && !std::mem::replace(&mut self.taken_back, true) {
                    let serial = Certificate::parse(&der).unwrap().serial.to_string();
                    self.server.held.get_mut(&serial).unwrap().standing = Standing::Revoked;
                    self.server.answers.retain(|_, answer| *answer != der);
                }
                self.disk.tick()?;
                store.keep_certificate(place, &der, self.server.now)?;
            }
            Step::Prove(candidate) => {
                self.disk.tick()?;
                let accepted = self.server.let_in(&candidate);
                self.disk.tick()?;
                if accepted { store.adopt(candidate.place)? } else { store.discard(candidate.place)? }
            }
            Step::Rest { .. } => {
                let current = current.expect("there is one");
                self.disk.tick()?;
                if !self.server.let_in(&current) {
                    return self.locked_out(&store, &current);
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The server does not want the certificate in use: only a new token brings the device back.
    fn locked_out(&self, store: &KeyStore<'_>, current: &Credential) -> Result<bool, IdentityError> {
        let standing = self.server.held[&current.certificate.serial.to_string()].standing;
        assert!(standing == Standing::Revoked && self.part == Part::Anew, "{:?}: locked out: {standing}", self.part);
        store.forget()?;
        Ok(true)
    }
}

/// Where the power is cut, how often, and what becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
struct Fault {
    part: usize,
    cut: Cut,
    again: Option<Cut>,
    loss: Loss,
    /// How long the device is away after the cut.
    away: Duration,
}

/// A whole life; the number of operations of each part of it.
fn live(fault: Option<Fault>) -> Vec<u64> {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    let mut operations = Vec::new();
    let mut serials = Vec::new();
    for (number, part) in LIFE.into_iter().enumerate() {
        let fault = fault.filter(|fault| fault.part == number);
        let mut asked = None;
        match part {
            Part::Enroll => {}
            // In the grace of the renewal before it.
            Part::Asked => {
                server.wait(DAY);
                asked = serials.last().cloned();
            }
            Part::Renew | Part::Refused => server.wait(DAY * 61),
            Part::Anew => {
                server.wait(DAY);
                server.revoke_all();
            }
        }
        disk.cut_at(fault.map_or(Cut::Never, |fault| fault.cut));
        let mut device = Device { disk: &disk, server: &mut server, part, asked, taken_back: false };
        let mut whole = device.settle();
        operations.push(disk.operations());
        if let Some(fault) = fault.filter(|_| !whole) {
            disk.reboot(fault.loss);
            device.server.wait(fault.away);
            if let Some(again) = fault.again {
                disk.cut_at(again);
                whole = device.settle();
                if !whole {
                    disk.reboot(fault.loss);
                }
            }
            if !whole {
                assert!(device.settle(), "{fault:?}: nothing cuts any more");
            }
        }
        let current = KeyStore::new(&disk, "gw-1").current().unwrap().expect("a credential");
        assert!(server.accepts(&current), "{part:?} {fault:?}: what is in use is not accepted");
        // The server asks again until the device has renewed; what was cut may have been the answer.
        let serial = current.certificate.serial.to_string();
        assert!(fault.is_some() || serials.last() != Some(&serial), "{part:?} {fault:?}: nothing new");
        serials.push(serial);
    }
    operations
}

#[test]
fn no_cut_locks_a_device_out() {
    let operations = live(None);
    assert_eq!(operations.len(), LIFE.len());
    assert!(operations.iter().all(|count| *count > 10), "{operations:?}");
    let dice = SeededRng::new(5);
    for (part, count) in operations.iter().enumerate() {
        for number in 0..*count {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for (loss, away) in [
                    (Loss::All, Duration::ZERO),
                    (Loss::Nothing, DAY * 8),
                    (Loss::Chance(number), DAY * 8),
                    (Loss::Chance(number + 99), Duration::ZERO),
                ] {
                    live(Some(Fault { part, cut, again: None, loss, away }));
                }
                let again = Some(Cut::After(dice.next_u64() % 12));
                live(Some(Fault { part, cut, again, loss: Loss::Chance(dice.next_u64()), away: DAY * 8 }));
            }
        }
    }
}
