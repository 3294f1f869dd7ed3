use std::collections::BTreeSet;

use fleetward_base::{SeededRng, TenantId};
use fleetward_pki::issue::Issuer;
use fleetward_pki::key::SoftKey;
use fleetward_pki::{Csr, Serial, Validity, ca, leaf};

use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};

const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A server that issues, with one token that one key may use, however often it asks.
struct Server {
    key: SoftKey,
    authority: Certificate,
    rng: SeededRng,
    token_used_for: Option<Vec<u8>>,
    issued: BTreeSet<String>,
    /// Serials that it refuses although it issued them.
    refused: BTreeSet<String>,
}

impl Server {
    fn new() -> Self {
        let (key, _pkcs8) = SoftKey::generate();
        let rng = SeededRng::new(1);
        let validity = Validity { not_before: START.minus(DAY), not_after: START.plus(DAY * 3650) };
        let root = ca::root("test", Serial::generate(&rng), validity, &key).unwrap();
        let authority = Certificate::parse(&root.der).unwrap();
        Self { key, authority, rng, token_used_for: None, issued: BTreeSet::new(), refused: BTreeSet::new() }
    }

    fn issue(&mut self, request: &[u8], now: Timestamp) -> Vec<u8> {
        let csr = fleetward_pki::csr::parse(request).unwrap();
        let issuer = Issuer::new(&self.authority, &self.key).unwrap();
        let (tenant, device): (TenantId, _) = ("acme".parse().unwrap(), "gw-1".parse().unwrap());
        let validity = Validity { not_before: now, not_after: now.plus(DAY * 90) };
        let serial = Serial::generate(&self.rng);
        let issued = leaf::issue(&issuer, &tenant, &device, &csr, serial, validity).unwrap();
        self.issued.insert(issued.serial.to_string());
        issued.der
    }

    fn enroll(&mut self, request: &[u8], now: Timestamp) -> Vec<u8> {
        let key = fleetward_pki::csr::parse(request).as_ref().map(Csr::spki).unwrap().to_vec();
        let used_for = self.token_used_for.get_or_insert_with(|| key.clone());
        assert_eq!(*used_for, key, "the one-time token was spent on a key that is lost");
        self.issue(request, now)
    }

    fn accepts(&self, credential: &Credential, now: Timestamp) -> bool {
        let serial = credential.certificate.serial.to_string();
        self.issued.contains(&serial) && !self.refused.contains(&serial) && credential.certificate.not_after > now
    }
}

/// Takes steps until there is nothing to do; false where the power was cut.
fn settle(disk: &SimDisk, server: &mut Server, now: Timestamp) -> bool {
    for _ in 0..20 {
        match step(disk, server, now) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(error) => {
                assert!(disk.is_dead(), "{error}");
                return false;
            }
        }
    }
    panic!("does not come to rest");
}

fn step(disk: &SimDisk, server: &mut Server, now: Timestamp) -> Result<bool, IdentityError> {
    let store = KeyStore::new(disk, "gw-1");
    if let Some(current) = store.current()? {
        assert!(server.accepts(&current, now), "the credential in use is not one that the server accepts");
    }
    match store.next_step(now, 0.5)? {
        Step::MakeKey(place) => store.make_key(place)?,
        Step::Enroll { place, request } => {
            disk.tick()?;
            let der = server.enroll(&request, now);
            disk.tick()?;
            store.keep_certificate(place, &der, now)?;
        }
        Step::Renew { place, request } => {
            disk.tick()?;
            let der = server.issue(&request, now);
            disk.tick()?;
            store.keep_certificate(place, &der, now)?;
        }
        Step::Prove(candidate) => {
            disk.tick()?;
            if server.accepts(&candidate, now) {
                store.adopt(candidate.place)?;
            } else {
                store.discard(candidate.place)?;
            }
        }
        Step::Rest { .. } => return Ok(false),
    }
    Ok(true)
}

/// First certificate, then a renewal, with a cut in one of them. Returns the operations of either.
fn story(cut_in_renewal: bool, cut: Cut, loss: Loss) -> (u64, u64) {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    let mut life = |now: Timestamp, cut: Cut| {
        disk.cut_at(cut);
        let whole = settle(&disk, &mut server, now);
        let operations = disk.operations();
        if !whole {
            disk.reboot(loss);
            assert!(settle(&disk, &mut server, now), "no second cut");
        }
        let current = KeyStore::new(&disk, "gw-1").current().unwrap().expect("a credential");
        (operations, current)
    };
    let (first, enrolled) = life(START, if cut_in_renewal { Cut::Never } else { cut });
    let later = START.plus(DAY * 61);
    let (second, renewed) = life(later, if cut_in_renewal { cut } else { Cut::Never });
    assert_ne!(renewed.certificate.serial, enrolled.certificate.serial);
    assert_ne!(renewed.certificate.spki, enrolled.certificate.spki, "a new key each time");
    assert_eq!(renewed.certificate.subject, enrolled.certificate.subject);
    (first, second)
}

#[test]
fn power_cut_before_and_after_each_step_of_enrolment_and_renewal() {
    let (first, second) = story(false, Cut::Never, Loss::All);
    assert!(first > 10 && second > 10, "{first} {second}");
    for (in_renewal, operations) in [(false, first), (true, second)] {
        for number in 0..operations {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 99)] {
                    story(in_renewal, cut, loss);
                }
            }
        }
    }
}

#[test]
fn a_new_certificate_that_the_server_refuses_leaves_the_old_one_in_use() {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    settle(&disk, &mut server, START);
    let old = KeyStore::new(&disk, "gw-1").current().unwrap().unwrap();
    let later = START.plus(DAY * 61);
    step(&disk, &mut server, later).unwrap();
    step(&disk, &mut server, later).unwrap();
    let newest = server.issued.iter().find(|s| **s != old.certificate.serial.to_string()).unwrap().clone();
    server.refused.insert(newest);
    step(&disk, &mut server, later).unwrap();
    let current = KeyStore::new(&disk, "gw-1").current().unwrap().unwrap();
    assert_eq!(current.certificate.serial, old.certificate.serial);
    settle(&disk, &mut server, later);
    let current = KeyStore::new(&disk, "gw-1").current().unwrap().unwrap();
    assert_ne!(current.certificate.serial, old.certificate.serial, "the next attempt has a key of its own");
}

#[test]
fn a_certificate_for_another_key_device_or_time_is_not_kept() {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    let store = KeyStore::new(&disk, "gw-1");
    store.make_key(Slot::A).unwrap();
    store.make_key(Slot::B).unwrap();
    let Step::Enroll { request, .. } = store.next_step(START, 0.5).unwrap() else { panic!("no key") };
    let der = server.issue(&request, START);
    let refusal = |store: KeyStore<'_>, place, now| store.keep_certificate(place, &der, now).unwrap_err().to_string();
    assert!(refusal(store, Slot::B, START).contains("another public key"));
    assert!(refusal(store, Slot::A, START.plus(DAY * 91)).contains("ended already"));
    assert!(refusal(KeyStore::new(&disk, "gw-2"), Slot::A, START).contains("another device"));
    assert!(store.keep_certificate(Slot::A, b"junk", START).is_err());
    store.keep_certificate(Slot::A, &der, START).unwrap();
    assert!(matches!(store.next_step(START, 0.5).unwrap(), Step::Prove(_)));
}

#[test]
fn renewal_comes_at_two_thirds_of_life_give_or_take_a_tenth() {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    settle(&disk, &mut server, START);
    let certificate = KeyStore::new(&disk, "gw-1").current().unwrap().unwrap().certificate;
    let days = |chance| renewal_time(&certificate, chance).since(START).as_secs_f64() / DAY.as_secs_f64();
    assert!((days(0.5) - 60.0).abs() < 0.1 && (days(0.0) - 51.0).abs() < 0.1 && (days(1.0) - 69.0).abs() < 0.1);
    let store = KeyStore::new(&disk, "gw-1");
    assert!(matches!(store.next_step(START.plus(DAY * 59), 0.5).unwrap(), Step::Rest { .. }));
    assert!(matches!(store.next_step(START.plus(DAY * 61), 0.5).unwrap(), Step::MakeKey(Slot::B)));
}

#[test]
fn a_fleet_that_was_made_in_one_hour_does_not_renew_in_one() {
    const FLEET: u32 = 10_000;
    const HOUR: Duration = Duration::from_secs(3600);
    let (disk, mut server) = (SimDisk::new(), Server::new());
    settle(&disk, &mut server, START);
    let made = KeyStore::new(&disk, "gw-1").current().unwrap().unwrap().certificate;
    let mut by_hour: std::collections::BTreeMap<i64, u32> = std::collections::BTreeMap::new();
    for number in 0..FLEET {
        // Certificates that differ as those of a fleet do: in serial number and in the moment of the hour.
        let late = HOUR.mul_f64(f64::from(number) / f64::from(FLEET));
        let (not_before, not_after) = (made.not_before.plus(late), made.not_after.plus(late));
        let mut certificate = made.clone();
        (certificate.serial, certificate.not_before, certificate.not_after) =
            (Serial::generate(&server.rng), not_before, not_after);
        let at = renewal_time(&certificate, place_in_window(&certificate));
        *by_hour.entry(at.secs() / 3600).or_default() += 1;
    }
    let most = *by_hour.values().max().unwrap();
    // 18 days are 432 hours: 23 in each, had they been dealt out by hand.
    assert!(by_hour.len() >= 430 && most <= 60, "{} hours, {most} in one", by_hour.len());
}

#[test]
fn what_was_replaced_is_no_candidate_and_what_waits_is_proven_at_once() {
    let (disk, mut server) = (SimDisk::new(), Server::new());
    settle(&disk, &mut server, START);
    let later = START.plus(DAY * 61);
    settle(&disk, &mut server, later);
    let store = KeyStore::new(&disk, "gw-1");
    let current = store.current().unwrap().unwrap();
    assert_eq!(current.place, Slot::B);
    assert!(disk.read("identity/a/certificate.pem").unwrap().is_some(), "the old one is kept");
    assert!(matches!(store.step(later, 0.5, false).unwrap(), Step::Rest { .. }), "and is not tried");
    assert!(matches!(store.step(later, 0.5, true).unwrap(), Step::MakeKey(Slot::A)), "it makes room when asked");
    store.make_key(Slot::A).unwrap();
    let Step::Renew { place, request } = store.step(later, 0.5, true).unwrap() else { panic!("a key is there") };
    let der = server.issue(&request, later);
    store.keep_certificate(place, &der, later).unwrap();
    // The request to renew is forgotten with the process; the certificate is not.
    assert!(matches!(store.step(later, 0.5, false).unwrap(), Step::Prove(_)));
}
