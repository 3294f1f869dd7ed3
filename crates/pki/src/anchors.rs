//! Which roots a device is to hold after it was given a list of authorities (RFC 7030 §4.1.3).
//!
//! A list proves nothing by itself. A root in it is believed where the device holds it already, or where one that it
//! holds vouches for it: the name and the key of the new one in a certificate that the held one signed (NewWithOld of
//! RFC 4210 §4.4). A held root that is not in the list any more is given up where another one followed it or it came by
//! a list itself, but never the last one. Everything else that a list carries (issuing authorities, OldWithNew) is read
//! past.

use base::Timestamp;

use fleetward_base as base;

use crate::certificate::Certificate;
use crate::factory::split;
use crate::key;

/// Certificates of a list that are looked at, and roots that a device holds at most.
const LISTED: usize = 32;
pub const HELD: usize = 8;

impl Certificate {
    /// Whether `by` signed it, by name and by key. Says nothing of time or purpose.
    pub fn is_signed_by(&self, by: &Self) -> bool {
        let Ok(parts) = split(&self.der) else { return false };
        let Some(signature) = parts.signature.as_bytes() else { return false };
        self.issuer == by.subject && key::check_signature(&by.spki, &parts.algorithm, parts.tbs, signature).is_ok()
    }

    fn holds_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    fn is_same_authority(&self, other: &Self) -> bool {
        self.subject == other.subject && self.spki == other.spki
    }
}

/// A root that a device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub certificate: Certificate,
    /// Somebody gave it to the device, and nothing has followed it: it is kept whatever a list says. Whoever prepares a device for
    /// two servers gives it the roots of both.
    pub pinned: bool,
}

impl Anchor {
    /// One that somebody gave to the device.
    pub fn pinned(certificate: Certificate) -> Self {
        Self { certificate, pinned: true }
    }
}

/// The roots that a device which holds `held` is to hold from now on; `None` where the list has none that it may believe,
/// and everything stays as it is.
pub fn follow(held: &[Anchor], listed: &[Vec<u8>], now: Timestamp) -> Option<Vec<Anchor>> {
    let listed: Vec<Certificate> = listed
        .iter()
        .take(LISTED)
        .filter_map(|der| Certificate::parse(der).ok())
        .filter(|it| usable(it, now))
        .collect();
    let roots: Vec<&Certificate> = listed.iter().filter(|root| root.is_signed_by(root)).collect();
    let mut believed: Vec<&Certificate> =
        held.iter().map(|held| &held.certificate).filter(|held| held.holds_at(now)).collect();
    let mut followed: Vec<&Certificate> = Vec::new();
    // One that was just believed may vouch for the next: a device that was away for long meets two changes at once.
    loop {
        let vouches = |by: &Certificate, root: &Certificate| {
            by.is_same_authority(root)
                || listed.iter().any(|cross| cross.is_same_authority(root) && cross.is_signed_by(by))
        };
        let next = roots.iter().filter(|root| !believed.iter().any(|by| by.der == root.der)).find_map(|root| {
            let by = believed.iter().find(|by| vouches(by, root))?;
            Some((*root, *by))
        });
        let Some((root, by)) = next else { break };
        believed.push(root);
        followed.push(by);
    }
    let mut next: Vec<Anchor> = Vec::new();
    let stays = held.iter().filter(|held| held.pinned && !followed.contains(&&held.certificate));
    next.extend(stays.take(HELD).cloned());
    for root in roots {
        let known = next.iter().any(|kept| kept.certificate.der == root.der);
        if !known && believed.iter().any(|by| by.der == root.der) && next.len() < HELD {
            next.push(Anchor { certificate: root.clone(), pinned: false });
        }
    }
    let listed = next.iter().any(|kept| listed.iter().any(|root| root.der == kept.certificate.der));
    listed.then_some(next)
}

/// An authority that holds now, with a key that is no toy.
fn usable(certificate: &Certificate, now: Timestamp) -> bool {
    certificate.is_authority && certificate.holds_at(now) && key::judge(&certificate.spki).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base::SeededRng;

    use super::*;
    use crate::ca;
    use crate::issue::{Issuer, Serial, Validity};
    use crate::key::SoftKey;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    struct Root {
        key: SoftKey,
        certificate: Certificate,
    }

    fn validity() -> Validity {
        Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY * 365) }
    }

    fn root(name: &str, seed: u64, validity: Validity) -> Root {
        let (key, _pkcs8) = SoftKey::generate();
        let made = ca::root(name, Serial::generate(&SeededRng::new(seed)), validity, &key).expect("a root");
        Root { key, certificate: Certificate::parse(&made.der).expect("reads") }
    }

    fn vouch(by: &Root, of: &Root) -> Vec<u8> {
        let issuer = Issuer::new(&by.certificate, &by.key).expect("an issuer");
        ca::cross(&issuer, &of.certificate, Serial::generate(&SeededRng::new(9)), validity()).expect("a cross").der
    }

    /// What is held afterwards, by its place in `all`; nothing is pinned.
    fn check(held: &[&Root], listed: &[&[u8]], all: &[&Root], expect: Option<&[usize]>) {
        let held = held.iter().map(|root| Anchor { certificate: root.certificate.clone(), pinned: false });
        let found = look(&held.collect::<Vec<_>>(), listed, all);
        assert_eq!(found.map(|next| next.iter().map(|(number, _)| *number).collect::<Vec<_>>()).as_deref(), expect);
    }

    fn look(held: &[Anchor], listed: &[&[u8]], all: &[&Root]) -> Option<Vec<(usize, bool)>> {
        let listed: Vec<Vec<u8>> = listed.iter().map(|der| der.to_vec()).collect();
        let number = |it: &Certificate| all.iter().position(|root| root.certificate.der == it.der).expect("ours");
        let next = follow(held, &listed, NOW)?;
        Some(next.iter().map(|kept| (number(&kept.certificate), kept.pinned)).collect())
    }

    #[test]
    fn what_somebody_gave_stays_until_something_follows_it() {
        let (a, b, other) = (root("a", 1, validity()), root("b", 2, validity()), root("other", 3, validity()));
        let all = [&a, &b, &other];
        let der = |root: &Root| root.certificate.der.clone();
        let b_by_a = vouch(&a, &b);
        let given: Vec<Anchor> = [&a, &other].iter().map(|root| Anchor::pinned(root.certificate.clone())).collect();
        // The list of one server says nothing of the other's.
        assert_eq!(look(&given, &[&der(&a)], &all), Some(vec![(0, true), (2, true)]));
        let both = follow(&given, &[der(&a), der(&b), b_by_a], NOW).expect("b follows a");
        let found: Vec<bool> = both.iter().map(|kept| kept.pinned).collect();
        assert_eq!((both.len(), found), (3, vec![true, false, false]), "a is followed from now on");
        assert_eq!(look(&both, &[&der(&b)], &all), Some(vec![(2, true), (1, false)]), "and given up");
        assert_eq!(look(&both, &[&der(&a)], &all), Some(vec![(2, true), (0, false)]), "or b, where it was called off");
        // A list of somebody else's alone changes nothing, whoever is pinned.
        let stranger = root("stranger", 4, validity());
        assert_eq!(look(&given, &[&der(&stranger)], &all), None);
    }

    #[test]
    fn a_root_is_followed_where_a_held_one_vouches_for_it() {
        let (a, b, c) = (root("a", 1, validity()), root("b", 2, validity()), root("c", 3, validity()));
        let all = [&a, &b, &c];
        let der = |root: &Root| root.certificate.der.clone();
        let (a_by_b, b_by_a, c_by_b, c_by_c) = (vouch(&b, &a), vouch(&a, &b), vouch(&b, &c), der(&c));
        // While one follows the other; after it; and where it was called off.
        check(&[&a], &[&der(&a), &der(&b), &b_by_a, &a_by_b], &all, Some(&[0, 1]));
        check(&[&a, &b], &[&der(&b)], &all, Some(&[1]));
        check(&[&a, &b], &[&der(&a)], &all, Some(&[0]));
        check(&[&a], &[&der(&a)], &all, Some(&[0]));
        // Two changes at once, in whatever order they are listed.
        check(&[&a], &[&c_by_c, &c_by_b, &der(&b), &b_by_a], &all, Some(&[2, 1]));
        // Nobody vouches: for the new one, for the one between, or it is vouched for by the wrong one.
        check(&[&a], &[&der(&a), &der(&b)], &all, Some(&[0]));
        check(&[&a], &[&der(&b), &a_by_b], &all, None);
        check(&[&a], &[&c_by_c, &c_by_b], &all, None);
        // The voucher alone is no root, and an empty list changes nothing.
        check(&[&a], &[&b_by_a], &all, None);
        check(&[&a], &[], &all, None);
        check(&[], &[&der(&a)], &all, None);
    }

    #[test]
    fn what_is_over_or_forged_counts_for_nothing() {
        let past = Validity { not_before: NOW.minus(DAY * 9), not_after: NOW.minus(DAY) };
        let (a, b) = (root("a", 1, validity()), root("b", 2, validity()));
        let (over, all) = (root("over", 3, past), [&a, &b]);
        let der = |root: &Root| root.certificate.der.clone();
        let issuer = Issuer::new(&over.certificate, &over.key).expect("an issuer");
        let by_over = ca::cross(&issuer, &b.certificate, Serial::generate(&SeededRng::new(9)), past);
        check(&[&over], &[&der(&b), &by_over.expect("a cross").der], &all, None);
        check(&[&a], &[&der(&a), &der(&over), &vouch(&a, &b)], &all, Some(&[0]));
        let mut forged = vouch(&a, &b);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        check(&[&a], &[&der(&a), &der(&b), &forged], &all, Some(&[0]));
        // An impostor of the same name, with a key of its own.
        let impostor = root("a", 4, validity());
        check(&[&a], &[&der(&b), &vouch(&impostor, &b)], &all, None);
        check(&[&a], &[b"junk", &der(&a)], &all, Some(&[0]));
    }

    #[test]
    fn the_same_key_under_a_new_certificate_is_the_same_authority() {
        let a = root("a", 1, validity());
        let again = ca::root("a", Serial::generate(&SeededRng::new(7)), validity(), &a.key).expect("a root");
        let next = follow(&[Anchor::pinned(a.certificate)], std::slice::from_ref(&again.der), NOW);
        assert_eq!(next.map(|next| next.iter().map(|it| it.certificate.der.clone()).collect()), Some(vec![again.der]));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn no_list_breaks_it(
            junk in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
            at in 0_usize..400,
            value in proptest::num::u8::ANY,
        ) {
            let a = root("a", 1, validity());
            let mut spoiled = a.certificate.der.clone();
            if let Some(byte) = spoiled.get_mut(at) {
                *byte = value;
            }
            let whole = spoiled == a.certificate.der;
            let held = Anchor { certificate: a.certificate.clone(), pinned: false };
            let next = follow(&[held], &[junk, spoiled], NOW);
            // Whatever was spoiled, nothing is held but what was signed with the held key.
            assert!(whole || next.is_none_or(|next| next.iter().all(|it| it.certificate.spki == a.certificate.spki)));
        }
    }
}
