use super::*;
use base::SeededRng;
use fleetward_pki::Signer;

fn vault(seed: u64) -> Vault {
    Vault::new(&MasterKey::random(&SeededRng::new(seed)))
}

#[test]
fn opens_what_it_sealed_where_it_was_sealed() {
    let (vault, rng) = (vault(1), SeededRng::new(9));
    for plaintext in [&b""[..], b"x", &[0xa5; 5000]] {
        let sealed = vault.seal(&rng, Purpose::Secret, &["acme", "name"], plaintext);
        assert_eq!(vault.open(Purpose::Secret, &["acme", "name"], &sealed).expect("opens").expose(), plaintext);
    }
}

#[test]
fn a_moved_seal_is_broken() {
    let (vault, rng) = (vault(1), SeededRng::new(9));
    let sealed = vault.seal(&rng, Purpose::Secret, &["acme", "name"], b"plain");
    let broken = Some(OpenError::Broken);
    assert_eq!(vault.open(Purpose::Secret, &["bcme", "name"], &sealed).err(), broken);
    assert_eq!(vault.open(Purpose::Secret, &["acme"], &sealed).err(), broken);
    assert_eq!(vault.open(Purpose::Secret, &["acmen", "ame"], &sealed).err(), broken);
    assert_eq!(vault.open(Purpose::Response, &["acme", "name"], &sealed).err(), broken);
}

#[test]
fn a_seal_of_another_master_key_says_so() {
    let rng = SeededRng::new(9);
    let (mine, other) = (vault(1), vault(2));
    let sealed = other.seal(&rng, Purpose::Secret, &["acme"], b"plain");
    let refused = mine.open(Purpose::Secret, &["acme"], &sealed).expect_err("another key");
    assert_eq!(refused, OpenError::WrongKey { sealed_under: other.key_id(), in_use: mine.key_id() });
}

#[test]
fn no_changed_or_shortened_seal_opens() {
    let (vault, rng) = (vault(1), SeededRng::new(9));
    let sealed = vault.seal(&rng, Purpose::Secret, &["acme"], b"plain");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(vault.open(Purpose::Secret, &["acme"], &changed).is_err(), "byte {at}");
        assert!(vault.open(Purpose::Secret, &["acme"], &sealed[..at]).is_err(), "length {at}");
    }
}

#[test]
fn two_seals_of_the_same_are_different() {
    let (vault, rng) = (vault(1), SeededRng::new(9));
    let seal = || vault.seal(&rng, Purpose::Secret, &["acme"], b"plain");
    assert_ne!(seal(), seal());
}

#[test]
fn a_sealed_key_signs_again_and_does_not_show() {
    let (vault, rng) = (vault(1), SeededRng::new(9));
    let made = vault.new_signing_key(&rng, "acme", "issuing");
    assert_eq!(made.name, format!("issuing-{}", made.mark));
    let again = vault.signer("acme", &made.name, &made.sealed).expect("opens");
    assert_eq!(made.key.public_spki(), again.public_spki());
    assert!(vault.signer("bcme", &made.name, &made.sealed).is_err());
    let not_a_key = vault.seal(&rng, Purpose::SigningKey, &["acme", "issuing"], b"nonsense");
    assert_eq!(vault.signer("acme", "issuing", &not_a_key).err(), Some(crate::SignerError::NotAKey));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn opening_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        proptest::prop_assert!(vault(1).open(Purpose::Secret, &["acme"], &bytes).is_err());
    }
}
