use std::time::Duration;

use base::SeededRng;
use proptest::prelude::*;

use super::*;
use crate::key::SoftKey;

const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);
const DAY: Duration = Duration::from_secs(86_400);

fn lasting(days: u32) -> Validity {
    Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY * days) }
}

fn serial(seed: u64) -> Serial {
    Serial::generate(&SeededRng::new(seed))
}

fn root(seed: u64) -> (SoftKey, Certificate) {
    let key = SoftKey::generate().0;
    let made = ca::root("Root", serial(seed), lasting(9000), &key).expect("signs");
    (key, read_root(&made.der).expect("a root"))
}

struct Ceremony {
    root: Certificate,
    root_key: SoftKey,
    key: SoftKey,
    subject: Vec<u8>,
}

impl Ceremony {
    fn new() -> Self {
        let (root_key, root) = root(1);
        Self { root, root_key, key: SoftKey::generate().0, subject: name::write(None, "Fleetward Tenants 1") }
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.root, &self.root_key).expect("its key")
    }

    fn wanted(&self, asks: Asks) -> Wanted<'_> {
        Wanted { root: &self.root, asks, subject: &self.subject, spki: self.key.public_spki(), key_id: None }
    }
}

#[test]
fn what_is_asked_is_signed_and_taken() {
    let it = Ceremony::new();
    for (number, vouches) in [Vouches::Servers, Vouches::Tenants].into_iter().enumerate() {
        let csr = write(&it.root, &it.subject, vouches, &it.key).expect("signs");
        let request = read(&csr, &it.root).expect("reads");
        assert_eq!((request.asks, &request.subject), (Asks::Authority(vouches), &it.subject));
        let signed = sign(&it.issuer(), &request, serial(number as u64), lasting(4000)).expect("signs");
        let direct = ca::intermediate(
            &it.issuer(),
            (None, "Fleetward Tenants 1"),
            vouches,
            serial(number as u64),
            lasting(4000),
            it.key.public_spki(),
        );
        // The signature of ECDSA differs each time; what is signed does not.
        let tbs = |der: &[u8]| crate::factory::split(der).expect("splits").tbs.to_vec();
        assert_eq!(tbs(&signed.der), tbs(&direct.expect("signs").der), "as the built-in root would");
        check(&signed.der, &it.wanted(request.asks), NOW).expect("taken");
        let other = if vouches == Vouches::Servers { Vouches::Tenants } else { Vouches::Servers };
        let swapped = check(&signed.der, &it.wanted(Asks::Authority(other)), NOW);
        assert!(matches!(swapped, Err(AnswerError::Rights(_))), "{swapped:?}");
    }
}

#[test]
fn another_root_is_vouched_for() {
    let (it, (new_key, new)) = (Ceremony::new(), root(2));
    let request = read(&new.der, &it.root).expect("reads");
    assert_eq!(request.asks, Asks::Cross);
    let signed = sign(&it.issuer(), &request, serial(3), lasting(4000)).expect("signs");
    let wanted = Wanted {
        root: &it.root,
        asks: Asks::Cross,
        subject: &new.subject,
        spki: new_key.public_spki(),
        key_id: new.subject_key_id.as_deref(),
    };
    check(&signed.der, &wanted, NOW).expect("taken");
    assert_eq!(read(&it.root.der, &it.root), Err(RequestError::Itself));
    // An authority that vouches for itself and has no room below it is no root.
    let small =
        ca::authority_of(&it.issuer(), &it.subject, Vouches::Servers, serial(4), lasting(9), it.key.public_spki());
    assert!(read_root(&small.expect("signs").der).is_err());
}

#[test]
fn requests_that_are_not_signed() {
    let it = Ceremony::new();
    let good = write(&it.root, &it.subject, Vouches::Tenants, &it.key).expect("signs");
    let (_, other) = root(9);
    assert!(matches!(read(&good, &other), Err(RequestError::OtherRoot(_))));
    let device = csr::write(&it.subject, &[], &it.key).expect("signs");
    assert_eq!(read(&device, &it.root), Err(RequestError::Rights));
    // More room than an authority of tenants has, and a right beside.
    for more in [
        [ca::authority_extensions(Vouches::Servers), ca::authority_extensions(Vouches::Tenants)].concat(),
        ca::authority_extensions(Vouches::Devices),
    ] {
        let key_id = asn1::sequence(&[&asn1::element(0x80, &[it.root.subject_key_id.as_deref().expect("it has one")])]);
        let mut more = more;
        more.insert(0, asn1::extension(AUTHORITY_KEY_ID, false, &key_id));
        let more: Vec<&[u8]> = more.iter().map(Vec::as_slice).collect();
        let csr = csr::write(&it.subject, &more, &it.key).expect("signs");
        assert_eq!(read(&csr, &it.root), Err(RequestError::Rights));
    }
    let mut tampered = good.clone();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    assert!(matches!(read(&tampered, &it.root), Err(RequestError::Signature(_) | RequestError::Malformed)));
    for cut in [0, 1, 10, good.len() - 1] {
        assert_eq!(read(&good[..cut], &it.root), Err(RequestError::Malformed), "{cut}");
    }
}

#[test]
fn answers_that_are_not_taken() {
    let it = Ceremony::new();
    let asks = Asks::Authority(Vouches::Tenants);
    let csr = write(&it.root, &it.subject, Vouches::Tenants, &it.key).expect("signs");
    let request = read(&csr, &it.root).expect("reads");
    let good = sign(&it.issuer(), &request, serial(2), lasting(4000)).expect("signs").der;
    check(&good, &it.wanted(asks), NOW).expect("taken");
    let (other_key, other) = root(9);
    // By a root of the same name and another key.
    let elsewhere = Issuer::new(&other, &other_key).expect("its key");
    let foreign = sign(&elsewhere, &request, serial(2), lasting(4000)).expect("signs").der;
    assert_eq!(check(&foreign, &it.wanted(asks), NOW), Err(AnswerError::OtherRoot));
    // Signed with another key under the right name and key id.
    let claimed = Certificate { spki: other.spki.clone(), ..it.root.clone() };
    let forged = sign(&Issuer::new(&claimed, &other_key).expect("its key"), &request, serial(2), lasting(4000));
    assert_eq!(check(&forged.expect("signs").der, &it.wanted(asks), NOW), Err(AnswerError::Signature));
    // Another key, another name.
    let swapped = Request { spki: other_key.public_spki().to_vec(), ..request.clone() };
    let swapped = sign(&it.issuer(), &swapped, serial(2), lasting(4000)).expect("signs").der;
    assert_eq!(check(&swapped, &it.wanted(asks), NOW), Err(AnswerError::OtherRequest));
    let renamed = Request { subject: name::write(None, "Other"), ..request.clone() };
    let renamed = sign(&it.issuer(), &renamed, serial(2), lasting(4000)).expect("signs").der;
    assert_eq!(check(&renamed, &it.wanted(asks), NOW), Err(AnswerError::OtherRequest));
    // Out of its time.
    for at in [NOW.minus(DAY * 9), NOW.plus(DAY * 4001)] {
        assert_eq!(check(&good, &it.wanted(asks), at), Err(AnswerError::Time));
    }
    // For devices, which leaves no room below.
    let tight = Request { asks: Asks::Authority(Vouches::Devices), ..request };
    let tight = sign(&it.issuer(), &tight, serial(2), lasting(4000)).expect("signs").der;
    assert_eq!(check(&tight, &it.wanted(asks), NOW), Err(AnswerError::Rights("its path length is too short")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let it = Ceremony::new();
        read(&bytes, &it.root).ok();
        let mut csr = write(&it.root, &it.subject, Vouches::Servers, &it.key).expect("signs");
        let at = at.index(csr.len());
        let before = csr[at];
        csr[at] = to;
        // A byte that was changed anywhere is found out.
        prop_assert!(before == to || read(&csr, &it.root).is_err());
        check(&bytes, &it.wanted(Asks::Cross), NOW).ok();
    }
}
