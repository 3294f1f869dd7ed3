use super::*;
use crate::asn1;
use crate::ca::{self, Vouches};
use crate::certificate::SUBJECT_ALT_NAME;
use crate::issue::{self, Issuer, Serial, Template};
use crate::{Signer, SoftKey, csr, leaf};
use base::SeededRng;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const URN: &str = "urn:fleetward:acme:gw-1";

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_171_980)
}

fn days(count: u32) -> Validity {
    Validity { not_before: now(), not_after: now().plus(DAY * count) }
}

/// An authority somewhere else, and a request of a device.
struct Elsewhere {
    rng: SeededRng,
    certificate: Certificate,
    key: SoftKey,
    csr: Csr,
    tenant: TenantId,
    device: DeviceId,
}

fn elsewhere() -> Elsewhere {
    let rng = SeededRng::new(5);
    let (key, _) = SoftKey::generate();
    let root = ca::root("Elsewhere", Serial::generate(&rng), days(3650), &key).expect("signs");
    let certificate = Certificate::parse(&root.der).expect("reads");
    let (device_key, _) = SoftKey::generate();
    let request = csr::write(&name::write(None, "gw-1"), &[], &device_key).expect("signs");
    let csr = csr::parse(&request).expect("good");
    Elsewhere {
        rng,
        certificate,
        key,
        csr,
        tenant: "acme".parse().expect("a name"),
        device: "gw-1".parse().expect("a name"),
    }
}

/// How a certificate is made, for each rule to break it in one place.
struct Made {
    alt_names: Vec<Vec<u8>>,
    usage: u8,
    purposes: Vec<ObjectIdentifier>,
    subject: Vec<u8>,
    authority: bool,
    validity: Validity,
}

impl Made {
    fn good() -> Self {
        Self {
            alt_names: vec![asn1::element(0x86, &[URN.as_bytes()])],
            usage: 0b1000_0000,
            purposes: vec![CLIENT_AUTH],
            subject: name::write(None, "gw-1"),
            authority: false,
            validity: days(90),
        }
    }
}

impl Elsewhere {
    fn make(&self, made: &Made, spki: &[u8]) -> Vec<u8> {
        let names: Vec<&[u8]> = made.alt_names.iter().map(Vec::as_slice).collect();
        let purposes: Vec<Vec<u8>> = made.purposes.iter().map(|purpose| asn1::oid(*purpose)).collect();
        let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        let truth = asn1::element(asn1::BOOLEAN, &[&[0xff]]);
        let constraints = asn1::sequence(&[if made.authority { &truth } else { &[] }]);
        let extensions = vec![
            asn1::extension(crate::certificate::BASIC_CONSTRAINTS, true, &constraints),
            asn1::extension(KEY_USAGE, true, &asn1::named_bits(made.usage)),
            asn1::extension(EXTENDED_KEY_USAGE, false, &asn1::sequence(&purposes)),
            asn1::extension(SUBJECT_ALT_NAME, false, &asn1::sequence(&names)),
        ];
        let issuer = Issuer::new(&self.certificate, &self.key).expect("its key");
        let serial = Serial::generate(&self.rng);
        let template = Template { serial, validity: made.validity, subject: &made.subject, spki, extensions };
        issue::sign(template, &issuer).expect("signs").der
    }

    fn check(&self, der: &[u8]) -> Result<(Issued, String), ForeignError> {
        let authorities = [self.certificate.der.clone()];
        let (tenant, named, csr) = (&self.tenant, Named::Device(&self.device), &self.csr);
        check(der, &Wanted { tenant, named, csr, not_after: now().plus(DAY * 90), authorities: &authorities }, now())
    }

    fn outcome(&self, made: &Made) -> Result<(), ForeignError> {
        self.check(&self.make(made, self.csr.spki())).map(drop)
    }
}

#[test]
fn what_ours_would_say_is_kept() {
    let there = elsewhere();
    let der = there.make(&Made::good(), there.csr.spki());
    let (issued, authority) = there.check(&der).expect("kept");
    assert_eq!((issued.der, authority), (der, there.certificate.fingerprint()));
    assert_eq!(issued.validity.not_after.secs(), now().plus(DAY * 90).secs());
    // Other authorities write the subject in their own way, and their stock profiles serve too.
    let subject = name::write(Some("A Company Ltd."), "gw-1");
    assert_eq!(there.outcome(&Made { subject, ..Made::good() }), Ok(()));
    assert_eq!(there.outcome(&Made { purposes: vec![SERVER_AUTH, CLIENT_AUTH], ..Made::good() }), Ok(()));
    // cfssl before 1.4 knows no URIs.
    let alt_names = vec![asn1::element(0x82, &[URN.as_bytes()])];
    assert_eq!(there.outcome(&Made { alt_names, ..Made::good() }), Ok(()));
}

#[test]
fn names_are_not_smuggled() {
    let there = elsewhere();
    let uri = |text: &str| asn1::element(0x86, &[text.as_bytes()]);
    let dns = |text: &str| asn1::element(0x82, &[text.as_bytes()]);
    for alt_names in [
        vec![],
        vec![uri("urn:fleetward:acme:gw-2")],
        vec![uri("urn:fleetward:zenith:gw-1")],
        vec![uri(URN), uri("urn:fleetward:acme:gw-2")],
        vec![uri(URN), dns("gw-1")],
        vec![uri(URN), asn1::element(0x87, &[&[127, 0, 0, 1]])],
        vec![dns("gw-1")],
    ] {
        let error = there.outcome(&Made { alt_names, ..Made::good() });
        assert_eq!(error, Err(ForeignError::AltName(URN.to_owned())));
    }
    for subject in [
        name::write(None, "gw-2"),
        name::write(Some("zenith"), "gw-1"),
        asn1::sequence(&[]),
        [name::write(None, "gw-1"), name::write(None, "gw-2")].concat(),
    ] {
        let outcome = there.outcome(&Made { subject, ..Made::good() });
        assert!(matches!(outcome, Err(ForeignError::Subject | ForeignError::Malformed(_))), "{outcome:?}");
    }
}

#[test]
fn only_a_client_comes_back() {
    let there = elsewhere();
    let code_signing = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
    for made in [
        Made { authority: true, ..Made::good() },
        Made { usage: 0b0010_0000, ..Made::good() },
        Made { usage: 0b1000_0110, ..Made::good() },
        Made { purposes: vec![SERVER_AUTH], ..Made::good() },
        Made { purposes: vec![CLIENT_AUTH, code_signing], ..Made::good() },
    ] {
        assert!(matches!(there.outcome(&made), Err(ForeignError::Usage(_))));
    }
}

#[test]
fn key_time_and_authority_are_ours() {
    let there = elsewhere();
    let (other, _) = SoftKey::generate();
    let der = there.make(&Made::good(), other.public_spki());
    assert_eq!(there.check(&der).expect_err("another key"), ForeignError::Key);
    assert!(matches!(there.outcome(&Made { validity: days(91), ..Made::good() }), Err(ForeignError::TooLong { .. })));
    let later = Validity { not_before: now().plus(DAY), not_after: now().plus(DAY * 2) };
    let outcome = there.outcome(&Made { validity: later, ..Made::good() });
    assert_eq!(outcome, Err(ForeignError::Untrusted(TrustError::NotYetValid)));
    let stranger = elsewhere();
    let outcome = there.check(&stranger.make(&Made::good(), there.csr.spki()));
    // Its key id differs, although its name is the same.
    assert_eq!(outcome.expect_err("a stranger"), ForeignError::Untrusted(TrustError::UnknownIssuer));
    assert!(there.check(b"nonsense").is_err());
}

#[test]
fn one_of_ours_would_pass_too() {
    let there = elsewhere();
    let root = Issuer::new(&there.certificate, &there.key).expect("its key");
    let (key, _) = SoftKey::generate();
    let serial = || Serial::generate(&there.rng);
    let subject = (Some("acme"), "Devices");
    let below = ca::intermediate(&root, subject, Vouches::Devices, serial(), days(1000), key.public_spki());
    let below = Certificate::parse(&below.expect("signs").der).expect("reads");
    let issuer = Issuer::new(&below, &key).expect("its key");
    let issued = leaf::issue(&issuer, &there.tenant, &there.device, &there.csr, serial(), days(90)).expect("issues");
    let wanted = Wanted {
        tenant: &there.tenant,
        named: Named::Device(&there.device),
        csr: &there.csr,
        not_after: now().plus(DAY * 90),
        authorities: &[there.certificate.der.clone(), below.der.clone()],
    };
    assert_eq!(check(&issued.der, &wanted, now()).expect("kept"), (issued, below.fingerprint()));
}

#[test]
fn serial_numbers_in_decimal() {
    for (bytes, text) in [(&[0_u8][..], "0"), (&[10], "10"), (&[1, 0], "256"), (&[0xff; 8], "18446744073709551615")] {
        assert_eq!(Serial::from_bytes(bytes).to_decimal(), text);
    }
}

#[test]
fn a_claim_and_what_waits_have_their_names_and_no_other() {
    let there = elsewhere();
    let issuer = Issuer::new(&there.certificate, &there.key).expect("its key");
    let serial = || Serial::generate(&there.rng);
    let claim = ClaimName { tenant: there.tenant.clone(), claim: "line-4".to_owned() };
    let claim = leaf::claim(&issuer, &claim, &there.csr, serial(), days(90), None).expect("issues");
    let unbound = leaf::unbound(&issuer, &there.tenant, &there.csr, serial(), days(90), None).expect("issues");
    let device = leaf::issue(&issuer, &there.tenant, &there.device, &there.csr, serial(), days(90)).expect("issues");
    let id = unbound.serial.to_string();
    let judge = |der: &[u8], named: Named<'_>| {
        let authorities = [there.certificate.der.clone()];
        let (tenant, csr, not_after) = (&there.tenant, &there.csr, now().plus(DAY * 90));
        check(der, &Wanted { tenant, named, csr, not_after, authorities: &authorities }, now()).map(drop)
    };
    assert_eq!(judge(&claim.der, Named::Claim("line-4")), Ok(()));
    assert_eq!(judge(&unbound.der, Named::Unbound(&id)), Ok(()));
    for (der, named) in [
        (&claim.der, Named::Claim("line-5")),
        (&claim.der, Named::Unbound("line-4")),
        (&unbound.der, Named::Unbound("4f00")),
        (&unbound.der, Named::Device(&there.device)),
        (&device.der, Named::Claim("gw-1")),
    ] {
        assert!(matches!(judge(der, named), Err(ForeignError::AltName(_))), "{named:?}");
    }
}
