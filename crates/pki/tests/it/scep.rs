//! The messages of SCEP against OpenSSL, each way.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use fleetward_base::{SeededRng, Timestamp};
use fleetward_pki::cms::Holder;
use fleetward_pki::cms::enveloped::{Cipher, EnvelopeError, Enveloped, seal};
use fleetward_pki::cms::signed::Signed;
use fleetward_pki::key::BadSignature;
use fleetward_pki::rsa::{RsaKey, RsaSize};
use fleetward_pki::scep::client::{self, Client};
use fleetward_pki::scep::{self, Message, MessageType, Outcome, Responder};
use fleetward_pki::{Certificate, Serial, Validity, name};

use crate::openssl;

const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);

struct Party {
    certificate: Vec<u8>,
    pkcs8: Vec<u8>,
}

impl Party {
    fn new(common_name: &str) -> Self {
        let (key, pkcs8) = RsaKey::generate(RsaSize::Bits2048);
        let validity = Validity { not_before: NOW, not_after: NOW.plus(Duration::from_secs(3650 * 86_400)) };
        let serial = Serial::generate(&SeededRng::new(5));
        let certificate = client::self_signed(&name::write(None, common_name), serial, validity, &key).expect("signs");
        Self { certificate, pkcs8: pkcs8.expose().clone() }
    }

    fn key(&self) -> RsaKey {
        RsaKey::from_pkcs8(&self.pkcs8).expect("its own")
    }

    fn certificate(&self) -> Certificate {
        Certificate::parse(&self.certificate).expect("its own")
    }

    fn holder(&self) -> Holder {
        Holder::of(&self.certificate()).expect("its own")
    }

    fn files(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.der")), &self.certificate).expect("written");
        std::fs::write(folder.join(format!("{name}.p8")), &self.pkcs8).expect("written");
        openssl(folder, &["x509", "-inform", "DER", "-in", &format!("{name}.der"), "-out", &format!("{name}.pem")]);
        openssl(folder, &["pkey", "-inform", "DER", "-in", &format!("{name}.p8"), "-out", &format!("{name}.key")]);
    }
}

static AUTHORITY: LazyLock<Party> = LazyLock::new(|| Party::new("RA"));
static DEVICE: LazyLock<Party> = LazyLock::new(|| Party::new("gw-1"));

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    AUTHORITY.files(folder.path(), "ra");
    DEVICE.files(folder.path(), "device");
    std::fs::write(folder.path().join("plain"), b"what is in it").expect("written");
    folder
}

#[test]
fn envelopes_of_openssl_open_and_broken_ones_are_refused_by_name() {
    let folder = folder();
    let folder = folder.path();
    let sealed = |extra: &[&str]| {
        let base = ["cms", "-encrypt", "-binary", "-in", "plain", "-outform", "DER", "-out", "sealed"];
        openssl(folder, &[&base[..], extra].concat());
        std::fs::read(folder.join("sealed")).expect("written")
    };
    let oaep = |hash: &'static str| {
        let hash = format!("rsa_oaep_md:{hash}");
        ["-recip", "ra.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", &hash].map(str::to_owned)
    };
    for cipher in ["-aes128", "-aes256"] {
        let opened = |der: &[u8]| {
            let envelope = Enveloped::read(der).expect("an envelope");
            assert!(envelope.is_for(&AUTHORITY.holder()) && !envelope.is_for(&DEVICE.holder()));
            envelope.open(&AUTHORITY.holder(), &AUTHORITY.key()).expose().clone()
        };
        assert_eq!(opened(&sealed(&[cipher, "ra.pem"])), b"what is in it");
        for hash in ["sha256", "sha384", "sha512"] {
            let oaep = oaep(hash);
            let oaep: Vec<&str> = std::iter::once(cipher).chain(oaep.iter().map(String::as_str)).collect();
            assert_eq!(opened(&sealed(&oaep)), b"what is in it", "{hash}");
        }
    }
    let oaep = oaep("sha1");
    let oaep: Vec<&str> = std::iter::once("-aes128").chain(oaep.iter().map(String::as_str)).collect();
    for refused in [&["-des3", "ra.pem"][..], &["-aes192", "ra.pem"], &oaep] {
        assert_eq!(Enveloped::read(&sealed(refused)).err(), Some(EnvelopeError::Algorithm), "{refused:?}");
    }
}

#[test]
fn openssl_opens_our_envelopes() {
    let folder = folder();
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes256Cbc] {
        for length in [0, 1, 15, 16, 17, 3000] {
            let plain = vec![7; length];
            let sealed = seal(&SeededRng::new(1), &DEVICE.holder(), cipher, &plain).expect("seals");
            std::fs::write(folder.path().join("ours"), sealed).expect("written");
            let arguments = ["cms", "-decrypt", "-inform", "DER", "-binary", "-in", "ours", "-inkey", "device.key"];
            openssl(folder.path(), &[&arguments[..], &["-recip", "device.pem", "-out", "opened"]].concat());
            assert_eq!(std::fs::read(folder.path().join("opened")).expect("written"), plain);
        }
    }
}

#[test]
fn signatures_of_openssl_hold_and_broken_digests_do_not_count() {
    let folder = folder();
    let folder = folder.path();
    let signed = |extra: &[&str]| {
        let base =
            ["cms", "-sign", "-nodetach", "-binary", "-in", "plain", "-signer", "device.pem", "-inkey", "device.key"];
        openssl(folder, &[&base[..], &["-outform", "DER", "-out", "signed"], extra].concat());
        Signed::read(&std::fs::read(folder.join("signed")).expect("written")).expect("reads")
    };
    for extra in [
        &["-md", "sha256"][..],
        &["-md", "sha384"],
        &["-md", "sha512"],
        &["-md", "sha256", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"],
    ] {
        let signed = signed(extra);
        assert_eq!(signed.check(), Ok(()), "{extra:?}");
        assert_eq!((signed.content.as_slice(), &signed.signer), (&b"what is in it"[..], &DEVICE.holder()));
    }
    for digest in ["md5", "sha1", "sha224"] {
        assert_eq!(signed(&["-md", digest]).check(), Err(BadSignature::BrokenDigest), "{digest}");
    }
}

#[test]
fn openssl_reads_our_answers() {
    let folder = folder();
    let folder = folder.path();
    let rng = SeededRng::new(3);
    let (device, key) = (DEVICE.certificate(), DEVICE.key());
    let request = client::request(&name::write(None, "gw-1"), Some("s3cret"), &key).expect("signs");
    let client = Client { certificate: &device, key: &key };
    let asked = client.ask(&rng, NOW, &AUTHORITY.certificate(), MessageType::PkcsReq, "0A1B", &request);
    let (bytes, _) = asked.expect("a message");
    let message = Message::read(&bytes).expect("a message");
    let responder = Responder::new(&AUTHORITY.certificate, AUTHORITY.key()).expect("fits");
    let outcome = Outcome::Certificates(&[&DEVICE.certificate]);
    let answer = scep::answer(&rng, NOW, &responder, &[], &message, Cipher::Aes128Cbc, &outcome).expect("an answer");
    for (name, bytes) in [("asked", &bytes), ("answered", &answer)] {
        std::fs::write(folder.join(name), bytes).expect("written");
        openssl(folder, &["cms", "-cmsout", "-inform", "DER", "-in", name, "-print", "-noout"]);
    }
    let dump = openssl(folder, &["asn1parse", "-inform", "DER", "-in", "answered"]);
    for expected in ["PRINTABLESTRING   :0A1B", "PRINTABLESTRING   :3", "PRINTABLESTRING   :0", "signingTime"] {
        assert!(dump.contains(expected), "{expected} is not in {dump}");
    }
    let at = ["-attime", "1795200000", "-CAfile", "ra.pem", "-purpose", "any"];
    let verify = ["cms", "-verify", "-binary", "-inform", "DER", "-in", "answered", "-out", "envelope"];
    openssl(folder, &[&verify[..], &at].concat());
    let open = ["cms", "-decrypt", "-binary", "-inform", "DER", "-in", "envelope", "-inkey", "device.key"];
    openssl(folder, &[&open[..], &["-recip", "device.pem", "-out", "certificates"]].concat());
    let listed = openssl(folder, &["pkcs7", "-inform", "DER", "-in", "certificates", "-print_certs"]);
    assert!(listed.contains("subject=CN = gw-1"), "{listed}");
}

/// `-stream` writes open lengths and strings in pieces, as Bouncy Castle does.
#[test]
fn streamed_messages_are_read() {
    let folder = folder();
    let folder = folder.path();
    let base =
        ["cms", "-encrypt", "-stream", "-aes128", "-binary", "-in", "plain", "-outform", "DER", "-out", "sealed"];
    openssl(folder, &[&base[..], &["ra.pem"]].concat());
    let base = ["cms", "-sign", "-stream", "-nodetach", "-binary", "-in", "sealed", "-signer", "device.pem"];
    openssl(folder, &[&base[..], &["-inkey", "device.key", "-outform", "DER", "-out", "message"]].concat());
    let streamed = std::fs::read(folder.join("message")).expect("written");
    assert_eq!(streamed[1], 0x80, "an open length");
    let signed = Signed::read_ber(&streamed).expect("reads");
    assert_eq!(signed.check(), Ok(()));
    let envelope = Enveloped::read_ber(&signed.content).expect("an envelope");
    assert_eq!(envelope.open(&AUTHORITY.holder(), &AUTHORITY.key()).expose(), b"what is in it");
}

/// What strongSwan 5.9.8 sends, and the same with an open length.
#[test]
fn a_message_of_strongswan_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pki_scep");
    for name in ["strongswan.der", "open-length.der"] {
        let message = Message::read(&std::fs::read(folder.join(name)).expect("readable")).expect("a message");
        assert_eq!(message.kind, Some(MessageType::PkcsReq));
        assert_eq!(message.transaction_id, "8AD6F44DC14E3AE54F76308581FB5EAF49B8DA49");
        assert_eq!(message.sender_nonce.len(), 16);
        let genuine = message.check().expect("its signature holds");
        assert_eq!(genuine.cipher(), Cipher::Aes128Cbc);
    }
}
