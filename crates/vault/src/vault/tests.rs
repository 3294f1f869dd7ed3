use super::*;
use base::SeededRng;
use fleetward_pki::Signer;

/// What the store would have.
struct House {
    vault: Vault,
    rows: Vec<StoredKey>,
    rng: SeededRng,
}

impl House {
    /// With keys of the installation, of `acme` and of `beta`.
    async fn new(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let vault = Vault::new(&MasterKey::random(&rng));
        let (root, key) = vault.new_root(&rng, 1).await.expect("a root key");
        let mut rows = vec![root, Vault::first_anchor(&rng, &key)];
        rows.extend(["", "acme", "beta"].map(|owner| Vault::first_owner_key(&rng, &key, owner).stored));
        vault.load(&rows).await.expect("loads");
        Self { vault, rows, rng }
    }

    fn seal(&self, bound_to: &[&str], plain: &[u8]) -> Vec<u8> {
        self.vault.seal(&self.rng, Purpose::Secret, bound_to, plain).expect("seals")
    }

    fn open(&self, bound_to: &[&str], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.vault.open(Purpose::Secret, bound_to, sealed).map(|plain| plain.expose().clone())
    }

    /// A new version of `owner`'s key; the ones before it open only.
    async fn rotate(&mut self, owner: &str) {
        let version =
            1 + self.rows.iter().filter(|row| row.owner == owner && row.kind == KeyKind::Owner).count() as u64;
        let new = self.vault.new_owner_key(&self.rng, owner, version).expect("a key").stored;
        for row in self.rows.iter_mut().filter(|row| row.owner == owner && row.kind == KeyKind::Owner) {
            row.active = false;
        }
        self.rows.push(new);
        self.vault.load(&self.rows).await.expect("loads");
    }
}

#[tokio::test]
async fn opens_what_it_sealed_where_it_was_sealed() {
    let house = House::new(1).await;
    for plain in [&b""[..], b"x", &[0xa5; 5000]] {
        let sealed = house.seal(&["acme", "name"], plain);
        assert_eq!(house.open(&["acme", "name"], &sealed).as_deref(), Ok(plain));
    }
    assert_ne!(house.seal(&["acme"], b"same"), house.seal(&["acme"], b"same"));
}

#[tokio::test]
async fn a_moved_seal_does_not_open() {
    let house = House::new(1).await;
    let sealed = house.seal(&["acme", "name"], b"plain");
    // Another owner does not even have the key.
    assert!(matches!(house.open(&["beta", "name"], &sealed), Err(OpenError::WrongKey { .. })));
    assert_eq!(house.open(&["acme"], &sealed), Err(OpenError::Broken));
    assert_eq!(house.open(&["acme", "nam", "e"], &sealed), Err(OpenError::Broken));
    assert_eq!(house.vault.open(Purpose::Response, &["acme", "name"], &sealed).err(), Some(OpenError::Broken));
}

#[tokio::test]
async fn no_changed_or_shortened_seal_or_wrapped_key_opens() {
    let house = House::new(1).await;
    let sealed = house.seal(&["acme"], b"plain");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(house.open(&["acme"], &changed).is_err(), "byte {at}");
        assert!(house.open(&["acme"], &sealed[..at]).is_err(), "length {at}");
    }
    for (number, row) in house.rows.iter().enumerate() {
        for at in 0..row.wrapped.len() {
            let mut rows = house.rows.clone();
            rows[number].wrapped[at] ^= 1;
            // Afresh: what is in memory already is not opened again.
            let again = Vault::sealed_by(Arc::clone(house.vault.root_seal()));
            assert!(again.load(&rows).await.is_err(), "{:?}, byte {at}", row.kind);
            rows[number].wrapped.truncate(at);
            assert!(again.load(&rows).await.is_err(), "{:?}, length {at}", row.kind);
        }
    }
}

#[tokio::test]
async fn a_wrapped_key_is_its_owners_and_its_versions() {
    let house = House::new(1).await;
    let (acme, beta) = (house.rows[3].clone(), house.rows[4].clone());
    let again = Vault::sealed_by(Arc::clone(house.vault.root_seal()));
    for moved in [
        StoredKey { owner: beta.owner.clone(), ..acme.clone() },
        StoredKey { version: 2, ..acme.clone() },
        StoredKey { kind: KeyKind::Anchor, ..acme.clone() },
        StoredKey { key_id: beta.key_id, ..acme },
    ] {
        let rows = [house.rows[0].clone(), moved];
        assert!(again.load(&rows).await.is_err(), "{:?}", rows[1]);
    }
}

#[tokio::test]
async fn a_rotated_owner_opens_the_old_and_seals_the_new() {
    let mut house = House::new(1).await;
    let old = house.seal(&["acme"], b"plain");
    let before = house.vault.key_id("acme").expect("a key");
    house.rotate("acme").await;
    assert_ne!(house.vault.key_id("acme").expect("a key"), before);
    assert_eq!(house.open(&["acme"], &old).as_deref(), Ok(&b"plain"[..]));
    let again = house.vault.reseal(&house.rng, Purpose::Secret, &["acme"], &old).expect("opens").expect("is old");
    assert_eq!(sealed_under(&again), house.vault.key_id("acme").ok());
    assert_eq!(house.vault.reseal(&house.rng, Purpose::Secret, &["acme"], &again), Ok(None));
    // The old key is destroyed: what was under it is shredded, what was sealed again is not.
    house.rows.retain(|row| row.key_id != before);
    house.vault.load(&house.rows).await.expect("loads");
    assert!(
        matches!(house.open(&["acme"], &old), Err(OpenError::WrongKey { sealed_under, .. }) if sealed_under == before)
    );
    assert_eq!(house.open(&["acme"], &again).as_deref(), Ok(&b"plain"[..]));
}

#[tokio::test]
async fn a_rotated_root_wraps_again_and_touches_no_data() {
    let mut house = House::new(1).await;
    let sealed = house.seal(&["acme"], b"plain");
    let tag = house.vault.mac(MacPurpose::Cursor).tag(b"after=7");
    let (root, _) = house.vault.new_root(&house.rng, 2).await.expect("a root key");
    house.rows[0].active = false;
    house.rows.push(root);
    house.vault.load(&house.rows).await.expect("loads");
    for row in house.rows.iter_mut().filter(|row| row.kind != KeyKind::Root) {
        row.wrapped = house.vault.rewrap(&house.rng, row).expect("opens").expect("was under the old root key");
        assert_eq!(house.vault.rewrap(&house.rng, row), Ok(None));
    }
    house.rows.remove(0);
    let again = Vault::sealed_by(Arc::clone(house.vault.root_seal()));
    again.load(&house.rows).await.expect("the old root key is not needed");
    assert_eq!(again.open(Purpose::Secret, &["acme"], &sealed).expect("opens").expose(), b"plain");
    assert!(again.mac(MacPurpose::Cursor).verifies(b"after=7", &tag), "tags outlive a rotation");
}

#[tokio::test]
async fn disabled_keys_are_dropped_and_counted() {
    let house = House::new(1).await;
    let sealed = house.seal(&["acme"], b"plain");
    house.vault.disable(["acme".to_owned()]);
    let disabled = KeyError::Disabled { owner: "acme".to_owned() };
    assert_eq!(house.open(&["acme"], &sealed), Err(OpenError::Key(disabled.clone())));
    assert_eq!(house.vault.seal(&house.rng, Purpose::Secret, &["acme"], b"x"), Err(disabled.clone()));
    assert_eq!(house.vault.new_owner_key(&house.rng, "acme", 2).err(), Some(disabled.clone()));
    assert!(!house.vault.keys.read().owners.contains_key("acme"), "it is not in memory any more");
    house.vault.load(&house.rows).await.expect("loads");
    assert_eq!(house.vault.check("acme"), Err(disabled), "loading does not bring it back");
    assert_eq!(house.vault.take_refused(), [("acme".to_owned(), 4)]);
    assert_eq!(house.vault.check("beta"), Ok(()));

    house.vault.disable([String::new()]);
    assert!(house.vault.check("beta").is_err(), "all tenants are meant");
    assert_eq!(
        house.vault.check(""),
        Ok(()),
        "the installation's own key lets a server start and an administrator enable"
    );
    house.vault.disable([]);
    house.vault.load(&house.rows).await.expect("loads");
    assert_eq!(house.open(&["acme"], &sealed).as_deref(), Ok(&b"plain"[..]));
}

#[tokio::test]
async fn what_a_master_key_sealed_itself_opens_under_the_hierarchy() {
    let rng = SeededRng::new(4);
    let master = MasterKey::random(&rng);
    let old = SealingKey::new(BY_MASTER, master.0.expose());
    let sealed = old.seal(&rng, "secret", &["acme", "row"], b"plain");
    // Byte for byte what the program wrote before there was a hierarchy.
    assert_eq!(sealed[0], 1);
    assert_eq!(Vault::opens_under(&master, Purpose::Secret, &["acme", "row"], &sealed), Ok(()));
    let other = MasterKey::random(&rng);
    let wrong = Vault::opens_under(&other, Purpose::Secret, &["acme", "row"], &sealed);
    assert!(matches!(wrong, Err(OpenError::WrongKey { .. })), "{wrong:?}");

    // Taken over under any seal: the master key is wrapped by the root key.
    let vault = Vault::new(&other);
    let (root, key) = vault.new_root(&rng, 1).await.expect("a root key");
    let rows = [root, Vault::first_owner_key(&rng, &key, "acme").stored, Vault::wrap_master(&rng, &key, &master)];
    vault.load(&rows).await.expect("loads");
    assert_eq!(vault.open(Purpose::Secret, &["acme", "row"], &sealed).expect("opens").expose(), b"plain");
    let again = vault.reseal(&rng, Purpose::Secret, &["acme", "row"], &sealed).expect("opens").expect("is old");
    assert_eq!((again[0], sealed_under(&again)), (2, vault.key_id("acme").ok()));
}

#[tokio::test]
async fn another_master_key_says_so() {
    let house = House::new(1).await;
    let other = Vault::new(&MasterKey::random(&SeededRng::new(2)));
    let refused = other.load(&house.rows).await.expect_err("another master key");
    assert!(matches!(refused, RootSealError::WrongKey { .. }), "{refused}");
    assert_eq!(other.check("acme"), Err(KeyError::Closed));
}

#[tokio::test]
async fn a_sealed_key_signs_again_and_does_not_show() {
    let house = House::new(1).await;
    let made = house.vault.new_signing_key(&house.rng, "acme", "issuing").expect("a key");
    assert_eq!(made.name, format!("issuing-{}", made.mark));
    let again = house.vault.signer("acme", &made.name, &made.sealed).expect("opens");
    assert_eq!(made.key.public_spki(), again.public_spki());
    assert!(house.vault.signer("beta", &made.name, &made.sealed).is_err());
    let not_a_key =
        house.vault.seal(&house.rng, Purpose::SigningKey, &["acme", "issuing"], b"nonsense").expect("seals");
    assert_eq!(house.vault.signer("acme", "issuing", &not_a_key).err(), Some(crate::SignerError::NotAKey));
}

#[test]
fn a_closed_vault_does_nothing() {
    let vault = Vault::new(&MasterKey::random(&SeededRng::new(1)));
    assert_eq!(vault.seal(&SeededRng::new(1), Purpose::Secret, &["acme"], b"x"), Err(KeyError::Closed));
    assert_eq!(vault.check(""), Err(KeyError::Closed));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let key = SealingKey::new(BY_HIERARCHY, &[7; 32]);
        proptest::prop_assert!(key.open("secret", &["acme"], &bytes).is_err());
        if let Ok(envelope) = root::Envelope::parse(&bytes) {
            proptest::prop_assert_eq!(envelope.format(), bytes);
        }
    }

    #[test]
    fn open_of_seal_is_the_same(plain in proptest::collection::vec(proptest::num::u8::ANY, 0..200), seed: u64, flip: usize) {
        let (key, rng) = (SealingKey::new(BY_HIERARCHY, &[7; 32]), SeededRng::new(seed));
        let mut sealed = key.seal(&rng, "secret", &["acme"], &plain);
        let opened = key.open("secret", &["acme"], &sealed).expect("opens");
        proptest::prop_assert_eq!(opened.expose(), &plain);
        let at = flip % sealed.len();
        sealed[at] ^= 1 << (seed % 8);
        proptest::prop_assert!(key.open("secret", &["acme"], &sealed).is_err());
    }
}

/// A seal that is no key of ours, as a token's is.
struct Elsewhere;

#[async_trait::async_trait]
impl RootSeal for Elsewhere {
    fn kind(&self) -> crate::SealKind {
        crate::SealKind::Transit
    }

    fn describe(&self) -> String {
        "elsewhere".to_owned()
    }

    async fn wrap(&self, _: &RootKey) -> Result<Vec<u8>, RootSealError> {
        Err(RootSealError::Malformed)
    }

    async fn unwrap(&self, _: &[u8]) -> Result<RootKey, RootSealError> {
        Err(RootSealError::Malformed)
    }
}

#[test]
fn a_text_is_known_again_by_a_vault_that_was_never_opened() {
    let vault = Vault::sealed_by(Arc::new(Elsewhere));
    let tag = vault.mac(MacPurpose::Cursor).tag(b"after=7");
    assert!(vault.mac(MacPurpose::Cursor).verifies(b"after=7", &tag));
    assert!(!vault.mac(MacPurpose::Request).verifies(b"after=7", &tag), "for its purpose alone");
    assert!(!Vault::sealed_by(Arc::new(Elsewhere)).mac(MacPurpose::Cursor).verifies(b"after=7", &tag));
}
