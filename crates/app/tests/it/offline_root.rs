//! A root that is kept offline: what waits for it, what is taken from it, and how one follows another.

use std::time::Duration;

use fleetward_app::authority::{
    authority_chain, open_installation, open_installation_under, root_pem, server_identity,
};
use fleetward_app::ca_rotations::{
    advance_rotation, anchor_held, cancel_rotation, rotation, start_offline_rotation, start_rotation,
};
use fleetward_app::offline_root::{RequestView, import, requests, root_certificate};
use fleetward_app::reconcile::{authorities, crls};
use fleetward_app::revocation::{self, NewRevocation};
use fleetward_app::{Error, publication, tenants};
use fleetward_base::{SeededRng, Timestamp};
use fleetward_core::ca_rotation::{Forced, Stage, Waits};
use fleetward_core::revocation::Target;
use fleetward_pki::issue::Issuer;
use fleetward_pki::offline::{self, Asks};
use fleetward_pki::{Certificate, Serial, SoftKey, Validity, ca, pem};

use crate::enroll::{Device, admit, enrolled, renew};
use crate::fixture::{Fixture, device, tenant};

const DAY: Duration = Duration::from_secs(24 * 3600);
const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);

/// The machine in the safe.
struct Safe {
    key: SoftKey,
    root: Certificate,
    rng: SeededRng,
}

impl Safe {
    fn new(name: &str) -> Self {
        let (rng, key) = (SeededRng::new(name.len() as u64), SoftKey::generate().0);
        let made = ca::root(name, Serial::generate(&rng), lasting(9000), &key).expect("signs");
        Self { key, root: Certificate::parse(&made.der).expect("reads"), rng }
    }

    fn sign_for(&self, asked: &RequestView, validity: Validity) -> String {
        let label = if asked.asks == "cross" { pem::CERTIFICATE } else { pem::CERTIFICATE_REQUEST };
        let der = pem::read(label, &asked.pem).expect("PEM").remove(0);
        let request = offline::read(&der, &self.root).expect("for this root");
        let issuer = Issuer::new(&self.root, &self.key).expect("its key");
        let signed = offline::sign(&issuer, &request, Serial::generate(&self.rng), validity).expect("signs");
        pem::write(pem::CERTIFICATE, &signed.der)
    }

    fn sign(&self, asked: &RequestView) -> String {
        self.sign_for(asked, lasting(4000))
    }

    /// What of these is asked of this root.
    fn mine<'a>(&self, open: &'a [RequestView]) -> Vec<&'a RequestView> {
        open.iter().filter(|asked| asked.root == self.root.fingerprint()).collect()
    }
}

fn lasting(days: u32) -> Validity {
    Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY * days) }
}

async fn open(fixture: &Fixture) -> Vec<RequestView> {
    requests(&fixture.app, &fixture.admin).await.expect("requests")
}

/// The whole first ceremony.
async fn held(fixture: &Fixture, safe: &Safe) {
    let all: String = open(fixture).await.iter().map(|asked| safe.sign(asked)).collect();
    import(&fixture.app, &fixture.admin, &all).await.expect("imported");
}

fn parsed(chain: &[Vec<u8>]) -> Vec<Certificate> {
    chain.iter().map(|der| Certificate::parse(der).expect("reads")).collect()
}

#[tokio::test]
async fn a_server_waits_for_its_root_and_goes_on() {
    let safe = Safe::new("Acme Root");
    let fixture = Fixture::under(&safe.root).await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    // Nothing is signed yet: the server shows a certificate of this start, and says what it waits for.
    assert_eq!(root_pem(app).await.expect("PEM").matches("BEGIN").count(), 2);
    assert_eq!(server_identity(app).expect("shown").chain.len(), 1);
    assert_eq!(authority_chain(app, None).await.expect("a chain"), std::slice::from_ref(&safe.root.der));
    let waits = authority_chain(app, Some(&acme)).await;
    assert!(matches!(&waits, Err(Error::Unavailable { what }) if what.contains("wardctl ca csr")), "{waits:?}");
    let asked = open(&fixture).await;
    assert_eq!(asked.iter().map(|it| it.asks.as_str()).collect::<Vec<_>>(), ["servers", "tenants"]);
    // A restart asks for the same, and its key is not made anew.
    let second = fixture.second();
    open_installation_under(&second, Some(&safe.root)).await.expect("the same root");
    assert_eq!(open(&fixture).await, asked);

    // The authority for servers comes first; the rest waits on.
    let done = import(app, admin, &safe.sign(&asked[0])).await.expect("imported");
    assert_eq!((done.imported.len(), done.tenants, done.waiting.len()), (1, 0, 1));
    let shown = parsed(&server_identity(app).expect("shown").chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>());
    assert_eq!((shown.len(), &shown[1].issuer), (2, &safe.root.subject));
    assert_eq!(root_pem(app).await.expect("PEM").matches("BEGIN").count(), 1);
    assert!(authority_chain(app, Some(&acme)).await.is_err());
    // A chain may come along.
    let chain = format!("{}{}", safe.sign(&asked[1]), pem::write(pem::CERTIFICATE, &safe.root.der));
    let done = import(app, admin, &chain).await.expect("imported");
    assert_eq!((done.imported[0].asks.as_str(), done.tenants, done.waiting.len()), ("tenants", 2, 0));
    let chain = parsed(&authority_chain(app, Some(&acme)).await.expect("a chain"));
    let [issuing, between, root] = chain.as_slice() else { panic!("{} certificates", chain.len()) };
    assert_eq!((&issuing.issuer, &between.issuer, root), (&between.subject, &root.subject, &safe.root));
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    admit(&fixture, &held).await.expect("let in");
    // A tenant that comes later has its authority at once.
    tenants::create_tenant(app, admin, tenant("later"), None).await.expect("a tenant");
    enrolled(&fixture, "later", &Device::new("gw-2")).await;
    // A second server, which knows no root by its flags.
    open_installation(&second).await.expect("opened");
    assert_eq!(server_identity(&second).expect("shown").chain.len(), 2);
    // Lists: of tenants' authorities by the one between, of the root by nobody here.
    assert_eq!(crls::tick(app).await.expect("lists").failed, 0);
    publication::list(app, &between.fingerprint()[..16], None).await.expect("a list");
    assert!(publication::list(app, &root.fingerprint()[..16], None).await.is_err());
    let other = open_installation_under(&fixture.second(), Some(&Safe::new("Other").root)).await;
    assert!(matches!(other, Err(Error::Conflict { code: "another-root", .. })));
}

#[tokio::test]
async fn what_is_not_taken_in() {
    let (safe, other) = (Safe::new("Acme Root"), Safe::new("Acme Root"));
    let fixture = Fixture::under(&safe.root).await;
    let elsewhere = Fixture::under(&safe.root).await;
    let (app, admin) = (&fixture.app, &fixture.admin);
    let asked = open(&fixture).await;
    let invalid = |outcome: Result<_, Error>, why: &str| match outcome {
        Err(Error::Invalid { field, reason }) => {
            assert!(field == "certificates" && reason.contains(why), "{field} {reason}");
        }
        found => panic!("{why}: {found:?}"),
    };
    let untrusted = |outcome: Result<_, Error>, why: &str| match outcome {
        Err(Error::Untrusted { code: "authority-refused", reason }) => assert!(reason.contains(why), "{reason}"),
        found => panic!("{why}: {found:?}"),
    };
    // The same key, under a root of the same name that is another one.
    let issuer = Issuer::new(&other.root, &other.key).expect("its key");
    let der = pem::read(pem::CERTIFICATE_REQUEST, &asked[0].pem).expect("PEM").remove(0);
    let request = offline::read(&der, &safe.root).expect("reads");
    let signed = offline::sign(&issuer, &request, Serial::generate(&safe.rng), lasting(400)).expect("signs");
    invalid(import(app, admin, &pem::write(pem::CERTIFICATE, &signed.der)).await, "another root");
    // Of another server under the same root.
    let theirs = safe.sign(&open(&elsewhere).await[0]);
    invalid(import(app, admin, &theirs).await, "its key is that of no open request");
    // Of nobody.
    invalid(import(app, admin, &pem::write(pem::CERTIFICATE, &other.root.der)).await, "no request of this server");
    // Expired, and not yet valid.
    let past = Validity { not_before: NOW.minus(DAY * 9), not_after: NOW.minus(DAY * 8) };
    let ahead = Validity { not_before: NOW.plus(DAY), not_after: NOW.plus(DAY * 2) };
    let old = Validity { not_before: NOW.minus(DAY / 2), not_after: NOW.minus(DAY / 4) };
    assert!(past.not_after < safe.root.not_before, "before the root began: nobody signs that");
    for bad in [ahead, old] {
        untrusted(import(app, admin, &safe.sign_for(&asked[0], bad)).await, "not valid now");
    }
    // Signed for another purpose than asked: the tenants' key as an authority for servers.
    let issuer = Issuer::new(&safe.root, &safe.key).expect("its key");
    let der = pem::read(pem::CERTIFICATE_REQUEST, &asked[1].pem).expect("PEM").remove(0);
    let swapped = offline::Request {
        asks: Asks::Authority(ca::Vouches::Servers),
        ..offline::read(&der, &safe.root).expect("reads")
    };
    let swapped = offline::sign(&issuer, &swapped, Serial::generate(&safe.rng), lasting(400)).expect("signs");
    untrusted(import(app, admin, &pem::write(pem::CERTIFICATE, &swapped.der)).await, "path length");
    // The keys of the two requests swapped.
    let of = |at: usize| {
        let der = pem::read(pem::CERTIFICATE_REQUEST, &asked[at].pem).expect("PEM").remove(0);
        offline::read(&der, &safe.root).expect("reads")
    };
    let crossed = offline::Request { spki: of(1).spki, ..of(0) };
    let crossed = offline::sign(&issuer, &crossed, Serial::generate(&safe.rng), lasting(400)).expect("signs");
    untrusted(import(app, admin, &pem::write(pem::CERTIFICATE, &crossed.der)).await, "not that of the request");
    // Cut off, too much, none at all.
    let good = safe.sign(&asked[0]);
    invalid(import(app, admin, &good[..good.len() - 40]).await, "cut off");
    for (text, why) in [("", "1 to 16"), (&*good.repeat(17), "1 to 16")] {
        invalid(import(app, admin, text).await, why);
    }
    let der = pem::read(pem::CERTIFICATE, &good).expect("PEM").remove(0);
    invalid(import(app, admin, &pem::write(pem::CERTIFICATE, &der[..der.len() - 1])).await, "not an X.509");
    let huge = " ".repeat(fleetward_base::limits::CA_IMPORT_BYTES + 1);
    assert!(matches!(import(app, admin, &huge).await, Err(Error::TooLarge { .. })));
    let root = pem::write(pem::CERTIFICATE, &safe.root.der);
    invalid(import(app, admin, &root).await, "none answers");
    // All or none: one that is good beside one that is not.
    assert!(import(app, admin, &format!("{good}{theirs}")).await.is_err());
    assert_eq!(open(&fixture).await, asked, "nothing was taken");
    // Once, and not again.
    import(app, admin, &good).await.expect("imported");
    let again = import(app, admin, &good).await;
    assert!(matches!(again, Err(Error::Conflict { code: "authority-imported", .. })), "{again:?}");
    // Nor by anybody of a tenant.
    let owner = fixture.operator("acme", "owner").await;
    assert!(matches!(import(app, &owner, &good).await, Err(Error::Denied { .. })));
    assert!(matches!(requests(app, &owner).await, Err(Error::Denied { .. })));
    // What is no root.
    for bad in [&b""[..], b"hello", good.as_bytes(), root.repeat(2).as_bytes()] {
        assert!(matches!(root_certificate(bad), Err(Error::Invalid { .. })));
    }
    assert_eq!(root_certificate(root.as_bytes()).expect("a root"), safe.root);
    assert_eq!(root_certificate(&safe.root.der).expect("a root in DER"), safe.root);
}

#[tokio::test]
async fn one_offline_root_follows_another() {
    let (old, new) = (Safe::new("Acme Root"), Safe::new("Acme Root 2"));
    let fixture = Fixture::under(&old.root).await;
    held(&fixture, &old).await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let field = Device::new("gw-1");
    let first = enrolled(&fixture, "acme", &field).await;
    admit(&fixture, &first).await.expect("let in");
    let before = parsed(&authority_chain(app, Some(&acme)).await.expect("a chain"));
    let started = start_offline_rotation(app, admin, None, new.root.clone()).await.expect("started");
    assert_eq!(started.waits, Some(Waits::Imports(4)));
    let asked = open(&fixture).await;
    assert_eq!((old.mine(&asked).len(), new.mine(&asked).len()), (1, 3));
    anchor_held(app, &acme, &device("gw-1"), &started.new).await.expect("counted");
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 0, "it waits for the ceremony");
    // Not even by force: there is nothing that could sign.
    let forced = advance_rotation(app, admin, None, started.revision, Forced(true)).await;
    assert!(matches!(forced, Err(Error::Conflict { code: "authority-awaited", .. })), "{forced:?}");
    // Each root signs what is asked of it; NewWithOld and OldWithNew are shown from then on.
    let cross = old.sign(old.mine(&asked)[0]);
    import(app, admin, &cross).await.expect("imported");
    let rest: String = new.mine(&asked).into_iter().map(|it| new.sign(it)).collect();
    let done = import(app, admin, &rest).await.expect("imported");
    assert_eq!((done.imported.len(), done.waiting.len()), (3, 0));
    let shown = parsed(&authority_chain(app, None).await.expect("a chain"));
    assert_eq!(shown.len(), 4);
    let vouched = |subject: &Certificate, by: &Certificate| {
        shown.iter().any(|found| found.spki == subject.spki && found.authority_key_id == by.subject_key_id)
    };
    assert!(vouched(&old.root, &new.root) && vouched(&new.root, &old.root));
    let still: Vec<Vec<u8>> = server_identity(app).expect("shown").chain.iter().map(|der| der.to_vec()).collect();
    assert_eq!(parsed(&still)[1].issuer, old.root.subject, "the old one signs");
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 1);
    // The server is under the new root, and what the tenants' authority signed stays under both.
    let chain: Vec<Vec<u8>> = server_identity(app).expect("shown").chain.iter().map(|der| der.to_vec()).collect();
    let chain = parsed(&chain);
    assert_eq!((chain.len(), &chain[1].issuer, &chain[2].subject), (3, &new.root.subject, &new.root.subject));
    let after = parsed(&authority_chain(app, Some(&acme)).await.expect("a chain"));
    assert_eq!(after[0], before[0], "the issuing authority is untouched");
    assert_eq!((&after[1].spki, &after[1].issuer), (&before[1].spki, &new.root.subject));
    admit(&fixture, &first).await.expect("known as before");
    renew(&fixture, &first, &field).await.expect("renewed");
    fixture.clock.advance(DAY * 2);
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 1);
    assert_eq!(rotation(app, admin, None).await.expect("there").stage, Stage::Retired);
    assert_eq!(authority_chain(app, None).await.expect("a chain"), std::slice::from_ref(&new.root.der));
    tenants::create_tenant(app, admin, tenant("later"), None).await.expect("under the new root");
    enrolled(&fixture, "later", &Device::new("gw-3")).await;
    // A server that starts anew finds the same, by the new root and not by the old one.
    open_installation_under(&fixture.second(), Some(&new.root)).await.expect("opened");
    assert!(open_installation_under(&fixture.second(), Some(&old.root)).await.is_err());
}

#[tokio::test]
async fn an_installation_takes_its_root_offline_and_back() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    admit(&fixture, &first).await.expect("let in");
    let safe = Safe::new("Acme Root");
    let started = start_offline_rotation(app, admin, None, safe.root.clone()).await.expect("started");
    // The old root signs its half here.
    assert_eq!(
        open(&fixture).await.iter().map(|it| it.asks.as_str()).collect::<Vec<_>>(),
        ["cross", "servers", "tenants"]
    );
    // Called off: nothing of it is left, and another may start.
    cancel_rotation(app, admin, None, started.revision).await.expect("called off");
    assert_eq!(open(&fixture).await, []);
    assert!(matches!(
        start_offline_rotation(app, admin, None, safe.root.clone()).await,
        Err(Error::Conflict { code: "root-known", .. })
    ));
    let safe = Safe::new("Acme Root, again");
    let started = start_offline_rotation(app, admin, None, safe.root.clone()).await.expect("started");
    held(&fixture, &safe).await;
    anchor_held(app, &acme, &device("gw-1"), &started.new).await.expect("counted");
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 1);
    // Tenants go under the authority between, with the keys that they have.
    authorities::tick(app).await.expect("a tick");
    let chain = parsed(&authority_chain(app, Some(&acme)).await.expect("a chain"));
    assert_eq!((&chain[0].issuer, &chain[1].issuer), (&chain[1].subject, &safe.root.subject));
    admit(&fixture, &first).await.expect("known as before");
    fixture.clock.advance(DAY * 2);
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 1);
    let key = app.store().system_read("test", |tx| {
        Box::pin(async move {
            let tx = tx.installation().await?;
            let rows = tx.authorities().await?;
            let roots: Vec<String> =
                rows.into_iter().filter(|row| row.kind == "root").map(|row| row.key_purpose).collect();
            let mut kept = 0;
            for purpose in roots.iter().filter(|purpose| !purpose.is_empty()) {
                kept += usize::from(tx.sealed_key(purpose).await?.is_some());
            }
            Ok::<_, Error>(kept)
        })
    });
    assert_eq!(key.await.expect("read"), 0, "no key of a root is here any more");
    // And back: the root that is kept offline vouches for one that is not.
    let back = start_rotation(app, admin, None, None, None).await.expect("started");
    let asked = open(&fixture).await;
    assert_eq!(asked.iter().map(|it| it.asks.as_str()).collect::<Vec<_>>(), ["cross"]);
    import(app, admin, &safe.sign(&asked[0])).await.expect("imported");
    anchor_held(app, &acme, &device("gw-1"), &back.new).await.expect("counted");
    assert_eq!(authorities::tick(app).await.expect("a tick").advanced, 1);
    authorities::tick(app).await.expect("a tick");
    let chain = parsed(&authority_chain(app, Some(&acme)).await.expect("a chain"));
    let root = chain.iter().find(|it| it.fingerprint() == back.new).expect("it is shown");
    assert_eq!(chain[0].issuer, root.subject, "the root signs for tenants itself");
    admit(&fixture, &first).await.expect("known as before");
}

#[tokio::test]
async fn an_authority_of_a_tenant_is_revoked_without_the_root() {
    let safe = Safe::new("Acme Root");
    let fixture = Fixture::under(&safe.root).await;
    let app = &fixture.app;
    // Before the ceremony there is none.
    let target = Target::Authority { fingerprint: "0".repeat(64) };
    let new = NewRevocation { target, reason: "key_compromise".to_owned(), replace_by: None };
    let none = revocation::begin(app, &fixture.admin, &tenant("acme"), new).await;
    assert!(matches!(none, Err(Error::NotFound { what: "authority" })));
    held(&fixture, &safe).await;
    let chain = parsed(&authority_chain(app, Some(&tenant("acme"))).await.expect("a chain"));
    crls::tick(app).await.expect("lists");
    let target = Target::Authority { fingerprint: chain[0].fingerprint() };
    let new = NewRevocation { target, reason: "key_compromise".to_owned(), replace_by: None };
    revocation::begin(app, &fixture.admin, &tenant("acme"), new).await.expect("it begins");
    let after = parsed(&authority_chain(app, Some(&tenant("acme"))).await.expect("a chain"));
    assert_ne!(after[0], chain[0]);
    assert_eq!(after[1], chain[1]);
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    crls::tick(app).await.expect("lists");
    let list = publication::list(app, &chain[1].fingerprint()[..16], None).await.expect("a list").der;
    let serial = chain[0].serial.to_string();
    let serial: Vec<u8> =
        (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).expect("hex")).collect();
    assert!(list.windows(serial.len()).any(|window| window == serial));
}
