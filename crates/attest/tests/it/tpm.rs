//! What swtpm 0.7.1 and tpm2-tools 5.4 made, kept in `golden`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fleetward_attest::Measurement;
use fleetward_attest::evidence::{Bytes, CertifiedKey, Evidence, Tpm2};
use fleetward_attest::tpm::certified::{self, Certified, NotCertified};
use fleetward_attest::tpm::endorsement::{self, BadEndorsement};
use fleetward_attest::tpm::log::{self, BadLog};
use fleetward_attest::tpm::quote::{self, BadQuote, Quote};
use fleetward_attest::tpm::{Public, Signature, Statement, attribute, credential, judge_attestation_key};
use fleetward_attest::{Activated, Known, Unproven, verify};
use fleetward_base::{Secret, SeededRng, Timestamp};

/// 2026-11-28, the day after the maker's certificate was made.
const NOW: i64 = 1_795_824_000;
const NONCE: &[u8] = b"golden nonce of thirty-two bytes";

pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn public(name: &str) -> Public {
    Public::parse(&golden(name)).expect("a public area")
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

fn wanted() -> BTreeSet<u8> {
    [0, 2, 4, 7].into()
}

fn quoted(pcrs: &[u8]) -> Quote {
    let values = golden("pcrs.bin");
    let all: BTreeMap<u8, Vec<u8>> =
        [0, 2, 4, 7].into_iter().zip(values.chunks(32)).map(|(pcr, value)| (pcr, value.to_vec())).collect();
    let file = if pcrs.len() == 4 { "quote" } else { "quote_rsa" };
    Quote {
        statement: golden(&format!("{file}.msg")),
        signature: golden(&format!("{file}.sig")),
        pcrs: all.into_iter().filter(|(pcr, _)| pcrs.contains(pcr)).collect(),
        log: None,
    }
}

#[test]
fn keys_have_the_names_and_forms_that_the_tools_say() {
    for (key, name) in [("ak.pub", "ak.name"), ("akr.pub", "akr.name")] {
        assert_eq!(public(key).name(), golden(name), "{key}");
        assert_eq!(judge_attestation_key(&public(key)), Ok(()));
    }
    assert_eq!(public("dev.pub").spki(), golden("dev.spki"));
    assert!(judge_attestation_key(&public("dev.pub")).is_err(), "it signs anything");
    assert!(judge_attestation_key(&public("ek.pub")).is_err(), "it signs nothing");
    assert!(public("ek.pub").has(attribute::RESTRICTED | attribute::DECRYPT));
}

#[test]
fn an_endorsement_key_comes_from_its_maker() {
    let (key, certificate, maker) = (public("ek.pub"), golden("ek.der"), golden("maker.der"));
    let roots = [maker.clone()];
    let found = endorsement::verify(&key, &certificate, &[], &roots, now()).expect("its maker is known");
    assert_eq!(found, fleetward_pki::certificate::fingerprint(&maker));
    // What is read from NV memory is padded.
    let padded = [certificate.as_slice(), &[0xff; 64]].concat();
    assert!(endorsement::verify(&key, &padded, &[], &roots, now()).is_ok());
    let refused = |key: &Public, certificate: &[u8], roots: &[Vec<u8>], now| {
        endorsement::verify(key, certificate, &[], roots, now).expect_err("refused")
    };
    assert!(matches!(refused(&key, &certificate, &[], now()), BadEndorsement::Chain(_)));
    assert!(matches!(refused(&key, &certificate, &roots, Timestamp::EPOCH), BadEndorsement::Chain(_)));
    assert_eq!(refused(&public("ak.pub"), &certificate, &roots, now()), BadEndorsement::OtherKey);
    assert_eq!(refused(&key, &certificate[..99], &roots, now()), BadEndorsement::Malformed);
    assert_eq!(refused(&key, &maker, &roots, now()), BadEndorsement::OtherKey);
}

#[test]
fn quotes_hold_by_ecdsa_and_by_rsa() {
    let facts = quote::verify(&public("ak.pub"), NONCE, &wanted(), &quoted(&[0, 2, 4, 7])).expect("holds");
    assert_eq!(facts.pcrs.len(), 4);
    assert!(quote::verify(&public("akr.pub"), NONCE, &[0].into(), &quoted(&[0, 4])).is_ok(), "more than was wanted");
    let fewer = quote::verify(&public("akr.pub"), NONCE, &wanted(), &quoted(&[0, 4]));
    assert_eq!(fewer.map(drop), Err(BadQuote::Missing(2)), "a PCR that was asked for is left out");
    let judge = |change: &dyn Fn(&mut Quote)| {
        let mut quote = quoted(&[0, 2, 4, 7]);
        change(&mut quote);
        quote::verify(&public("ak.pub"), NONCE, &wanted(), &quote).map(drop)
    };
    assert_eq!(judge(&|_| {}), Ok(()));
    assert_eq!(judge(&|quote| quote.statement[50] ^= 1), Err(BadQuote::Signature));
    assert_eq!(judge(&|quote| quote.signature[20] ^= 1), Err(BadQuote::Signature));
    assert_eq!(judge(&|quote| quote.pcrs.get_mut(&7).unwrap()[0] ^= 1), Err(BadQuote::Pcrs));
    assert_eq!(judge(&|quote| drop(quote.pcrs.remove(&7))), Err(BadQuote::Pcrs));
    assert_eq!(judge(&|quote| drop(quote.pcrs.insert(9, vec![0; 32]))), Err(BadQuote::Pcrs));
    assert_eq!(judge(&|quote| quote.pcrs.get_mut(&7).unwrap().push(0)), Err(BadQuote::Pcrs));
    assert_eq!(judge(&|quote| quote.statement = golden("cert.msg")), Err(BadQuote::Signature));
    let certification = Quote { statement: golden("cert.msg"), signature: golden("cert.sig"), ..quoted(&[0, 2, 4, 7]) };
    assert_eq!(
        quote::verify(&public("ak.pub"), &[0, 0xff, 0x55, 0xaa], &wanted(), &certification).map(drop),
        Err(BadQuote::NotAQuote)
    );
    assert_eq!(
        quote::verify(&public("ak.pub"), b"other", &wanted(), &quoted(&[0, 2, 4, 7])).map(drop),
        Err(BadQuote::Nonce)
    );
}

#[test]
fn a_log_leads_to_the_values_or_is_found_out() {
    let with = |log: Vec<u8>| {
        let quote = Quote { log: Some(log), ..quoted(&[0, 2, 4, 7]) };
        quote::verify(&public("ak.pub"), NONCE, &wanted(), &quote)
    };
    let events = with(golden("events.log")).expect("holds").events.expect("a log");
    assert_eq!(events.iter().map(|event| event.pcr).collect::<Vec<_>>(), [4, 4]);
    let whole = golden("events.log");
    let header = 32 + 33;
    let one = (whole.len() - header) / 2;
    assert_eq!(with(whole[..header + one].to_vec()).map(drop), Err(BadQuote::Replay(4)), "the last event left out");
    let mut other = whole.clone();
    other[header + 20] ^= 1;
    assert_eq!(with(other).map(drop), Err(BadQuote::Replay(4)));
    assert!(matches!(with(whole[..whole.len() - 1].to_vec()), Err(BadQuote::Log(BadLog::Malformed(_)))));
    assert!(matches!(with(Vec::new()), Err(BadQuote::Log(BadLog::Malformed(0)))));
}

#[test]
fn a_log_knows_its_banks_and_its_start() {
    let whole = golden("events.log");
    let mut no_sha256 = whole.clone();
    // The number of the digest in the header: SHA-1 with 32 bytes is no bank.
    no_sha256[32 + 28] = 4;
    assert_eq!(log::parse(&no_sha256), Err(BadLog::NoSha256));
    let locality: Vec<u8> = [
        &0_u32.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        &1_u32.to_le_bytes(),
        &11_u16.to_le_bytes(),
        &[0; 32],
        &17_u32.to_le_bytes(),
        b"StartupLocality\0\x03",
    ]
    .concat();
    let log = log::parse(&[whole.as_slice(), &locality].concat()).expect("reads");
    assert_eq!(log.locality, 3);
    assert_eq!(log.replay()[&0], [&[0; 31][..], &[3]].concat());
}

#[test]
fn what_is_certified_is_one_key_for_one_challenge() {
    let sent = Certified { public: golden("dev.pub"), statement: golden("cert.msg"), signature: golden("cert.sig") };
    // tpm2-tools 5.4 puts four bytes of its own there, so this is somebody else's challenge.
    let judged = certified::verify(&public("ak.pub"), NONCE, &golden("dev.spki"), &sent);
    assert_eq!(judged, Err(NotCertified::Nonce));
    assert_eq!(certified::verify(&public("akr.pub"), NONCE, &golden("dev.spki"), &sent), Err(NotCertified::Signature));
    let statement = Statement::parse(&golden("cert.msg")).expect("reads");
    assert_eq!(statement.extra, [0, 0xff, 0x55, 0xaa]);
}

#[test]
fn evidence_in_json_is_read_and_verified() {
    let quote = quoted(&[0, 2, 4, 7]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut evidence = Tpm2 {
        quoted: Bytes(quote.statement),
        signature: Bytes(quote.signature),
        pcrs: quote.pcrs.iter().map(|(pcr, value)| (pcr.to_string(), hex(value))).collect(),
        event_log: Some(Bytes(golden("events.log"))),
        certified: None,
    };
    let activated = Activated { key: public("ak.pub"), identity: vec![1; 32], anchor: "ab".into() };
    let (pcrs, device_key) = (wanted(), golden("dev.spki"));
    let known = Known { activated: Some(&activated), pcrs: &pcrs, keys: &[], dice_roots: &[], device_key: &device_key };
    let judge = |evidence: &Tpm2, known: Known<'_>| {
        let text = serde_json::to_string(&Evidence::Tpm2(evidence.clone())).expect("JSON");
        let read: Evidence = serde_json::from_str(&text).expect("its own text");
        verify(&read, known, NONCE, now())
    };
    let facts = judge(&evidence, known).expect("holds");
    assert!(facts.has_log && !facts.certified_key);
    assert_eq!(facts.boots, Some(2));
    assert_eq!(facts.measurements.len(), 6, "four PCRs and two events");
    assert!(facts.measurements.contains(&Measurement::new("pcr/0", &[0; 32])));
    assert_eq!(judge(&evidence, Known { activated: None, ..known }), Err(Unproven::NotActivated));
    evidence.certified = Some(CertifiedKey {
        public: Bytes(golden("dev.pub")),
        attest: Bytes(golden("cert.msg")),
        signature: Bytes(golden("cert.sig")),
    });
    assert_eq!(judge(&evidence, known).map_err(|unproven| unproven.code()), Err("nonce"));
    evidence.pcrs.insert("seven".into(), String::new());
    assert_eq!(judge(&evidence, known).map_err(|unproven| unproven.code()), Err("malformed"));
}

#[test]
fn a_credential_is_for_endorsement_keys_only() {
    let secret = Secret::new(vec![1; 32]);
    let rng = SeededRng::new(1);
    assert!(credential::make(&public("ek.pub"), &golden("ak.name"), &secret, &rng).is_ok());
    for other in ["ak.pub", "akr.pub", "dev.pub"] {
        assert!(credential::make(&public(other), &golden("ak.name"), &secret, &rng).is_err(), "{other}");
    }
}

#[test]
fn signatures_with_sha1_are_not_read() {
    let mut signature = golden("quote.sig");
    signature[3] = 4;
    assert!(Signature::parse(&signature).is_err());
}
