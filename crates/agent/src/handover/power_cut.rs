//! A device that goes from one tenant to another, on a disk that loses power before and after each operation and before and
//! after each word with the server, and then once more on the way back. It is never without a way in: either its old
//! identity works, or the order on its disk holds a token that does; and what the old tenant left is gone when it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_base::{SeededRng, TenantId, Timestamp};
use fleetward_pki::certificate::Certificate;
use fleetward_pki::issue::Issuer;
use fleetward_pki::key::SoftKey;
use fleetward_pki::{Serial, Validity, ca, csr, leaf};

use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};
use crate::identity::{Credential, Step};
use crate::record::{Firmware, Image, Outcome, Slot, Verdict};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const IMAGE: &[u8] = b"image that runs";

/// A tenant: whom it lets in, and with what one enrols.
struct Tenant {
    name: &'static str,
    device: &'static str,
    key: SoftKey,
    authority: Certificate,
    accepted: BTreeSet<String>,
    answers: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The token that counts, and the key that it was spent on.
    token: Option<String>,
    spent: Option<Vec<u8>>,
    issued: u64,
}

impl Tenant {
    fn new(name: &'static str, device: &'static str) -> Self {
        let (key, _pkcs8) = SoftKey::generate();
        let validity = Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY * 365) };
        let root = ca::root(name, Serial::generate(&SeededRng::new(1)), validity, &key).expect("a root");
        let authority = Certificate::parse(&root.der).expect("reads");
        let (accepted, answers) = (BTreeSet::new(), BTreeMap::new());
        Self { name, device, key, authority, accepted, answers, token: None, spent: None, issued: 0 }
    }

    fn lets_in(&self, credential: &Credential) -> bool {
        self.accepted.contains(&credential.certificate.fingerprint())
    }

    fn enroll(&mut self, token: &str, request: &[u8]) -> Option<Vec<u8>> {
        let csr = csr::parse(request).expect("a request");
        let key = csr.spki().to_vec();
        if self.token.as_deref() != Some(token) || self.spent.as_ref().is_some_and(|spent| *spent != key) {
            return None;
        }
        self.spent = Some(key.clone());
        if let Some(same) = self.answers.get(&key) {
            return Some(same.clone());
        }
        self.issued += 1;
        let issuer = Issuer::new(&self.authority, &self.key).expect("an issuer");
        let (tenant, device): (TenantId, _) =
            (self.name.parse().expect("a tenant"), self.device.parse().expect("a name"));
        let validity = Validity { not_before: NOW, not_after: NOW.plus(DAY * 90) };
        let serial = Serial::generate(&SeededRng::new(self.issued));
        let der = leaf::issue(&issuer, &tenant, &device, &csr, serial, validity).expect("issued").der;
        self.accepted.insert(Certificate::parse(&der).expect("reads").fingerprint());
        self.answers.insert(key, der.clone());
        Some(der)
    }
}

/// How the transfer stands at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// Both have agreed, and the device is waited for.
    Waits,
    CalledOff,
    Done,
}

struct World {
    disk: SimDisk,
    acme: Tenant,
    zenith: Tenant,
    transfer: Transfer,
    orders: u32,
}

impl World {
    /// A device of acme's with a life behind it.
    fn new() -> Self {
        let (disk, mut acme, zenith) = (SimDisk::new(), Tenant::new("acme", "gw-1"), Tenant::new("zenith", "gw-2"));
        acme.token = Some("old".to_owned());
        let store = KeyStore::new(&disk, "gw-1");
        store.make_key(Slot::A).expect("a key");
        let Ok(Step::Enroll { place, request }) = store.next_step(NOW, 0.5) else { panic!("it enrols") };
        let der = acme.enroll("old", &request).expect("issued");
        store.keep_certificate(place, &der, NOW).expect("kept");
        store.adopt(place).expect("adopted");
        let firmware = |version: &str, bytes: &[u8]| Firmware {
            name: "os".into(),
            version: version.into(),
            image: Some(Image { sha256: Sha256::of(bytes), size: bytes.len() as u64 }),
        };
        let mut record = Record::factory("1.0");
        record.set_slot(Slot::A, Some(firmware("2.0", IMAGE)));
        record.set_slot(Slot::B, Some(firmware("1.9", b"image before")));
        let outcome = Outcome {
            job: "acme's".into(),
            verdict: Verdict::Succeeded,
            step: String::new(),
            reason: String::new(),
            acknowledged: false,
        };
        record.finished.push(outcome);
        record.save(&disk).expect("saved");
        for (path, bytes) in [
            (slots::image_path(Slot::A, Sha256::of(IMAGE)), IMAGE),
            ("slots/a/manifest.json".to_owned(), b"acme's".as_slice()),
            (slots::image_path(Slot::B, Sha256::of(b"image before")), b"image before"),
            ("slots/b/signature".to_owned(), b"acme's"),
            (shadow::FILE.to_owned(), b"acme's"),
            ("led".to_owned(), b"acme's"),
            (TOKEN_USED.to_owned(), b"acme's"),
            (clock::FILE.to_owned(), b"1800000000"),
        ] {
            disk::replace(&disk, &path, bytes).expect("written");
        }
        Self { disk, acme, zenith, transfer: Transfer::Waits, orders: 0 }
    }

    /// Takes steps until there is nothing to do; false where the power was cut.
    fn settle(&mut self) -> bool {
        for _ in 0..40 {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => {
                    assert!(self.disk.is_dead(), "{error}");
                    return false;
                }
            }
        }
        panic!("does not come to rest");
    }

    fn step(&mut self) -> Result<bool, IdentityError> {
        let here = Home { tenant: Some("acme".into()), device: "gw-1".into() };
        let Some(handover) = Handover::load(&self.disk)? else {
            self.disk.tick()?;
            if self.transfer != Transfer::Waits {
                return Ok(false);
            }
            self.orders += 1;
            let order = Order {
                transfer: "t".into(),
                tenant: "zenith".into(),
                device: "gw-2".into(),
                token: format!("new {}", self.orders),
            };
            self.zenith.token = Some(order.token.clone());
            self.disk.tick()?;
            let given = Given { home: here.clone(), ..Given::default() };
            Handover::begin(&self.disk, given, here, order)?;
            return Ok(true);
        };
        match handover.phase {
            Phase::Wiping => handover.wipe_state(&self.disk).map(drop)?,
            Phase::Wiped => self.confirm(handover)?,
            Phase::Moved => handover.wipe_identity(&KeyStore::new(&self.disk, "gw-1"), &self.disk).map(drop)?,
            Phase::Enrolling | Phase::Settled => return self.live_there(handover),
        }
        Ok(true)
    }

    /// As `Agent::confirmed` takes the server's word.
    fn confirm(&mut self, handover: Handover) -> Result<(), IdentityError> {
        let held = KeyStore::new(&self.disk, "gw-1").current()?;
        self.disk.tick()?;
        let known = held.is_some_and(|held| self.acme.lets_in(&held));
        let called_off = known && self.transfer == Transfer::CalledOff;
        if known && self.transfer == Transfer::Waits {
            self.transfer = Transfer::Done;
            self.acme.accepted.clear();
        }
        self.disk.tick()?;
        if called_off {
            Handover::cancel(&self.disk)?
        } else {
            handover.moved(&self.disk).map(drop)?
        }
        Ok(())
    }

    fn live_there(&mut self, handover: Handover) -> Result<bool, IdentityError> {
        let store = KeyStore::new(&self.disk, "gw-2");
        match store.next_step(NOW, 0.5)? {
            Step::MakeKey(place) => store.make_key(place)?,
            Step::Enroll { place, request } => {
                self.disk.tick()?;
                let der = self.zenith.enroll(&handover.order.token, &request).expect("the token of the order counts");
                self.disk.tick()?;
                store.keep_certificate(place, &der, NOW)?;
            }
            Step::Prove(candidate) => {
                self.disk.tick()?;
                assert!(self.zenith.lets_in(&candidate));
                store.adopt(candidate.place)?;
                handover.settle(&self.disk)?;
            }
            Step::Rest { .. } if handover.phase == Phase::Enrolling => handover.settle(&self.disk).map(drop)?,
            Step::Rest { .. } => return Ok(false),
            Step::Renew { .. } => panic!("it is new"),
        }
        Ok(true)
    }

    /// Whatever was cut: there is a way in.
    fn has_a_way_in(&self, fault: Fault) {
        let handover = Handover::load(&self.disk).expect("reads");
        let old = KeyStore::new(&self.disk, "gw-1").current().ok().flatten();
        let old = old.is_some_and(|held| self.acme.lets_in(&held));
        let token = handover.is_some_and(|handover| {
            self.zenith.token.as_ref() == Some(&handover.order.token) && self.transfer != Transfer::CalledOff
        });
        let new = KeyStore::new(&self.disk, "gw-2").current().ok().flatten();
        let new = new.is_some_and(|held| self.zenith.lets_in(&held));
        assert!(old || token || new, "{fault:?}: stranded");
    }

    fn files(&self) -> Vec<String> {
        let folders = ["", "slots/a", "slots/b", "identity"];
        folders.iter().flat_map(|folder| self.disk.list(folder).expect("lists")).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    cut: Cut,
    again: Option<Cut>,
    loss: Loss,
    /// The giving tenant calls it off while the device is without power.
    called_off: bool,
}

fn go(fault: Option<Fault>) -> u64 {
    let mut world = World::new();
    world.disk.cut_at(fault.map_or(Cut::Never, |fault| fault.cut));
    let mut whole = world.settle();
    let operations = world.disk.operations();
    if let Some(fault) = fault.filter(|_| !whole) {
        world.disk.reboot(fault.loss);
        if fault.called_off && world.transfer == Transfer::Waits {
            (world.transfer, world.zenith.token) = (Transfer::CalledOff, None);
        }
        world.has_a_way_in(fault);
        if let Some(again) = fault.again {
            world.disk.cut_at(again);
            whole = world.settle();
            if !whole {
                world.disk.reboot(fault.loss);
                world.has_a_way_in(fault);
            }
        }
        assert!(whole || world.settle(), "{fault:?}: nothing cuts any more");
    }
    if world.transfer == Transfer::CalledOff {
        let held = KeyStore::new(&world.disk, "gw-1").current().expect("reads").expect("a credential");
        assert!(world.acme.lets_in(&held), "{fault:?}: it stays where it is");
        assert_eq!(Handover::load(&world.disk).expect("reads"), None, "{fault:?}");
        let wiped = world.disk.read("led").expect("reads").is_none();
        assert_eq!(Applied::load(&world.disk).expect("reads").lost, wiped, "{fault:?}: what it lost is applied again");
        return operations;
    }
    let held = KeyStore::new(&world.disk, "gw-2").current().expect("reads").expect("a credential");
    assert!(world.zenith.lets_in(&held), "{fault:?}");
    let handover = Handover::load(&world.disk).expect("reads").expect("it is kept");
    assert_eq!((handover.phase, handover.order.token.as_str()), (Phase::Settled, ""), "{fault:?}");
    let record = Record::load(&world.disk).expect("reads").expect("a record");
    assert_eq!((record.version(), record.finished.len(), record.b.is_none()), ("2.0", 0, true), "{fault:?}");
    let mut left = world.files();
    left.retain(|name| !name.ends_with(".new"));
    left.sort();
    let mut expect = vec![format!("{}.image", Sha256::of(IMAGE)), "clock".into(), "current".into()];
    expect.extend(["handover".into(), "record".into()]);
    expect.sort();
    assert_eq!(left, expect, "{fault:?}");
    operations
}

#[test]
fn no_cut_strands_a_device_on_its_way() {
    let operations = go(None);
    assert!(operations > 40, "{operations}");
    for number in 0..operations {
        for cut in [Cut::Before(number), Cut::After(number)] {
            for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 99)] {
                for called_off in [false, true] {
                    go(Some(Fault { cut, again: None, loss, called_off }));
                    let again = Some(Cut::After((number * 7 + 3) % 23));
                    go(Some(Fault { cut, again, loss, called_off }));
                }
            }
        }
    }
}

#[test]
fn a_changed_command_line_counts_and_old_signers_do_not() {
    let mut world = World::new();
    assert!(world.settle());
    let handover = Handover::load(&world.disk).expect("reads").expect("it is kept");
    assert_eq!(handover.home(), Home { tenant: Some("zenith".into()), device: "gw-2".into() });
    let said = Home { tenant: None, device: "gw-3".into() };
    let left = handover.give_way(said.clone(), &world.disk).expect("kept").expect("it has moved");
    assert_eq!((left.home(), left.given.home.clone(), left.has_moved()), (said.clone(), said.clone(), true));
    assert_eq!(Handover::load(&world.disk).expect("reads"), Some(left));

    let world = World::new();
    let order = Order { transfer: "t".into(), tenant: "zenith".into(), device: "gw-2".into(), token: "x".into() };
    let begun = Handover::begin(&world.disk, Given::default(), Home::default(), order).expect("kept");
    assert_eq!(begun.give_way(said, &world.disk).expect("forgotten"), None);
    assert_eq!(Handover::load(&world.disk).expect("reads"), None);
}
