//! What the fuzz targets were given, given again on the stable toolchain; and any bytes at all.

use std::path::Path;

use fleetward_attest::evidence::{Bytes, Tpm2};
use fleetward_attest::tpm::{Public, Signature, Statement, client, log};
use fleetward_attest::{Evidence, cwt, dice, jwt};
use proptest::prelude::*;

fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("a file"))
    };
    entries.map(read).collect()
}

/// What is read stays what it is: its bytes, its name.
fn tpm(bytes: &[u8]) -> bool {
    let public = Public::parse(bytes);
    if let Ok(public) = &public {
        assert_eq!(public.bytes(), bytes);
        assert_eq!(public.name().len(), public.name_hash.size() + 2);
        assert!(!public.spki().is_empty());
    }
    let parsed = log::parse(bytes);
    if let Ok(log) = &parsed {
        log.replay();
    }
    let response = client::parse_response(0, bytes, 1);
    let read = [public.is_ok(), Statement::parse(bytes).is_ok(), Signature::parse(bytes).is_ok(), parsed.is_ok()];
    response.is_ok() || read.contains(&true)
}

fn tokens(bytes: &[u8]) -> bool {
    let evidence = serde_json::from_slice::<Evidence>(bytes);
    if let Ok(evidence) = &evidence {
        let again = serde_json::to_vec(evidence).expect("JSON");
        assert_eq!(serde_json::from_slice::<Evidence>(&again).expect("its own text"), *evidence);
    }
    let in_cbor = ciborium::from_reader::<Evidence, _>(bytes);
    if let Ok(evidence) = evidence.as_ref().map_err(drop).or(in_cbor.as_ref().map_err(drop)) {
        let mut again = Vec::new();
        ciborium::into_writer(evidence, &mut again).expect("CBOR");
        assert_eq!(&ciborium::from_reader::<Evidence, _>(again.as_slice()).expect("its own bytes"), evidence);
    }
    if in_cbor.is_ok() {
        return true;
    }
    cwt::claims(bytes).is_ok() || jwt::claims(bytes).is_ok() || evidence.is_ok()
}

#[test]
fn the_corpora() {
    if std::env::var_os("WRITE_CORPUS").is_some() {
        write_the_corpora();
    }
    for (name, bytes) in files("attest_tpm") {
        assert_eq!(tpm(&bytes), !name.starts_with("bad-"), "{name}");
    }
    for (name, bytes) in files("attest_tokens") {
        assert_eq!(tokens(&bytes), !name.starts_with("bad-"), "{name}");
    }
    for (name, bytes) in files("attest_dice") {
        assert_eq!(dice::tcb_info(&bytes).is_ok(), !name.starts_with("bad-"), "{name}");
    }
}

/// Writes the corpora anew: `WRITE_CORPUS=1 cargo test -p fleetward-attest corpora`.
fn write_the_corpora() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder.join(target)).expect("a folder");
        std::fs::write(folder.join(target).join(name), bytes).expect("writes");
    };
    for name in
        ["ek.pub", "ak.pub", "akr.pub", "dev.pub", "quote.msg", "quote.sig", "quote_rsa.sig", "cert.msg", "events.log"]
    {
        let bytes = crate::tpm::golden(name);
        write("attest_tpm", name, &bytes);
        write("attest_tpm", &format!("bad-cut-{name}"), bytes.split_last().map_or(&[], |(_, rest)| rest));
    }
    write("attest_tpm", "response", &[0x80, 1, 0, 0, 0, 14, 0, 0, 0, 0, 0x80, 0, 0, 1]);
    write("attest_tpm", "bad-refused", &[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x0b]);
    write("attest_tokens", "eat.json", br#"{"eat_nonce":"BwcH","ueid":"AQID","dbgstat":"disabled"}"#);
    write("attest_tokens", "eat.cbor", &[0xa2, 0x0a, 0x43, 7, 7, 7, 0x19, 1, 0, 0x43, 1, 2, 3]);
    write("attest_tokens", "psa.cbor", &[0xa1, 0x19, 0x09, 0x5f, 0x81, 0xa1, 2, 0x41, 9]);
    write(
        "attest_tokens",
        "evidence.json",
        br#"{"format":"tpm2","evidence":{"quoted":"","signature":"","pcrs":{"0":""}}}"#,
    );
    write(
        "attest_tokens",
        "evidence-last.json",
        br#"{"evidence":{"quoted":"","signature":"","pcrs":{"0":""}},"format":"tpm2"}"#,
    );
    for (name, evidence) in [
        ("evidence.cbor", Evidence::Tpm2(Tpm2 { quoted: Bytes(vec![7]), ..one_pcr() })),
        ("evidence-psa.cbor", Evidence::Psa(Bytes(vec![7]))),
    ] {
        let mut bytes = Vec::new();
        ciborium::into_writer(&evidence, &mut bytes).expect("CBOR");
        write("attest_tokens", name, &bytes);
    }
    write("attest_tokens", "bad-twice.cbor", &[0xa2, 0x0a, 0x41, 7, 0x0a, 0x41, 8]);
    write("attest_tokens", "bad-type.cbor", &[0xa1, 0x0a, 0x01]);
    write("attest_dice", "info", &dice::write_tcb_info(1, &[&[7; 32]]).expect("DER"));
    write("attest_dice", "bad-universal", &[0x30, 3, 2, 1, 5]);
}

fn one_pcr() -> Tpm2 {
    Tpm2 { pcrs: [("0".to_owned(), String::new())].into(), ..Tpm2::default() }
}

/// Bytes are bytes in CBOR and base64 in JSON, also where they stand before what says of which kind they are.
#[test]
fn evidence_is_the_same_in_both_forms() {
    let evidence = Evidence::Psa(Bytes(vec![1, 2, 3]));
    assert_eq!(serde_json::to_string(&evidence).expect("JSON"), r#"{"format":"psa","evidence":"AQID"}"#);
    let mut bytes = Vec::new();
    ciborium::into_writer(&evidence, &mut bytes).expect("CBOR");
    assert!(bytes.windows(4).any(|four| four == [0x43, 1, 2, 3]), "{bytes:02x?}");
    for first in [r#"{"evidence":"AQID","format":"psa"}"#, r#"{"format":"psa","evidence":"AQID"}"#] {
        assert_eq!(serde_json::from_str::<Evidence>(first).expect("reads"), evidence);
    }
    let first = [&[0xa2, 0x68][..], b"evidence", &[0x43, 1, 2, 3, 0x66], b"format", &[0x63], b"psa"].concat();
    assert_eq!(ciborium::from_reader::<Evidence, _>(first.as_slice()).expect("reads"), evidence);
    assert!(serde_json::from_str::<Evidence>(r#"{"format":"psa","evidence":"%"}"#).is_err());
    assert!(serde_json::from_str::<Evidence>(r#"{"format":"psa","evidence":7}"#).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        tpm(&bytes);
        tokens(&bytes);
        dice::tcb_info(&bytes).ok();
        cwt::verify(&bytes, cwt::Profile::Psa, &[], &[], fleetward_base::Timestamp::EPOCH).ok();
    }

    /// A log that is changed anywhere is refused, or leads elsewhere, or the change is in what is not measured.
    #[test]
    fn a_changed_log_is_read_or_refused(at in 0_usize..300, flip in 1_u8..) {
        let mut bytes = crate::tpm::golden("events.log");
        let at = at % bytes.len();
        bytes[at] ^= flip;
        tpm(&bytes);
    }

    #[test]
    fn tcb_info_reads_what_was_written(layer in 0_u32..1000, digest in any::<[u8; 32]>()) {
        let info = dice::tcb_info(&dice::write_tcb_info(layer, &[&digest]).expect("DER")).expect("reads");
        prop_assert_eq!(info.layer, Some(layer));
        prop_assert_eq!(info.digests, vec![digest.to_vec()]);
    }
}
