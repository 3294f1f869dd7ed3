//! The hierarchy of keys over its life: made, followed by a second server, rotated, cut off in the middle, disabled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::publication::{self, ocsp};
use fleetward_app::reconcile::transparency as log;
use fleetward_app::vault::{self, RewrapStatus, VaultView};
use fleetward_app::{App, Error, authority, tenants, transparency};
use fleetward_base::{Clock, ManualClock, Rng, SystemRng, Timestamp, limits};
use fleetward_core::journal::Action;
use fleetward_pki::ocsp::cert_id;
use fleetward_pki::{Serial, Signer, SoftKey};
use fleetward_store::Store;
use fleetward_vault::{KeyUri, LocalSeal, MasterKey, RootSeal, TokenError, Tokens, Vault};
use object_store::memory::InMemory;
use parking_lot::Mutex;

use crate::enroll::{Device, enrolled, enrolled_at};
use crate::fixture::{Fixture, ctx, tenant};
use crate::ways_out::{mark, request};

/// More than a server may go by what it heard before.
const STALE: Duration = Duration::from_millis(1001);

fn is_shut<T>(outcome: Result<T, Error>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(Error::Unavailable { what }) => what.contains("disabled"),
        Err(other) => panic!("{other:?}"),
    }
}

async fn actions(fixture: &Fixture, home: &str) -> Vec<Action> {
    let filter = JournalFilter::default();
    let page = journal::events(&fixture.app, &fixture.admin, &tenant(home), filter, None, 1000).await.expect("events");
    page.into_iter().rev().map(|event| event.entry.action).collect()
}

async fn keys_of(fixture: &Fixture, home: &str) -> Vec<(u64, bool)> {
    let view = vault::tenant_vault(&fixture.app, &fixture.admin, &tenant(home)).await.expect("a view");
    view.keys.into_iter().map(|key| (key.version, key.active)).collect()
}

async fn installation(fixture: &Fixture) -> VaultView {
    vault::vault(&fixture.app, &fixture.admin).await.expect("a view")
}

#[tokio::test]
async fn disabled_keys_are_shut_on_every_server_within_a_second() {
    let fixture = Fixture::new().await;
    let second = fixture.second();
    authority::open_installation(&second).await.expect("the same keys");
    enrolled_at(&second, &fixture, "acme", &Device::new("gw-1")).await.expect("both servers issue");

    let (acme, owner) = (tenant("acme"), fixture.operator("acme", "owner").await);
    vault::disable(&fixture.app, &owner, Some(&acme), "a laptop was stolen").await.expect("an owner may");
    vault::disable(&fixture.app, &owner, Some(&acme), "once more").await.expect("asking twice is harmless");
    assert!(is_shut(enrolled_at(&fixture.app, &fixture, "acme", &Device::new("gw-2")).await), "here at once");
    fixture.clock.advance(STALE);
    assert!(is_shut(enrolled_at(&second, &fixture, "acme", &Device::new("gw-3")).await), "there within a second");
    assert!(second.vault().open(fleetward_vault::Purpose::Secret, &["acme"], &[2; 80]).is_err());
    enrolled_at(&second, &fixture, "zenith", &Device::new("gw-1")).await.expect("another tenant is not concerned");
    // A start in the middle of it is shut as well.
    let third = fixture.second();
    authority::open_installation(&third).await.expect("a server starts");
    assert!(is_shut(enrolled_at(&third, &fixture, "acme", &Device::new("gw-4")).await));

    for app in [&fixture.app, &second, &third] {
        vault::tell_refused(app).await.expect("journaled");
        assert_eq!(vault::tell_refused(app).await.expect("journaled"), 0, "not again within the minute");
    }
    let told = actions(&fixture, "acme").await;
    assert_eq!(told.iter().filter(|action| **action == Action::VaultUseRefused).count(), 3, "one row for each server");
    assert_eq!(told.iter().filter(|action| **action == Action::VaultDisabled).count(), 1);

    let denied = vault::enable(&fixture.app, &owner, Some(&acme)).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    vault::enable(&fixture.app, &fixture.admin, Some(&acme)).await.expect("an administrator may");
    vault::refresh(&second).await.expect("its next look");
    enrolled_at(&second, &fixture, "acme", &Device::new("gw-5")).await.expect("open again");
    assert_eq!(actions(&fixture, "acme").await.iter().filter(|action| **action == Action::VaultEnabled).count(), 1);
}

/// What was opened before stays in memory; that does not help it.
#[tokio::test]
async fn disabled_keys_sign_no_answer_and_no_head_that_was_open_before() {
    let fixture = Fixture::new().await;
    let second = fixture.second();
    authority::open_installation(&second).await.expect("the same keys");
    let (acme, held) = (tenant("acme"), enrolled(&fixture, "acme", &Device::new("gw-1")).await);
    let mark = mark(&fixture, &held).await;
    let issuer = publication::authority(&fixture.app, &mark).await.expect("there").certificate.clone();
    let id = cert_id(&issuer, &Serial::from_hex(&held.serial).expect("hex")).expect("an id");
    let later = vec![0x30, 3, 0x0a, 1, 3];
    // With a nonce, so that each is signed then and there.
    let answer = async |app: &App, nonce: u8| ocsp::answer(app, &mark, &request(&id, &[nonce; 16])).await.der.to_vec();
    let head = async |app: &App| {
        log::tick(app).await.expect("one tenant does not hold up the others");
        transparency::head(app, &fixture.admin, &acme).await
    };
    for app in [&fixture.app, &second] {
        assert_ne!(answer(app, 1).await, later);
        head(app).await.expect("a head");
    }
    vault::disable(&fixture.app, &fixture.admin, Some(&acme), "a laptop was stolen").await.expect("disabled");
    fixture.clock.advance(STALE);
    for app in [&fixture.app, &second] {
        assert_eq!(answer(app, 2).await, later, "the responder is shut");
        assert!(is_shut(head(app).await), "so is the log");
    }
    // Another tenant's is not concerned, nor is what the installation signs.
    let theirs = enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    assert_eq!(transparency_of(&fixture, "zenith").await, 1, "{}", theirs.serial);
    vault::enable(&fixture.app, &fixture.admin, Some(&acme)).await.expect("enabled");
    vault::refresh(&second).await.expect("its next look");
    for app in [&fixture.app, &second] {
        assert_ne!(answer(app, 3).await, later);
        head(app).await.expect("a head");
    }
}

async fn transparency_of(fixture: &Fixture, home: &str) -> u64 {
    log::tick(&fixture.app).await.expect("a turn");
    transparency::head(&fixture.app, &fixture.admin, &tenant(home)).await.expect("a head").size
}

#[tokio::test]
async fn all_tenants_are_shut_at_once_and_the_installation_is_not() {
    let fixture = Fixture::new().await;
    let owner = fixture.operator("acme", "owner").await;
    let denied = vault::disable(&fixture.app, &owner, None, "no").await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    vault::disable(&fixture.app, &fixture.admin, None, "an intruder").await.expect("an administrator may");
    for home in ["acme", "zenith"] {
        assert!(is_shut(enrolled_at(&fixture.app, &fixture, home, &Device::new("gw-1")).await), "{home}");
    }
    let made = tenants::create_tenant(&fixture.app, &fixture.admin, tenant("third"), None).await;
    assert!(is_shut(made), "nor is a new one made");
    assert_eq!(installation(&fixture).await.disabled.expect("disabled").reason, "an intruder");
    // Who enables one tenant does not take back what holds for all.
    vault::enable(&fixture.app, &fixture.admin, Some(&tenant("acme"))).await.expect("harmless");
    assert!(is_shut(enrolled_at(&fixture.app, &fixture, "acme", &Device::new("gw-1")).await));
    // Without this no server could start, and nobody enable again.
    let second = fixture.second();
    authority::open_installation(&second).await.expect("a server starts");
    vault::enable(&second, &ctx(&second, fixture.admin.principal.clone()), None).await.expect("enabled there");
    fixture.clock.advance(STALE);
    enrolled_at(&fixture.app, &fixture, "acme", &Device::new("gw-1")).await.expect("open here");
}

#[tokio::test]
async fn a_server_that_cannot_look_is_shut() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let token = crate::enroll::token(&fixture, "acme", "gw-1").await;
    fixture.app.store().close().await;
    fixture.clock.advance(STALE);
    let refused = crate::enroll::enroll(&fixture, &field, &token).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_rotated_tenant_goes_on_everywhere_and_its_old_key_ends() {
    let fixture = Fixture::new().await;
    let second = fixture.second();
    authority::open_installation(&second).await.expect("the same keys");
    let (app, acme) = (&fixture.app, tenant("acme"));
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    vault::rotate_tenant(app, &fixture.operator("acme", "owner").await, &acme).await.expect("rotated");
    assert_eq!(keys_of(&fixture, "acme").await, [(1, false), (2, true)]);
    // Whoever has not heard of it opens what it knows; whoever starts opens both.
    enrolled_at(&second, &fixture, "acme", &Device::new("gw-2")).await.expect("the one before still opens");
    let turn = vault::rewrap(app).await.expect("a turn");
    assert_eq!(turn, RewrapStatus { wrapped: 0, sealed: 1, destroyed: 0 }, "the issuing key is sealed anew");
    fixture.clock.advance(limits::VAULT_RETIRED_KEPT);
    assert_eq!(vault::rewrap(app).await.expect("a turn").destroyed, 1);
    assert_eq!(keys_of(&fixture, "acme").await, [(2, true)]);
    let third = fixture.second();
    authority::open_installation(&third).await.expect("the same keys");
    for server in [&second, &third] {
        vault::refresh(server).await.expect("a look");
        let name = if std::ptr::eq(server, &second) { "gw-3" } else { "gw-4" };
        enrolled_at(server, &fixture, "acme", &Device::new(name)).await.expect("the new key opens");
    }
    let told = actions(&fixture, "acme").await;
    assert!(told.contains(&Action::VaultRotated) && told.contains(&Action::VaultKeyDestroyed), "{told:?}");
    assert_eq!(vault::rewrap(app).await.expect("a turn"), RewrapStatus::default(), "nothing is left to do");
}

#[tokio::test]
async fn an_old_key_stays_as_long_as_something_is_under_it() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    // An answer that is kept for a day is sealed under the tenant's key.
    let mut asking = fixture.operator("acme", "owner").await;
    asking.idempotency = Some(fleetward_app::Idempotency { key: "k".to_owned(), request_hash: [7; 32] });
    let token = || {
        let fields = fleetward_core::registry::DeviceFields::default();
        let device = crate::fixture::device("gw-9");
        fleetward_app::enroll_tokens::create_enroll_token(app, &asking, &acme, device, fields, None)
    };
    let first = token().await.expect("a token").token;
    vault::rotate_tenant(app, &fixture.admin, &acme).await.expect("rotated");
    fixture.clock.advance(limits::VAULT_RETIRED_KEPT);
    assert_eq!(vault::rewrap(app).await.expect("a turn").destroyed, 0);
    assert_eq!(token().await.expect("the same").token, first, "the kept answer opens under the old key");
    fixture.clock.advance(limits::IDEMPOTENCY_TTL + Duration::from_secs(1));
    fleetward_app::reconcile::expiry::expire(app).await.expect("expired");
    assert_eq!(vault::rewrap(app).await.expect("a turn").destroyed, 1);
}

#[tokio::test]
async fn a_rotated_root_wraps_every_key_again() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let before = app.vault().root_key_id().expect("a root key");
    vault::rotate_root(app, &fixture.admin).await.expect("rotated");
    let after = app.vault().root_key_id().expect("a root key");
    assert_ne!(before, after);
    // Killed here: the new start has both root keys and does the rest.
    let second = fixture.second();
    authority::open_installation(&second).await.expect("both root keys open");
    let turn = vault::rewrap(&second).await.expect("a turn");
    assert_eq!(turn.wrapped, 5, "two tenants, two of the installation, and the one that authenticates: {turn:?}");
    fixture.clock.advance(limits::VAULT_RETIRED_KEPT);
    assert_eq!(vault::rewrap(&second).await.expect("a turn").destroyed, 2, "the root key and the installation's own");
    let view = installation(&fixture).await;
    assert!(view.keys.iter().all(|key| key.active), "{view:?}");
    assert!(view.keys.iter().filter(|key| key.kind != "root").all(|key| key.wrapped_by == after), "{view:?}");
    for server in [app, &second, &fixture.second()] {
        authority::open_installation(server).await.expect("under the new root key");
    }
    fixture.clock.advance(STALE);
    enrolled(&fixture, "acme", &Device::new("gw-2")).await;
}

#[tokio::test]
async fn a_tenant_made_under_a_root_key_that_just_retired_is_not_lost() {
    let fixture = Fixture::new().await;
    let second = fixture.second();
    authority::open_installation(&second).await.expect("the same keys");
    vault::rotate_root(&fixture.app, &fixture.admin).await.expect("rotated");
    let admin = ctx(&second, fixture.admin.principal.clone());
    let refused = tenants::create_tenant(&second, &admin, tenant("third"), None).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    vault::refresh(&second).await.expect("its next look");
    tenants::create_tenant(&second, &admin, tenant("third"), None).await.expect("under the new one");
    enrolled_at(&second, &fixture, "third", &Device::new("gw-1")).await.expect("it issues");
}

#[tokio::test]
async fn another_seal_is_one_key_wrapped_again() {
    let fixture = Fixture::new().await;
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let master = MasterKey::random(&SystemRng);
    let seal: Arc<dyn RootSeal> = Arc::new(LocalSeal::new(master.clone(), "file:/new"));
    let sealed_before = installation(&fixture).await.keys;
    vault::change_seal(&fixture.app, seal).await.expect("changed");
    let view = installation(&fixture).await;
    for (before, after) in sealed_before.iter().zip(&view.keys) {
        assert_eq!(before.key_id, after.key_id);
        assert_eq!(before.wrapped_by != after.wrapped_by, after.kind == "root", "only the root key is wrapped again");
    }
    assert!(authority::open_installation(&fixture.second()).await.is_err(), "the old seal opens no more");
    let moved = fixture.second_with(Vault::sealed_by(Arc::new(LocalSeal::new(master, "file:/new"))));
    authority::open_installation(&moved).await.expect("the new one does");
    enrolled_at(&moved, &fixture, "acme", &Device::new("gw-2")).await.expect("with all that is under it");
    // A server that still runs with the old seal has the root key, and must not make another under a seal that ended.
    let refused = vault::rotate_root(&fixture.app, &fixture.admin).await;
    assert!(matches!(refused, Err(Error::Conflict { code: "seal-changed", .. })), "{refused:?}");
    let moved_admin = ctx(&moved, fixture.admin.principal.clone());
    vault::rotate_root(&moved, &moved_admin).await.expect("where the new seal is");
}

#[tokio::test]
async fn viewers_see_nothing_and_owners_their_own() {
    let fixture = Fixture::new().await;
    let (acme, zenith) = (tenant("acme"), tenant("zenith"));
    let (owner, viewer) = (fixture.operator("acme", "owner").await, fixture.operator("acme", "viewer").await);
    let app = &fixture.app;
    assert!(matches!(vault::tenant_vault(app, &viewer, &acme).await, Err(Error::Denied { .. })));
    assert!(matches!(vault::tenant_vault(app, &owner, &zenith).await, Err(Error::NotFound { .. })));
    assert!(matches!(vault::vault(app, &owner).await, Err(Error::Denied { .. })));
    assert!(matches!(vault::rotate_root(app, &owner).await, Err(Error::Denied { .. })));
    assert!(matches!(vault::rotate_tenant(app, &owner, &zenith).await, Err(Error::NotFound { .. })));
    assert!(matches!(vault::disable(app, &owner, Some(&zenith), "x").await, Err(Error::NotFound { .. })));
    assert!(matches!(vault::rotate_tenant(app, &fixture.admin, &tenant("none")).await, Err(Error::NotFound { .. })));
    assert_eq!(vault::tenant_vault(app, &owner, &acme).await.expect("its own").seal, None);
    for reason in ["", " ", "a\nb", &"x".repeat(501)] {
        let refused = vault::disable(app, &owner, Some(&acme), reason).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{reason:?}");
    }
}

/// A database that the program before the hierarchy left, with its master key.
async fn old_installation(master: &str) -> (tempfile::TempDir, App) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fleetward.db");
    let old = rusqlite::Connection::open(&file).expect("a database");
    old.execute_batch(include_str!("data/before-hierarchy.sql")).expect("as it was left");
    drop(old);
    (folder, old_app(&file, master).await)
}

async fn old_app(file: &std::path::Path, master: &str) -> App {
    // 2026-11-28
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_824_000)));
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    let store = Store::open(&fleetward_store::Config::sqlite(file), clock.as_ref()).await.expect("it is migrated");
    let master = MasterKey::from_variable(&fleetward_base::Secret::new(master.to_owned())).expect("a master key");
    let app = App::new(store, Vault::new(&master), clock, rng, Arc::new(InMemory::new()));
    app.configure(crate::fixture::settings());
    app
}

#[tokio::test]
async fn an_installation_from_before_is_taken_over() {
    let (folder, app) = old_installation("pijiIvmfC+h/PavWOPTYOG/jsGzgkSavmLbWnTd/hS0=").await;
    let root = {
        authority::open_installation(&app).await.expect("the master key's seals open");
        authority::root_pem(&app).await.expect("a root")
    };
    assert!(include_str!("data/before-hierarchy.pem") == root, "the same authority as before");
    let system = app.system("test");
    let kinds = |view: VaultView| view.keys.into_iter().map(|key| key.kind).collect::<Vec<_>>();
    assert_eq!(kinds(vault::vault(&app, &system).await.expect("a view")), ["anchor", "master", "owner", "root"]);
    // Before and after its keys are sealed anew, a tenant of before issues.
    crate::enroll::enrolled_by_system(&app, "acme", &Device::new("gw-2")).await.expect("as it is");
    assert_eq!(vault::rewrap(&app).await.expect("a turn").sealed, 4, "root, infra and two tenants");
    app.store().close().await;
    drop(app);

    let file = folder.path().join("fleetward.db");
    let again = old_app(&file, "pijiIvmfC+h/PavWOPTYOG/jsGzgkSavmLbWnTd/hS0=").await;
    authority::open_installation(&again).await.expect("sealed anew");
    crate::enroll::enrolled_by_system(&again, "zenith", &Device::new("gw-3")).await.expect("sealed anew");
}

#[tokio::test]
async fn a_wrong_master_key_takes_nothing_over() {
    let (folder, app) = old_installation(&"00".repeat(32)).await;
    let refused = authority::open_installation(&app).await.map(drop).expect_err("another master key");
    let cause = std::error::Error::source(&refused).expect("a cause").to_string();
    assert!(cause.contains("sealed under the key"), "{cause}");
    app.store().close().await;
    drop(app);
    let again = old_app(&folder.path().join("fleetward.db"), "pijiIvmfC+h/PavWOPTYOG/jsGzgkSavmLbWnTd/hS0=").await;
    authority::open_installation(&again).await.expect("nothing was changed");
}

/// A token in memory: what the server sees of one.
#[derive(Default)]
struct FakeToken {
    keys: Mutex<HashMap<String, Arc<SoftKey>>>,
    away: Mutex<bool>,
}

#[async_trait]
impl Tokens for FakeToken {
    async fn signer(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError> {
        if *self.away.lock() {
            return Err(TokenError::Unreachable("pulled out".to_owned()));
        }
        let found = self.keys.lock().get(uri).cloned();
        found.map(|key| key as Arc<dyn Signer>).ok_or_else(|| TokenError::NoKey(uri.to_owned()))
    }

    async fn generate(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError> {
        let parsed: KeyUri = uri.parse()?;
        self.keys.lock().insert(parsed.to_string(), Arc::new(SoftKey::generate().0));
        self.signer(uri).await
    }
}

#[tokio::test]
async fn a_tenant_whose_issuing_key_is_in_a_token() {
    let fixture = Fixture::new().await;
    let uri = "pkcs11:token=fleet;object=third";
    let create = |name: &str, uri: &'static str| {
        let (app, admin, name) = (fixture.app.clone(), fixture.admin.clone(), tenant(name));
        async move { tenants::create_tenant_with_key(&app, &admin, name, None, Some(uri)).await }
    };
    let untold = create("third", uri).await;
    assert!(matches!(untold, Err(Error::Invalid { .. })), "no token was named: {untold:?}");
    let token = Arc::new(FakeToken::default());
    fixture.app.connect_tokens(Arc::clone(&token) as Arc<dyn Tokens>);
    let with_pin = create("third", "pkcs11:token=fleet;object=third?pin-value=1234").await;
    assert!(matches!(&with_pin, Err(Error::Invalid { reason, .. }) if reason.contains("PIN")), "{with_pin:?}");
    create("third", uri).await.expect("made");
    enrolled(&fixture, "third", &Device::new("gw-1")).await;
    // The tenant that is there already gets no second key in the token.
    let taken = create("acme", "pkcs11:token=fleet;object=acme").await;
    assert!(matches!(taken, Err(Error::Conflict { .. })), "{taken:?}");
    assert_eq!(token.keys.lock().len(), 1);

    // After a restart: with the token it goes on, without it what needs it is not available, and nothing else.
    let second = fixture.second();
    second.connect_tokens(Arc::clone(&token) as Arc<dyn Tokens>);
    authority::open_installation(&second).await.expect("opened");
    *token.away.lock() = true;
    let away = enrolled_at(&second, &fixture, "third", &Device::new("gw-2")).await;
    assert!(matches!(away, Err(Error::Unavailable { what }) if what.contains("token")), "{away:?}");
    enrolled_at(&second, &fixture, "acme", &Device::new("gw-2")).await.expect("its key is sealed");
    *token.away.lock() = false;
    enrolled_at(&second, &fixture, "third", &Device::new("gw-2")).await.expect("it is back");
    // Disabled keys sign no more, wherever they are.
    vault::disable(&second, &ctx(&second, fixture.admin.principal.clone()), Some(&tenant("third")), "x")
        .await
        .expect("shut");
    assert!(is_shut(enrolled_at(&second, &fixture, "third", &Device::new("gw-3")).await));
}
