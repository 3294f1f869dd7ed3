//! The certificates and messages that this crate makes, read by OpenSSL: a second implementation that has to agree.

mod paths;
mod scep;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fleetward_base::{SeededRng, Timestamp};
use fleetward_pki::ca::{self, Vouches};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Issued, Serial, Signer, SoftKey, Validity, cms, csr, leaf, name, offline};

/// What `openssl` says; it must be there and content.
fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

struct Chain {
    folder: tempfile::TempDir,
    root: Issued,
    issuing: Issued,
    leaf: Issued,
    server: Issued,
}

/// 2026-11-20, with everything valid for ten years so that the test does not age.
fn chain() -> Chain {
    let rng = SeededRng::new(11);
    let start = Timestamp::from_secs(1_795_000_000);
    let validity = Validity { not_before: start, not_after: start.plus(Duration::from_secs(3650 * 86_400)) };
    let (root_key, issuing_key, leaf_key) = (SoftKey::generate().0, SoftKey::generate().0, SoftKey::generate().0);
    let root = ca::root("Fleetward Root", Serial::generate(&rng), validity, &root_key).expect("signs");
    let root_certificate = Certificate::parse(&root.der).expect("reads");
    let above = Issuer::new(&root_certificate, &root_key).expect("its key");
    let below = |name, vouches| {
        let serial = Serial::generate(&rng);
        ca::intermediate(&above, (Some("acme"), name), vouches, serial, validity, issuing_key.public_spki())
            .expect("signs")
    };
    let (issuing, infra) = (below("acme Issuing", Vouches::Devices), below("Infra", Vouches::Servers));
    let issuing_certificate = Certificate::parse(&issuing.der).expect("reads");
    let infra_certificate = Certificate::parse(&infra.der).expect("reads");
    let request = csr::write(&name::write(Some("acme"), "gw-1"), &[], &leaf_key).expect("signs");
    let leaf = leaf::issue(
        &Issuer::new(&issuing_certificate, &issuing_key).expect("its key"),
        &"acme".parse().expect("a name"),
        &"gw-1".parse().expect("a name"),
        &csr::parse(&request).expect("good"),
        Serial::generate(&rng),
        validity,
    )
    .expect("issues");
    let names = ["fleet.example", "127.0.0.1", "::1"].map(|name| name.parse().expect("a name"));
    let infra_issuer = Issuer::new(&infra_certificate, &issuing_key).expect("its key");
    let server = ca::server(&infra_issuer, &names, Serial::generate(&rng), validity, leaf_key.public_spki());
    let server = server.expect("issues");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, der) in [
        ("root", &root.der),
        ("issuing", &issuing.der),
        ("infra", &infra.der),
        ("leaf", &leaf.der),
        ("server", &server.der),
        ("request", &request),
    ] {
        std::fs::write(folder.path().join(format!("{name}.der")), der).expect("written");
        if name != "request" {
            let (from, to) = (format!("{name}.der"), format!("{name}.pem"));
            openssl(folder.path(), &["x509", "-inform", "DER", "-in", &from, "-out", &to]);
        }
    }
    Chain { folder, root, issuing, leaf, server }
}

#[test]
fn openssl_verifies_the_chains_for_their_purpose_only() {
    let chain = chain();
    let verify = |purpose: &str, above: &str, leaf: &str| {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-attime", "1795200000", "-CAfile", "root.pem"])
            .args(["-untrusted", above, leaf])
            .current_dir(chain.folder.path())
            .output()
            .expect("openssl is installed");
        output.status.success()
    };
    assert!(verify("sslclient", "issuing.pem", "leaf.pem"));
    assert!(verify("sslserver", "infra.pem", "server.pem"));
    assert!(!verify("sslserver", "issuing.pem", "leaf.pem"));
    assert!(!verify("sslclient", "infra.pem", "server.pem"));
    assert!(!verify("sslclient", "infra.pem", "leaf.pem"));
}

#[test]
fn openssl_reads_a_leaf_as_it_was_meant() {
    let chain = chain();
    let text = openssl(chain.folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    for expected in [
        "Version: 3",
        "Subject: O = acme, CN = gw-1",
        "URI:urn:fleetward:acme:gw-1",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client Authentication",
        "ecdsa-with-SHA256",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let serial = openssl(chain.folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-serial"]);
    assert_eq!(serial.trim().to_lowercase(), format!("serial={}", chain.leaf.serial));
    let print = openssl(chain.folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-fingerprint", "-sha256"]);
    let print = print.trim().rsplit_once('=').expect("name=value").1.replace(':', "").to_lowercase();
    assert_eq!(print, chain.leaf.fingerprint);
    let text = openssl(chain.folder.path(), &["x509", "-in", "server.pem", "-noout", "-text"]);
    assert!(text.contains("DNS:fleet.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"), "{text}");
    assert_ne!(chain.server.serial, chain.leaf.serial);
    let request = openssl(chain.folder.path(), &["req", "-inform", "DER", "-in", "request.der", "-verify", "-noout"]);
    assert_eq!(request, "");
}

#[test]
fn openssl_reads_certs_only_messages_and_writes_the_same_bytes() {
    let chain = chain();
    let folder = chain.folder.path();
    let packed = cms::certs_only(&[&chain.issuing.der, &chain.root.der]);
    std::fs::write(folder.join("ours.p7"), &packed).expect("written");
    let listed = openssl(folder, &["pkcs7", "-inform", "DER", "-in", "ours.p7", "-print_certs"]);
    let (first, second) = (listed.find("acme Issuing"), listed.rfind("subject=CN = Fleetward Root"));
    assert!(first.is_some() && first < second, "the issuing authority comes first: {listed}");
    openssl(folder, &["cms", "-cmsout", "-inform", "DER", "-in", "ours.p7", "-print", "-noout"]);
    let arguments = ["crl2pkcs7", "-nocrl", "-certfile", "issuing.pem", "-certfile", "root.pem"];
    openssl(folder, &[&arguments[..], &["-outform", "DER", "-out", "theirs.p7"]].concat());
    let theirs = std::fs::read(folder.join("theirs.p7")).expect("written");
    let unpacked = vec![chain.issuing.der.clone(), chain.root.der.clone()];
    assert_eq!(cms::certificates(&packed).expect("ours"), unpacked);
    assert_eq!(cms::certificates(&theirs).expect("theirs"), unpacked);
    // OpenSSL writes an empty list of CRLs, `a1 00`, which RFC 5652 leaves out; the rest is the same.
    let pattern = [0xa1, 0x00, 0x31, 0x00];
    assert!(theirs.ends_with(&pattern) || theirs == packed);
}

#[test]
fn the_cms_crate_reads_certs_only_messages() {
    use der::Decode;
    let chain = chain();
    let packed = cms::certs_only(&[&chain.leaf.der]);
    let info = ::cms::content_info::ContentInfo::from_der(&packed).expect("ContentInfo");
    let signed: ::cms::signed_data::SignedData = info.content.decode_as().expect("SignedData");
    assert_eq!(signed.version, ::cms::content_info::CmsVersion::V1);
    assert!(signed.digest_algorithms.is_empty() && signed.signer_infos.0.is_empty() && signed.crls.is_none());
    assert_eq!(signed.encap_content_info.econtent, None);
    assert_eq!(signed.certificates.map(|set| set.0.len()), Some(1));
}

/// What the fuzzer starts from, and what it once found, goes through the same readers on every run.
#[test]
fn no_corpus_makes_a_reader_panic() {
    use fleetward_pki::rsa::{RsaKey, RsaSize};
    use fleetward_pki::scep::Message;
    use fleetward_pki::{TrustIndex, est};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    // Made by OpenSSL.
    let root = std::fs::read(folder.join("pki_offline/root.der")).expect("a root");
    let root = offline::read_root(&root).expect("it reads");
    let (mut count, mut messages) = (0, 0);
    let key = RsaKey::generate(RsaSize::Bits2048).0;
    for target in ["pki_certificate", "pki_cms", "pki_csr", "pki_est", "pki_ocsp", "pki_offline", "pki_scep"] {
        for entry in std::fs::read_dir(folder.join(target)).expect("a corpus") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
            count += 1;
            csr::parse(&bytes).ok();
            cms::certificates(&bytes).ok();
            est::decode(&bytes).ok();
            if let Ok(message) = Message::read(&bytes) {
                messages += 1;
                if let Ok(genuine) = message.check() {
                    genuine.open(message.signer(), &key).ok();
                }
            }
            fleetward_pki::ocsp::Request::parse(&bytes).ok();
            Certificate::parse(&bytes).ok();
            offline::read(&bytes, &root).ok();
            offline::read_root(&bytes).ok();
            let der = rustls_pki_types::CertificateDer::from(bytes.as_slice());
            let now = Timestamp::from_secs(1_795_171_980);
            assert!(TrustIndex::default().verify(&der, &[], now).is_err());
        }
    }
    assert!(count >= 12 && messages >= 1, "{count} inputs, {messages} of them messages of SCEP");
}

#[test]
fn texts_are_read_or_refused() {
    use fleetward_pki::checkpoint::LogVerifier;
    use fleetward_pki::pem;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pki_text");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("UTF-8");
        for label in [pem::CERTIFICATE, pem::CERTIFICATE_REQUEST] {
            if let Ok(blocks) = pem::read(label, &text) {
                let written: String = blocks.iter().map(|der| pem::write(label, der)).collect();
                read += blocks.len();
                assert_eq!(pem::read(label, &written), Ok(blocks));
            }
        }
        let (key, note) = text.split_once('\n').unwrap_or((&text, ""));
        if let Ok(verifier) = key.parse::<LogVerifier>() {
            verifier.open(note).ok();
            read += 1;
        }
    }
    assert!(read >= 3, "{read}: the corpus has lost what is good in it");
}

#[test]
fn identifiers_and_statements_are_read_or_refused() {
    use fleetward_pki::did::{Did, document};
    use fleetward_pki::jws::{Jws, VerifyingKey};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pki_did");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        VerifyingKey::from_spki(&bytes).ok();
        read += usize::from(document::authentication("did:web:example.com", &bytes).is_ok());
        let text = String::from_utf8(bytes).expect("UTF-8");
        read += usize::from(Did::parse(&text).is_ok()) + usize::from(Jws::parse(&text).is_ok());
    }
    assert_eq!(read, 5);
}

#[test]
fn no_corpus_makes_a_reader_of_tokens_panic() {
    use fleetward_pki::jwt::{Algorithm, Claims, KeySet, Token};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pki_jwt");
    let keys = KeySet::parse(&std::fs::read(folder.join("keys.json")).expect("readable")).expect("keys");
    let (mut sets, mut claims, mut tokens, mut signed) = (0, 0, 0, 0);
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        sets += usize::from(KeySet::parse(&bytes).is_ok());
        claims += usize::from(Claims::parse(&bytes).is_ok());
        let text = String::from_utf8(bytes).expect("UTF-8");
        let Ok(token) = Token::parse(&text) else { continue };
        tokens += 1;
        signed += usize::from(token.verified(&keys, &[Algorithm::Es256, Algorithm::EdDsa]).is_ok());
    }
    // Any object is claims of a kind.
    assert_eq!((sets, claims, tokens, signed), (1, 3, 2, 1));
}
