//! The roots through a whole rotation, on a disk that loses power before and after each operation, and then once more on
//! the way back. After each start the server of that moment is believed, and what the server was told is held.

use std::time::Duration;

use fleetward_base::{SeededRng, Timestamp};
use fleetward_pki::anchors::follow;
use fleetward_pki::issue::Issuer;
use fleetward_pki::key::SoftKey;
use fleetward_pki::{Serial, Validity, ca};

use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An installation that goes from one root to the next, one stage after another.
struct Installation {
    /// The `--ca` file of the factory.
    ca: Vec<u8>,
    roots: [Certificate; 3],
    /// The list at each stage, and the roots by one of which the server of that stage is believed.
    stages: Vec<(Vec<Vec<u8>>, Vec<usize>)>,
}

fn installation() -> Installation {
    let validity = Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY * 3650) };
    let serial = |seed| Serial::generate(&SeededRng::new(seed));
    let made = [1, 2, 3].map(|number: u64| {
        let (key, _pkcs8) = SoftKey::generate();
        let root = ca::root(&format!("root {number}"), serial(number), validity, &key).expect("a root");
        (key, Certificate::parse(&root.der).expect("reads"))
    });
    let cross = |by: usize, of: usize| {
        let issuer = Issuer::new(&made[by].1, &made[by].0).expect("an issuer");
        ca::cross(&issuer, &made[of].1, serial(9), validity).expect("a cross").der
    };
    let der = |number: usize| made[number].1.der.clone();
    let mut stages = vec![(vec![der(0)], vec![0])];
    for (old, new) in [(0, 1), (1, 2)] {
        let both = vec![der(old), der(new), cross(old, new), cross(new, old)];
        // Publish: the old one vouches for the server. Issue: both do. Retired: the new one alone.
        stages.push((both.clone(), vec![old]));
        stages.push((both, vec![old, new]));
        stages.push((vec![der(new)], vec![new]));
    }
    let ca = encode_string("CERTIFICATE", LineEnding::LF, &der(0)).expect("PEM").into_bytes();
    Installation { ca, roots: made.map(|(_key, certificate)| certificate), stages }
}

impl Installation {
    fn held(&self, disk: &SimDisk) -> Vec<usize> {
        let held = open(disk, &self.ca).expect("something is always held").held();
        let number = |it: &Anchor| self.roots.iter().position(|root| root.der == it.certificate.der).expect("ours");
        held.iter().map(number).collect()
    }

    /// What the agent does with a list; what it told the server, or none where the power was cut first.
    fn look(&self, disk: &SimDisk, listed: &[Vec<u8>]) -> Option<Vec<usize>> {
        let held = open(disk, &self.ca).ok()?.held();
        let next = follow(&held, listed, NOW).unwrap_or_else(|| held.clone());
        if next != held {
            keep(disk, &self.ca, &next).ok()?;
        }
        disk.tick().ok()?;
        Some(self.held(disk))
    }
}

/// Where the power is cut: at which stage, at which operation, and on the way back.
#[derive(Clone, Copy, Debug)]
struct Fault {
    stage: usize,
    cut: Cut,
    again: Option<Cut>,
    loss: Loss,
}

/// Through all stages; the number of operations of each.
fn live(installation: &Installation, fault: Option<Fault>) -> Vec<u64> {
    let disk = SimDisk::new();
    let mut operations = Vec::new();
    for (number, (listed, believed)) in installation.stages.iter().enumerate() {
        let fault = fault.filter(|fault| fault.stage == number);
        let trusted = |when: &str, told: Option<&Vec<usize>>| {
            let held = installation.held(&disk);
            assert!(held.iter().any(|it| believed.contains(it)), "{fault:?} {when}: {held:?} believes nobody");
            assert!(told.is_none_or(|told| told.iter().all(|it| held.contains(it))), "{fault:?} {when}: {told:?}");
        };
        disk.cut_at(fault.map_or(Cut::Never, |fault| fault.cut));
        let mut told = installation.look(&disk, listed);
        operations.push(disk.operations());
        if let Some(fault) = fault.filter(|_| disk.is_dead()) {
            disk.reboot(fault.loss);
            trusted("after the cut", told.as_ref());
            if let Some(again) = fault.again {
                disk.cut_at(again);
                told = installation.look(&disk, listed);
                if disk.is_dead() {
                    disk.reboot(fault.loss);
                    trusted("after the second cut", told.as_ref());
                }
            }
            disk.cut_at(Cut::Never);
            told = installation.look(&disk, listed);
        }
        trusted("at the end", told.as_ref());
        assert!(told.is_some(), "{fault:?}: nothing cuts any more");
    }
    assert_eq!(installation.held(&disk), [2], "{fault:?}");
    operations
}

#[test]
fn no_cut_leaves_a_device_that_believes_nobody() {
    let installation = installation();
    let operations = live(&installation, None);
    assert_eq!(operations, [1, 6, 1, 6, 6, 1, 6]);
    for (stage, count) in operations.iter().enumerate() {
        for number in 0..*count {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 99)] {
                    live(&installation, Some(Fault { stage, cut, again: None, loss }));
                    for second in 0..*count {
                        let again = Some(Cut::After(second));
                        live(&installation, Some(Fault { stage, cut, again, loss }));
                    }
                }
            }
        }
    }
}

#[test]
fn another_ca_file_counts_and_a_damaged_one_is_put_aside() {
    let installation = installation();
    let disk = SimDisk::new();
    let second = Anchor { certificate: installation.roots[1].clone(), pinned: false };
    keep(&disk, &installation.ca, &[second]).expect("kept");
    assert_eq!(installation.held(&disk), [1]);
    let third = encode_string("CERTIFICATE", LineEnding::LF, &installation.roots[2].der).expect("PEM");
    let held = open(&disk, third.as_bytes()).expect("a file").held();
    assert_eq!(fingerprints(&held), [installation.roots[2].fingerprint()]);
    for bad in [&b"{"[..], b"", br#"{"format":9,"begun_with":"","anchors":[]}"#] {
        disk.write(FILE, bad).expect("writes");
        assert_eq!(installation.held(&disk), [0], "what the factory gave it");
    }
}
