//! Paths of every bad kind, and the verdict on each: what RFC 5280 wants of a validator, as far as a device's door meets it.
//!
//! One case is a leaf, what came with it, and the factory's authority that was registered. Whatever is not said in a case is
//! in order, so that a refusal is for what the case names. The larger corpus of x509-limbo is run by `examples/limbo.rs`.

use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_pki::trust::{Authority, Kind, Presented, TrustIndex};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber, SigningKey,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use crate::openssl;

type Maker = CertifiedIssuer<'static, KeyPair>;
type Change = fn(&mut CertificateParams);

/// 2026-11-20.
const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);
const AS_IT_IS: Change = |_| {};

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(name: &str, change: Change) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
    change(&mut params);
    params
}

fn authority(name: &str, change: Change) -> CertificateParams {
    let mut params = params(name, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    });
    change(&mut params);
    params
}

fn root(change: Change) -> Maker {
    CertifiedIssuer::self_signed(authority("Maker", change), key()).expect("signs")
}

fn below(above: &Maker, name: &str, change: Change) -> Maker {
    CertifiedIssuer::signed_by(authority(name, change), key(), above).expect("signs")
}

fn leaf(above: &Maker, change: Change) -> Vec<u8> {
    let params = params("SN-1", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let mut params = params;
    change(&mut params);
    params.signed_by(&key(), above).expect("signs").der().to_vec()
}

fn identify(anchor: &[u8], kind: Kind, leaf: &[u8], above: &[Vec<u8>]) -> Result<Presented, String> {
    let authority = Authority { tenant: "acme".parse().expect("a name"), kind, certificate: anchor.to_vec() };
    let index = TrustIndex::new([authority]).map_err(|error| error.to_string())?;
    let above: Vec<CertificateDer<'_>> = above.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    index.identify(&CertificateDer::from(leaf), &above, NOW, Duration::ZERO).map_err(|error| error.code().to_owned())
}

/// `ok`, or the word for why not.
fn verdict(anchor: &[u8], leaf: &[u8], above: &[Vec<u8>]) -> String {
    match identify(anchor, Kind::Factory, leaf, above) {
        Ok(Presented::Factory(_)) => "ok".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(code) => code,
    }
}

/// A root, a line below it, and a leaf, each with a change of its own.
fn three(root_is: Change, line_is: Change, leaf_is: Change) -> String {
    let root = root(root_is);
    let line = below(&root, "Line 4", line_is);
    verdict(root.der(), &leaf(&line, leaf_is), &[line.der().to_vec()])
}

/// A root and a leaf below it.
fn two(root_is: Change, leaf_is: Change) -> String {
    let root = root(root_is);
    verdict(root.der(), &leaf(&root, leaf_is), &[])
}

fn unknown(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

fn constrained(length: u8) -> IsCa {
    IsCa::Ca(BasicConstraints::Constrained(length))
}

fn only(name: &str) -> Option<NameConstraints> {
    let permitted_subtrees = vec![GeneralSubtree::DnsName(name.to_owned())];
    Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() })
}

fn dns(name: &str) -> Vec<rcgen::SanType> {
    vec![rcgen::SanType::DnsName(name.try_into().expect("ASCII"))]
}

#[test]
fn a_leaf_is_judged_by_what_it_says() {
    let cases: &[(&str, Change, &str)] = &[
        ("as it should be", AS_IT_IS, "ok"),
        ("it says nothing of its use", |leaf| (leaf.key_usages, leaf.extended_key_usages) = Default::default(), "ok"),
        ("it is a server's", |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "purpose"),
        ("it signs code", |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning], "purpose"),
        ("it is a server's too", |leaf| leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth), "ok"),
        ("its key encrypts only", |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment], "purpose"),
        ("its key signs certificates", |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyCertSign), "purpose"),
        ("it is an authority", |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "purpose"),
        ("it has ended", |leaf| leaf.not_after = date_time_ymd(2026, 11, 1), "expired"),
        ("it has not begun", |leaf| leaf.not_before = date_time_ymd(2027, 1, 1), "not-yet-valid"),
        ("an extension that nobody knows", |leaf| leaf.custom_extensions = vec![unknown(false)], "ok"),
        ("a critical one", |leaf| leaf.custom_extensions = vec![unknown(true)], "purpose"),
        ("one twice", |leaf| leaf.custom_extensions = vec![unknown(false), unknown(false)], "malformed"),
        (
            "two alternative names beside each other",
            |leaf| {
                let name = |name: &[u8]| [&[0x30, 5, 0x82, 3], name].concat();
                let san = |text: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 17], name(text));
                leaf.custom_extensions = vec![san(b"one"), san(b"two")];
            },
            "malformed",
        ),
        // RFC 5280 §4.1.2.2: "Certificate users SHOULD be prepared to gracefully handle such certificates."
        ("the serial number 0", |leaf| leaf.serial_number = Some(SerialNumber::from_slice(&[0])), "ok"),
        ("one of 21 bytes", |leaf| leaf.serial_number = Some(SerialNumber::from_slice(&[0x55; 21])), "ok"),
    ];
    for (case, change, expected) in cases {
        assert_eq!(two(AS_IT_IS, *change), *expected, "{case}");
        assert_eq!(three(AS_IT_IS, AS_IT_IS, *change), *expected, "{case}, below a line");
    }
}

#[test]
fn what_stands_between_is_judged_as_well() {
    let cases: &[(&str, Change, &str)] = &[
        ("as it should be", AS_IT_IS, "ok"),
        ("it says nothing of its use", |line| line.key_usages.clear(), "ok"),
        ("it is no authority", |line| line.is_ca = IsCa::ExplicitNoCa, "purpose"),
        ("it does not say that it is one", |line| line.is_ca = IsCa::NoCa, "purpose"),
        ("its key signs no certificates", |line| line.key_usages = vec![KeyUsagePurpose::CrlSign], "purpose"),
        ("it is for servers", |line| line.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "purpose"),
        ("it is for clients", |line| line.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], "ok"),
        ("it has ended", |line| line.not_after = date_time_ymd(2026, 11, 1), "purpose"),
        ("it has not begun", |line| line.not_before = date_time_ymd(2027, 1, 1), "purpose"),
        ("a critical extension that nobody knows", |line| line.custom_extensions = vec![unknown(true)], "purpose"),
        ("it may have nobody between", |line| line.is_ca = constrained(0), "ok"),
    ];
    for (case, change, expected) in cases {
        assert_eq!(three(AS_IT_IS, *change, AS_IT_IS), *expected, "{case}");
    }
}

#[test]
fn what_was_registered_is_held_to_its_own_words() {
    let cases: &[(&str, Change, &str)] = &[
        ("two may stand between", |root| root.is_ca = constrained(2), "ok"),
        ("nobody may stand between", |root| root.is_ca = constrained(0), "purpose"),
        ("its key signs no certificates", |root| root.key_usages = vec![KeyUsagePurpose::DigitalSignature], "purpose"),
        ("it has ended", |root| root.not_after = date_time_ymd(2026, 11, 1), "expired"),
        ("it is none", |root| root.is_ca = IsCa::NoCa, "the authority's certificate cannot be used as an anchor"),
    ];
    for (case, change, expected) in cases {
        assert_eq!(three(*change, AS_IT_IS, AS_IT_IS), *expected, "{case}");
    }
    assert_eq!(two(|root| root.is_ca = constrained(0), AS_IT_IS), "ok", "a leaf is not between");
}

#[test]
fn names_keep_to_their_constraints() {
    let free: Change = |_| {};
    let ours: Change = |leaf| leaf.subject_alt_names = dns("gw-1.maker.example");
    let foreign: Change = |leaf| leaf.subject_alt_names = dns("gw-1.other.example");
    let bound: Change = |authority| authority.name_constraints = only("maker.example");
    let barred: Change = |authority| {
        let excluded_subtrees = vec![GeneralSubtree::DnsName("other.example".to_owned())];
        authority.name_constraints = Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees });
    };
    for (case, root, line, leaf, expected) in [
        ("no names", bound, free, free, "ok"),
        ("within the root's", bound, free, ours, "ok"),
        ("beyond the root's", bound, free, foreign, "purpose"),
        ("within the line's", free, bound, ours, "ok"),
        ("beyond the line's", free, bound, foreign, "purpose"),
        ("excluded by the line", free, barred, foreign, "purpose"),
        ("not excluded by the line", free, barred, ours, "ok"),
    ] {
        assert_eq!(three(root, line, leaf), expected, "{case}");
    }
}

#[test]
fn a_path_has_its_length_and_every_step_of_it() {
    let root = root(AS_IT_IS);
    let mut steps = vec![below(&root, "Line 0", AS_IT_IS)];
    for number in 1..5 {
        let next = below(steps.last().expect("one"), &format!("Line {number}"), AS_IT_IS);
        steps.push(next);
    }
    let ders: Vec<Vec<u8>> = steps.iter().map(|step| step.der().to_vec()).collect();
    let by = |step: usize| leaf(&steps[step], AS_IT_IS);
    let judge = |step, above: &[Vec<u8>]| verdict(root.der(), &by(step), above);
    assert_eq!(judge(3, &ders[..4]), "ok", "four between");
    assert_ne!(judge(4, &ders), "ok", "a fifth is not read");
    assert_ne!(judge(2, &[ders[0].clone(), ders[2].clone()]), "ok", "one is missing");
    let turned: Vec<Vec<u8>> = ders[..4].iter().rev().cloned().collect();
    assert_eq!(judge(3, &turned), "ok", "in whatever order");
    assert_eq!(judge(0, &[b"no certificate".to_vec(), ders[0].clone()]), "ok", "noise beside it is passed over");
    // A stranger's line that has the name of ours, whether alone or before the right one.
    let stranger = below(&self::root(AS_IT_IS), "Line 0", AS_IT_IS);
    let theirs = leaf(&stranger, AS_IT_IS);
    for above in [vec![stranger.der().to_vec()], vec![ders[0].clone()], vec![stranger.der().to_vec(), ders[0].clone()]]
    {
        assert_ne!(verdict(root.der(), &theirs, &above), "ok");
    }
    assert_eq!(judge(0, &[stranger.der().to_vec(), ders[0].clone()]), "ok");
    // One that may have nobody below it, and has.
    let last = below(&root, "Last", |last| last.is_ca = constrained(0));
    let beyond = below(&last, "Beyond", AS_IT_IS);
    let above = [last.der().to_vec(), beyond.der().to_vec()];
    assert_eq!(verdict(root.der(), &leaf(&beyond, AS_IT_IS), &above), "purpose");
}

#[test]
fn nothing_stands_between_us_and_our_devices() {
    let ours = root(AS_IT_IS);
    let line = below(&ours, "Line 4", AS_IT_IS);
    let named: Change =
        |leaf| leaf.subject_alt_names = vec![rcgen::SanType::URI("urn:fleetward:acme:gw-1".try_into().expect("ASCII"))];
    let direct = identify(ours.der(), Kind::Issuing, &leaf(&ours, named), &[]);
    assert!(matches!(direct, Ok(Presented::Device(_))), "{direct:?}");
    let beyond = identify(ours.der(), Kind::Issuing, &leaf(&line, named), &[line.der().to_vec()]);
    assert_eq!(beyond, Err("unknown-issuer".to_owned()));
    // A name of ours beside another one is no name of ours: nothing is smuggled in with it.
    let two: Change = |leaf| {
        let uri = |text: &str| rcgen::SanType::URI(text.try_into().expect("ASCII"));
        leaf.subject_alt_names = vec![uri("urn:fleetward:acme:gw-1"), uri("urn:fleetward:acme:gw-2")];
    };
    let smuggled = identify(ours.der(), Kind::Issuing, &leaf(&ours, two), &[]);
    assert!(matches!(smuggled, Ok(Presented::Nameless(_))), "nobody's, and an alarm: {smuggled:?}");
}

/// Splits a certificate, has its body changed, and signs it again.
fn resigned(der: &[u8], key: &KeyPair, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    use der::{Decode, Reader, SliceReader};
    let mut parts = SliceReader::new(der).expect("DER");
    let (mut tbs, algorithm) = parts
        .sequence(|inner| {
            let parts = (inner.tlv_bytes()?.to_vec(), inner.tlv_bytes()?.to_vec());
            inner.tlv_bytes()?;
            Ok::<_, der::Error>(parts)
        })
        .expect("a certificate");
    change(&mut tbs);
    let signature = key.sign(&tbs).expect("signs");
    let bits = der::asn1::BitString::from_bytes(&signature).expect("whole bytes");
    let bits = der::Encode::to_der(&bits).expect("DER");
    let body = [tbs, algorithm, bits].concat();
    let any = der::Any::new(der::Tag::Sequence, body).expect("short");
    let whole = der::Encode::to_der(&any).expect("DER");
    assert!(der::Any::from_der(&whole).is_ok());
    whole
}

#[test]
fn numbers_that_are_none_are_refused() {
    let root = root(AS_IT_IS);
    let good = leaf(&root, |leaf| leaf.serial_number = Some(SerialNumber::from_slice(&[0x11, 0x22, 0x33, 0x44])));
    let serial = [0x02, 4, 0x11, 0x22, 0x33, 0x44];
    let judge =
        |change: &dyn Fn(&mut Vec<u8>)| verdict(root.der(), &resigned(&good, root.key(), |tbs| change(tbs)), &[]);
    let at = |tbs: &[u8]| tbs.windows(serial.len()).position(|window| window == serial).expect("the serial number");
    assert_eq!(judge(&|_| {}), "ok", "signed again as it was");
    let negative = judge(&|tbs| {
        let at = at(tbs);
        tbs[at + 2] = 0x91;
    });
    assert_eq!(negative, "malformed", "negative");
    let padded = judge(&|tbs| {
        let at = at(tbs);
        (tbs[at + 2], tbs[at + 3]) = (0, 0x22);
    });
    assert_eq!(padded, "malformed", "longer than it need be");
    // Version 1 knows no extensions, so it says nothing of what it may be used for.
    let versioned = [0xa0, 3, 0x02, 1, 2];
    let first = judge(&|tbs| {
        let at = tbs.windows(5).position(|window| window == versioned).expect("the version");
        tbs[at + 4] = 0;
    });
    assert_eq!(first, "malformed", "version 1");
}

/// Keys and digests that are too weak, as OpenSSL still makes them.
#[test]
fn weak_signatures_do_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| openssl(folder.path(), arguments);
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("written");
    let leaf = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run(&[&leaf[..], &["-subj", "/CN=SN-1", "-keyout", "leaf.key", "-out", "leaf.csr"]].concat());
    for (name, bits, digest, expected) in [
        ("good", "rsa:2048", "-sha256", "ok"),
        ("short", "rsa:1024", "-sha256", "bad"),
        ("sha1", "rsa:2048", "-sha1", "bad"),
        ("md5", "rsa:2048", "-md5", "bad"),
    ] {
        let root = format!("{name}.key");
        let made = ["req", "-x509", "-newkey", bits, "-nodes", "-subj", "/CN=Maker", "-days", "3650", "-sha256"];
        run(&[&made[..], &["-keyout", &root, "-out", "root.der", "-outform", "DER"]].concat());
        run(&["x509", "-inform", "DER", "-in", "root.der", "-out", "root.pem"]);
        std::fs::write(folder.path().join("leaf.ext"), "extendedKeyUsage=clientAuth\n").expect("written");
        let signed = ["x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", &root, "-CAcreateserial", digest];
        run(&[&signed[..], &["-extfile", "leaf.ext", "-days", "3000", "-outform", "DER", "-out", "leaf.der"]].concat());
        // OpenSSL dates from now on, so the verdict is for a moment that lies within.
        let authority =
            Authority { tenant: "acme".parse().expect("a name"), kind: Kind::Factory, certificate: read("root.der") };
        let index = TrustIndex::new([authority]).expect("an authority");
        let leaf = read("leaf.der");
        let at = fleetward_pki::Certificate::parse(&leaf).expect("reads").not_before.plus(Duration::from_secs(86_400));
        let found = index.identify(&CertificateDer::from(leaf.as_slice()), &[], at, Duration::ZERO);
        assert_eq!(if found.is_ok() { "ok" } else { "bad" }, expected, "{name}: {found:?}");
    }
}
