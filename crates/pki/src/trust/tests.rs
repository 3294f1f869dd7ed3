use super::*;
use crate::ca::{self, ServerName, Vouches};
use crate::issue::{Issued, Issuer, Serial, Validity};
use crate::{Csr, Signer, SoftKey, csr, leaf, name};
use base::SeededRng;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_171_980)
}

fn days(count: u32) -> Validity {
    Validity { not_before: now(), not_after: now().plus(DAY * count) }
}

struct Held {
    certificate: Certificate,
    key: SoftKey,
}

impl Held {
    fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.certificate, &self.key).expect("its key")
    }
}

/// A root with authorities for the tenants acme and globex and for servers.
struct House {
    rng: SeededRng,
    root: Held,
    acme: Held,
    globex: Held,
    infra: Held,
}

fn hold(issued: Issued, key: SoftKey) -> Held {
    Held { certificate: Certificate::parse(&issued.der).expect("what was issued reads"), key }
}

fn house() -> House {
    let rng = SeededRng::new(5);
    let (key, _) = SoftKey::generate();
    let root = hold(ca::root("Root", Serial::generate(&rng), days(3650), &key).expect("signs"), key);
    let below = |name: &str, vouches, life| {
        let (key, _) = SoftKey::generate();
        let subject = (Some(name), "Issuing");
        let serial = Serial::generate(&rng);
        let issued = ca::intermediate(&root.issuer(), subject, vouches, serial, days(life), key.public_spki());
        hold(issued.expect("signs"), key)
    };
    let (acme, globex) = (below("acme", Vouches::Devices, 1000), below("globex", Vouches::Devices, 1000));
    let infra = below("infra", Vouches::Servers, 1000);
    House { acme, globex, infra, root, rng }
}

impl House {
    fn index(&self) -> TrustIndex {
        let authority = |tenant: &str, held: &Held| Authority {
            tenant: tenant.parse().expect("a name"),
            kind: Kind::Issuing,
            certificate: held.certificate.der.clone(),
        };
        TrustIndex::new([authority("acme", &self.acme), authority("globex", &self.globex)]).expect("authorities")
    }

    fn leaf(&self, held: &Held, tenant: &str, life: u32) -> Issued {
        let (key, _) = SoftKey::generate();
        let csr = request(&key, "gw-1");
        let (tenant, device) = (tenant.parse().expect("a name"), "gw-1".parse().expect("a name"));
        leaf::issue(&held.issuer(), &tenant, &device, &csr, Serial::generate(&self.rng), days(life)).expect("issues")
    }
}

fn request(key: &SoftKey, device: &str) -> Csr {
    csr::parse(&csr::write(&name::write(None, device), &[], key).expect("signs")).expect("good")
}

fn verify(index: &TrustIndex, der: &[u8], at: Timestamp) -> Result<Verified, TrustError> {
    index.verify(&CertificateDer::from(der), &[], at)
}

#[test]
fn a_certificate_is_its_tenants() {
    let house = house();
    let index = house.index();
    for (held, tenant) in [(&house.acme, "acme"), (&house.globex, "globex")] {
        let issued = house.leaf(held, tenant, 90);
        let verified = verify(&index, &issued.der, now()).expect("trusted");
        assert_eq!((verified.tenant.as_str(), verified.device.as_str()), (tenant, "gw-1"));
        assert_eq!(verified.serial, issued.serial.to_string());
        assert_eq!(verified.serial.len(), 32);
        assert_eq!(verified.fingerprint, issued.fingerprint);
        assert_eq!((verified.not_before, verified.not_after), (now(), now().plus(DAY * 90)));
    }
    assert_eq!(index.len(), 2);
}

#[test]
fn a_certificate_holds_from_its_first_second_to_its_last() {
    let house = house();
    let (index, issued) = (house.index(), house.leaf(&house.acme, "acme", 90));
    let (first, last) = (issued.validity.not_before, issued.validity.not_after);
    let second = Duration::from_secs(1);
    assert!(verify(&index, &issued.der, first).is_ok());
    assert!(verify(&index, &issued.der, last).is_ok());
    assert_eq!(verify(&index, &issued.der, last.plus(second)), Err(TrustError::Expired));
    // What we issued has begun: it is this machine's clock that went back.
    assert!(verify(&index, &issued.der, first.minus(second * 86_400 * 400)).is_ok());
}

#[test]
fn a_certificate_of_another_installation_is_unknown() {
    let (house, other) = (house(), self::house());
    // The other house has authorities of the same names with other keys.
    let issued = other.leaf(&other.acme, "acme", 90);
    assert_eq!(verify(&house.index(), &issued.der, now()), Err(TrustError::UnknownIssuer));
    assert_eq!(verify(&TrustIndex::default(), &issued.der, now()), Err(TrustError::UnknownIssuer));
}

#[test]
fn an_authority_speaks_for_its_own_tenant_only() {
    let house = house();
    let issued = house.leaf(&house.globex, "acme", 90);
    assert_eq!(verify(&house.index(), &issued.der, now()), Err(TrustError::Foreign));
    // Whoever made it has the key of that authority; whose it is, is known.
    let Ok(Presented::Nameless(found)) = identify(&house.index(), &issued.der, now(), Duration::ZERO) else {
        panic!("nobody's")
    };
    let made = (found.tenant.as_str(), found.authority, found.serial, found.fingerprint);
    let authority = house.globex.certificate.fingerprint();
    assert_eq!(made, ("globex", authority, issued.serial.to_string(), issued.fingerprint));
}

#[test]
fn an_authority_or_a_server_is_no_device() {
    let house = house();
    let index = house.index();
    for held in [&house.acme, &house.infra, &house.root] {
        let refused = verify(&index, &held.certificate.der, now());
        assert_eq!(refused, Err(TrustError::UnknownIssuer));
    }
    // A certificate for servers, as an authority for devices would have to misuse itself to make one.
    let (key, _) = SoftKey::generate();
    let names = [ServerName::Dns("fleet.example".into())];
    let server = ca::server(&house.acme.issuer(), &names, Serial::generate(&house.rng), days(9), key.public_spki());
    let refused = verify(&index, &server.expect("issues").der, now());
    assert!(matches!(refused, Err(TrustError::Purpose(_))), "{refused:?}");
}

#[test]
fn no_byte_of_a_certificate_can_change() {
    let house = house();
    let (index, issued) = (house.index(), house.leaf(&house.acme, "acme", 90));
    for at in 0..issued.der.len() {
        let mut changed = issued.der.clone();
        changed[at] ^= 0x01;
        assert!(verify(&index, &changed, now()).is_err(), "byte {at}");
        assert!(verify(&index, &issued.der[..at], now()).is_err(), "length {at}");
    }
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let house = house();
    let issued = house.leaf(&house.acme, "acme", 5000);
    assert_eq!(issued.validity.not_after, house.acme.certificate.not_after);
    let (key, _) = SoftKey::generate();
    let late = Validity { not_before: now().plus(DAY * 2000), not_after: now().plus(DAY * 2001) };
    let refused = leaf::issue(
        &house.acme.issuer(),
        &"acme".parse().expect("a name"),
        &"gw-1".parse().expect("a name"),
        &request(&key, "gw-1"),
        Serial::generate(&house.rng),
        late,
    );
    assert!(matches!(refused, Err(leaf::LeafError::Issue(crate::IssueError::AuthorityExpired))), "{refused:?}");
}

#[test]
fn an_issuer_has_the_key_of_its_certificate() {
    let house = house();
    assert!(Issuer::new(&house.acme.certificate, &house.globex.key).is_err());
    let leaf = Certificate::parse(&house.leaf(&house.acme, "acme", 90).der).expect("reads");
    let (key, _) = SoftKey::generate();
    assert!(Issuer::new(&leaf, &key).is_err());
    let tenant = "acme".parse().expect("a name");
    assert!(TrustIndex::new([Authority { tenant, kind: Kind::Issuing, certificate: leaf.der }]).is_err());
}

#[test]
fn the_subject_of_the_request_keeps_its_bytes() {
    let house = house();
    let (key, _) = SoftKey::generate();
    // PrintableString where we would write UTF8String.
    let rdn = |id: &str, text: &str| {
        let id = const_oid::ObjectIdentifier::new_unwrap(id);
        let pair = [crate::asn1::oid(id), crate::asn1::element(0x13, &[text.as_bytes()])].concat();
        crate::asn1::element(0x31, &[&crate::asn1::sequence(&[&pair])])
    };
    let subject = crate::asn1::sequence(&[&rdn("2.5.4.3", "gw-1"), &rdn("2.5.4.11", "factory 7")]);
    let csr = csr::parse(&csr::write(&subject, &[], &key).expect("signs")).expect("good");
    let (tenant, device) = ("acme".parse().expect("a name"), "gw-1".parse().expect("a name"));
    let serial = Serial::generate(&house.rng);
    let issued = leaf::issue(&house.acme.issuer(), &tenant, &device, &csr, serial, days(90)).expect("issues");
    let certificate = Certificate::parse(&issued.der).expect("reads");
    assert_eq!(certificate.subject, subject);
    assert!(csr.check_renews(&certificate).is_ok());
    let other = request(&key, "gw-1");
    assert_eq!(other.check_renews(&certificate), Err(crate::CsrError::OtherSubject));
    assert_eq!(certificate.spki, key.public_spki());
    assert_eq!(certificate.identity().map(|identity| identity.to_string()).as_deref(), Some("urn:fleetward:acme:gw-1"));
}

#[test]
fn server_names_are_names_or_addresses() {
    for (text, expected) in [
        ("Fleet.Example", Some(ServerName::Dns("fleet.example".into()))),
        ("localhost", Some(ServerName::Dns("localhost".into()))),
        ("127.0.0.1", Some(ServerName::Ip([127, 0, 0, 1].into()))),
        ("::1", Some(ServerName::Ip("::1".parse().expect("an address")))),
        ("", None),
        ("a b", None),
        ("-a", None),
        ("a..b", None),
        ("*.example", None),
    ] {
        assert_eq!(text.parse::<ServerName>().ok(), expected, "{text}");
    }
}

/// An authority of a factory and what it issues, which knows nothing of us.
fn factory(name: &str, key_id_of: Option<&Certificate>) -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    if let Some(certificate) = key_id_of {
        params.key_identifier_method =
            rcgen::KeyIdMethod::PreSpecified(certificate.subject_key_id.clone().expect("a key id"));
    }
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key).expect("signs");
    let der = issuer.der().to_vec();
    (issuer, der)
}

fn made(issuer: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, serial_number: &str) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, serial_number);
    params.use_authority_key_identifier_extension = true;
    let key = rcgen::KeyPair::generate().expect("a key");
    params.signed_by(&key, issuer).expect("signs").der().to_vec()
}

fn with_factory(house: &House, tenant: &str, der: Vec<u8>) -> TrustIndex {
    let of = |tenant: &str, kind, certificate| Authority { tenant: tenant.parse().expect("a name"), kind, certificate };
    TrustIndex::new([
        of(tenant, Kind::Factory, der),
        of("acme", Kind::Issuing, house.acme.certificate.der.clone()),
        of("globex", Kind::Issuing, house.globex.certificate.der.clone()),
    ])
    .expect("authorities")
}

fn identify(index: &TrustIndex, der: &[u8], at: Timestamp, grace: Duration) -> Result<Presented, TrustError> {
    index.identify(&CertificateDer::from(der), &[], at, grace)
}

#[test]
fn a_factory_vouches_for_what_it_made_and_names_nobody() {
    let house = house();
    let (issuer, der) = factory("Maker", None);
    let index = with_factory(&house, "acme", der);
    let leaf = made(&issuer, "SN-1");
    let Ok(Presented::Factory(factory)) = identify(&index, &leaf, now(), Duration::ZERO) else { panic!("a factory's") };
    assert_eq!(factory.tenant.as_str(), "acme");
    assert_eq!(verify(&index, &leaf, now()), Err(TrustError::Foreign), "no device of ours");
    // A factory that writes one of our names does not get one.
    assert!(matches!(identify(&house.index(), &leaf, now(), Duration::ZERO), Err(TrustError::UnknownIssuer)));
}

#[test]
fn a_factory_cannot_stand_before_an_issuing_authority() {
    let house = house();
    // As another tenant could make and register it: the name and key id of acme's authority, with a key of its own.
    let (_issuer, der) = factory("Issuing", Some(&house.acme.certificate));
    let index = with_factory(&house, "globex", der);
    let issued = house.leaf(&house.acme, "acme", 90);
    assert_eq!(verify(&index, &issued.der, now()).map(|verified| verified.tenant.to_string()), Ok("acme".to_owned()));
}

#[test]
fn one_that_ended_lately_is_known_where_that_is_asked() {
    let house = house();
    let (index, issued) = (house.index(), house.leaf(&house.acme, "acme", 90));
    let late = issued.validity.not_after.plus(DAY * 9);
    assert_eq!(identify(&index, &issued.der, late, Duration::ZERO).err(), Some(TrustError::Expired));
    assert_eq!(identify(&index, &issued.der, late, DAY * 8).err(), Some(TrustError::Expired));
    assert!(matches!(identify(&index, &issued.der, late, DAY * 9), Ok(Presented::Device(_))));
}

#[test]
fn what_names_no_device_is_none_and_a_claim_is_a_claim() {
    let house = house();
    let index = house.index();
    let (key, _) = SoftKey::generate();
    let csr = csr::parse(&csr::write(&name::write(None, "any"), &[], &key).expect("signs")).expect("a request");
    let issuer = Issuer::new(&house.acme.certificate, &house.acme.key).expect("an issuer");
    let validity = || Validity { not_before: now().minus(DAY), not_after: now().plus(DAY) };
    let serial = |byte: u64| Serial::generate(&SeededRng::new(byte));
    let tenant = "acme".parse().expect("a name");
    let unbound = leaf::unbound(&issuer, &tenant, &csr, serial(1), validity(), None).expect("issued");
    assert_eq!(verify(&index, &unbound.der, now()), Err(TrustError::Foreign));
    let subject = Certificate::parse(&unbound.der).expect("it reads").subject;
    assert_eq!(subject, name::write(Some("acme"), &unbound.serial.to_string()), "not what the request says");
    let Ok(Presented::Unbound(found)) = identify(&index, &unbound.der, now(), Duration::ZERO) else {
        panic!("nobody's")
    };
    assert_eq!((found.tenant.as_str(), found.serial), ("acme", unbound.serial.to_string()));

    let claim = ClaimName { tenant: tenant.clone(), claim: "line-4".to_owned() };
    let issued = leaf::claim(&issuer, &claim, &csr, serial(2), validity(), None).expect("issued");
    let der = CertificateDer::from(issued.der.as_slice());
    assert_eq!(index.verify_claim(&der, now()).map(|found| found.claim), Ok("line-4".to_owned()));
    assert_eq!(verify(&index, &issued.der, now()), Err(TrustError::Foreign));
    // One tenant's authority does not vouch for another tenant's names.
    let foreign = ClaimName { tenant: "globex".parse().expect("a name"), claim: "line-4".to_owned() };
    let issued = leaf::claim(&issuer, &foreign, &csr, serial(3), validity(), None).expect("issued");
    assert_eq!(index.verify_claim(&CertificateDer::from(issued.der.as_slice()), now()), Err(TrustError::Foreign));
}

#[test]
fn a_signature_is_verified_once_and_the_time_always() {
    let house = house();
    let index = house.index();
    let issued = house.leaf(&house.acme, "acme", 90);
    for _ in 0..3 {
        verify(&index, &issued.der, now()).expect("trusted");
    }
    assert_eq!(verify(&index, &issued.der, now().plus(DAY * 91)), Err(TrustError::Expired), "it ends all the same");
    let mut other = issued.der.clone();
    let last = other.last_mut().expect("bytes");
    *last ^= 1;
    assert!(verify(&index, &other, now()).is_err(), "it is known by all its bytes");
    let without = TrustIndex::new([]).expect("nobody");
    assert_eq!(verify(&without, &issued.der, now()), Err(TrustError::UnknownIssuer));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut known = Known::default();
    let hash = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    };
    for number in 0..3 * REMEMBERED {
        known.keep(hash(number), 1);
    }
    assert!(known.recent.len() + known.earlier.len() <= 2 * REMEMBERED);
    assert!(known.has(&hash(3 * REMEMBERED - 1), 1) && !known.has(&hash(0), 1));
    assert!(!known.has(&hash(3 * REMEMBERED - 1), 0), "under the other authority it is not known");
}
