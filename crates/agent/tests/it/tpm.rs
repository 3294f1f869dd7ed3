//! A TPM in software vouches for itself, for its keys and for its state; the verifier of the server is the judge.

use std::collections::BTreeSet;

use fleetward_agent::attester::Keys;
use fleetward_attest::tpm::quote::{self, BadQuote, Quote};
use fleetward_attest::tpm::{Handle, Public, certified, credential, endorsement, judge_attestation_key, template};
use fleetward_base::{Clock as _, Secret, SystemClock, SystemRng};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::swtpm::Swtpm;

#[test]
fn a_tpm_proves_its_maker_its_keys_and_its_state() {
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.open();
    let keys = Keys::open(&mut tpm).expect("keys");
    assert_eq!(judge_attestation_key(&keys.attestation_public), Ok(()));
    let again = Public::parse(keys.attestation_public.bytes()).expect("reads");
    assert_eq!(again, keys.attestation_public);

    let [issuing, root] =
        swtpm.maker().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM").to_vec());
    let certificate = keys.certificate.clone().expect("swtpm_setup made one");
    let now = SystemClock::new().now();
    let known = |roots: &[Vec<u8>]| {
        endorsement::verify(&keys.endorsement_public, &certificate, std::slice::from_ref(&issuing), roots, now)
    };
    assert!(known(std::slice::from_ref(&root)).is_ok(), "{:?}", known(&[root]));
    assert!(known(&[]).is_err());
    let other = endorsement::verify(&keys.attestation_public, &certificate, &[], std::slice::from_ref(&issuing), now);
    assert_eq!(other, Err(endorsement::BadEndorsement::OtherKey));

    let secret = Secret::new(b"a secret of thirty-two bytes....".to_vec());
    let made = credential::make(&keys.endorsement_public, &keys.attestation_public.name(), &secret, &SystemRng);
    let made = made.expect("an endorsement key");
    let got = keys.activate(&mut tpm, &made.blob, &made.secret, &[7; 16]).expect("activates");
    assert_eq!(&got, secret.expose());
    let other = credential::make(&keys.endorsement_public, &keys.endorsement_public.name(), &secret, &SystemRng);
    let other = other.expect("wraps");
    assert!(keys.activate(&mut tpm, &other.blob, &other.secret, &[7; 16]).is_err(), "for another name");
    assert!(credential::make(&keys.attestation_public, &keys.attestation_public.name(), &secret, &SystemRng).is_err());

    let pcrs = BTreeSet::from([0, 2, 4, 7, 10, 14, 16, 17, 23]);
    let nonce = [9; 32];
    let quoted = keys.quote(&mut tpm, &nonce, &pcrs).expect("quotes");
    let sent =
        Quote { statement: quoted.signed.statement, signature: quoted.signed.signature, pcrs: quoted.pcrs, log: None };
    let facts = quote::verify(&keys.attestation_public, &nonce, &pcrs, &sent).expect("holds");
    assert_eq!(facts.pcrs.len(), pcrs.len());
    assert_eq!(quote::verify(&keys.attestation_public, &[8; 32], &pcrs, &sent), Err(BadQuote::Nonce));
    let mut lying = sent.clone();
    lying.pcrs.insert(7, vec![1; 32]);
    assert_eq!(quote::verify(&keys.attestation_public, &nonce, &pcrs, &lying), Err(BadQuote::Pcrs));
    assert_eq!(quote::verify(&keys.endorsement_public, &nonce, &pcrs, &sent), Err(BadQuote::Signature));

    tpm.pcr_extend(7, &[5; 32]).expect("extends");
    let after = keys.quote(&mut tpm, &nonce, &pcrs).expect("quotes");
    assert_ne!(after.pcrs.get(&7), facts.pcrs.get(&7));
    keys.close(&mut tpm).expect("flushes");
}

#[test]
fn a_key_of_the_tpm_is_made_kept_used_and_certified() {
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.open();
    let (parent, _) = tpm.create_primary(Handle::OWNER, &template::storage_p256()).expect("a storage key");
    let made = tpm.create(parent, &template::device_p256()).expect("a key");
    let key = tpm.load(parent, &made).expect("loads");
    tpm.flush(parent).expect("flushes");
    let persistent = Handle(0x8101_0100);
    tpm.evict_control(key, persistent).expect("keeps");
    tpm.flush(key).expect("flushes");
    let public = tpm.read_public(persistent).expect("reads");
    assert_eq!(public.bytes(), made.public);

    let message = b"to be signed";
    let digest = fleetward_attest::tpm::Hash::Sha256.digest(&[message]);
    let signature = tpm.sign(persistent, &digest).expect("signs");
    assert_eq!(signature.verify(&public, message), Ok(()));
    assert!(signature.verify(&public, b"another").is_err());

    let keys = Keys::open(&mut tpm).expect("keys");
    let qualifying = certified::qualifying_data(b"nonce", &public.spki());
    let signed = keys.certify(&mut tpm, persistent, &qualifying).expect("certifies");
    let sent = certified::Certified { public: made.public, statement: signed.statement, signature: signed.signature };
    let judge = |nonce: &[u8], spki: &[u8]| certified::verify(&keys.attestation_public, nonce, spki, &sent);
    assert_eq!(judge(b"nonce", &public.spki()), Ok(()));
    assert_eq!(judge(b"other", &public.spki()), Err(certified::NotCertified::Nonce));
    assert_eq!(judge(b"nonce", &keys.attestation_public.spki()), Err(certified::NotCertified::Nonce));
    keys.close(&mut tpm).expect("flushes");
    tpm.evict_control(persistent, persistent).expect("takes away");
    assert!(tpm.read_public(persistent).is_err());
}

#[test]
fn an_endorsement_key_on_a_curve_gives_the_secret_out() {
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.open();
    let (endorsement, public) = tpm.create_primary(Handle::ENDORSEMENT, &template::endorsement_p256()).expect("a key");
    let (attestation, named) = tpm.create_primary(Handle::OWNER, &template::attestation_p256()).expect("a key");
    let secret = Secret::new(vec![3; 32]);
    let made = credential::make(&public, &named.name(), &secret, &SystemRng).expect("wraps");
    let got = tpm.activate_credential(attestation, endorsement, &made.blob, &made.secret, &[1; 16]).expect("activates");
    assert_eq!(&got, secret.expose());
    let mut cut = made.clone();
    *cut.blob.last_mut().expect("not empty") ^= 1;
    assert!(tpm.activate_credential(attestation, endorsement, &cut.blob, &cut.secret, &[2; 16]).is_err());
}
