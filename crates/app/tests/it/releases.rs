//! Releases: whom they are believed from, what happens to what is not right, and what a full disk leaves behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::releases::{
    ReleaseView, artifact, create_release, create_signer, release, releases, revoke_signer, signers, upload_artifact,
};
use fleetward_app::{App, Error, Idempotency};
use fleetward_base::{Clock, Rng, SeededRng, Timestamp};
use fleetward_core::journal::Action;
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use fleetward_vault::{MasterKey, Vault};
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
};

use crate::fixture::{Fixture, tenant};

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(&SeededRng::new(seed))
}

fn part(hardware: &str, content: &[u8]) -> Artifact {
    let (filename, sha256, size) = (format!("{hardware}.img"), Sha256::of(content), content.len() as u64);
    Artifact { filename, hardware: vec![hardware.to_owned()], sha256, size }
}

fn manifest(version: &str, artifacts: Vec<Artifact>) -> Manifest {
    Manifest::new("os".into(), version.into(), Timestamp::from_secs(1), artifacts).expect("a manifest")
}

fn pieces(content: &[u8]) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
    let pieces: Vec<io::Result<Bytes>> = content.chunks(3).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

async fn upload(fixture: &Fixture, content: &[u8]) -> Result<bool, Error> {
    let (sha256, size) = (Sha256::of(content), content.len() as u64);
    let stored = upload_artifact(&fixture.app, &fixture.admin, &tenant("acme"), sha256, size, pieces(content)).await?;
    Ok(stored.created)
}

/// With the key number 1 accepted in `acme`, and the artifact `one` for hardware `r1` there.
async fn prepared() -> Fixture {
    let fixture = Fixture::new().await;
    let pem = key(1).verifying_key().to_pem();
    create_signer(&fixture.app, &fixture.admin, &tenant("acme"), "build".into(), &pem).await.expect("a signer");
    upload(&fixture, b"one").await.expect("stored");
    fixture
}

async fn publish(fixture: &Fixture, signed: SignedRelease) -> Result<ReleaseView, Error> {
    create_release(&fixture.app, &fixture.admin, &tenant("acme"), signed).await
}

fn good() -> SignedRelease {
    SignedRelease::sign(&manifest("2.0", vec![part("r1", b"one")]), &key(1))
}

fn code(outcome: Result<ReleaseView, Error>) -> String {
    match outcome.expect_err("refused") {
        Error::Untrusted { code, .. } | Error::Conflict { code, .. } => code.to_owned(),
        Error::Invalid { field, .. } => field,
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_release_is_kept_byte_for_byte() {
    let fixture = prepared().await;
    let made = publish(&fixture, good()).await.expect("released");
    assert_eq!(made.release.manifest, good().manifest);
    assert_eq!(made.manifest.hardware(), ["r1"]);
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    assert_eq!(release(app, admin, &acme, made.release.id).await.expect("there").release, made.release);
    assert_eq!(releases(app, admin, &acme, Some("os".into()), None, 10).await.expect("a page").len(), 1);
    assert!(releases(app, admin, &acme, Some("other".into()), None, 10).await.expect("a page").is_empty());
    let elsewhere = release(app, admin, &tenant("zenith"), made.release.id).await;
    assert!(matches!(elsewhere, Err(Error::NotFound { .. })));
    assert_eq!(code(publish(&fixture, good()).await), "release-exists");
}

#[tokio::test]
async fn what_is_not_signed_by_an_accepted_signer_is_refused_and_noted() {
    let fixture = prepared().await;
    let mut manifest_changed = good();
    let text = String::from_utf8(manifest_changed.manifest).expect("UTF-8");
    manifest_changed.manifest = text.replace("2.0", "2.1").into_bytes();
    let mut signature_changed = good();
    signature_changed.signature[7] ^= 1;
    let mut signature_cut = good();
    signature_cut.signature.pop();
    let stranger = SignedRelease::sign(&manifest("2.0", vec![part("r1", b"one")]), &key(2));
    let liar = SignedRelease { key_id: key(1).verifying_key().key_id(), ..stranger.clone() };
    for (signed, why) in [
        (manifest_changed, "bad-signature"),
        (signature_changed, "bad-signature"),
        (signature_cut, "bad-signature"),
        (stranger, "unknown-signer"),
        (liar, "bad-signature"),
    ] {
        assert_eq!(code(publish(&fixture, signed).await), why);
    }
    let filter = JournalFilter::default();
    let acme = tenant("acme");
    let events = journal::events(&fixture.app, &fixture.admin, &acme, filter, None, 100).await.expect("events");
    let noted = events.iter().filter(|event| event.entry.action == Action::ReleaseRefused).count();
    assert_eq!(noted, 5);
    assert!(releases(&fixture.app, &fixture.admin, &acme, None, None, 10).await.expect("a page").is_empty());
}

#[tokio::test]
async fn a_signed_manifest_that_is_none_is_refused() {
    let fixture = prepared().await;
    let sign = |bytes: &[u8]| SignedRelease {
        manifest: bytes.to_vec(),
        signature: key(1).sign(bytes).as_bytes().to_vec(),
        key_id: key(1).verifying_key().key_id(),
    };
    let twice = String::from_utf8(good().manifest).expect("UTF-8").replace(r#"["r1"]"#, r#"["r1","r1"]"#);
    for bytes in [b"".as_slice(), b"{}", b"not JSON", twice.as_bytes()] {
        assert_eq!(code(publish(&fixture, sign(bytes)).await), "manifest");
    }
    let huge = sign(&vec![b' '; fleetward_base::limits::MANIFEST_BYTES + 1]);
    assert!(matches!(publish(&fixture, huge).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn all_artifacts_must_be_there_with_their_size() {
    let fixture = prepared().await;
    let missing = SignedRelease::sign(&manifest("2.0", vec![part("r1", b"one"), part("r2", b"two")]), &key(1));
    assert_eq!(code(publish(&fixture, missing.clone()).await), "artifact-missing");
    let lying = Artifact { size: 4, ..part("r1", b"one") };
    let lying = SignedRelease::sign(&manifest("2.0", vec![lying]), &key(1));
    assert_eq!(code(publish(&fixture, lying).await), "artifact-size");
    assert!(upload(&fixture, b"two").await.expect("stored"));
    assert!(publish(&fixture, missing).await.is_ok());
}

#[tokio::test]
async fn a_revoked_signer_is_believed_no_more() {
    let fixture = prepared().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let signer = signers(app, admin, &acme, None, 10).await.expect("a page").remove(0);
    let stale = revoke_signer(app, admin, &acme, signer.id, 7).await;
    assert!(matches!(stale, Err(Error::Stale { expected: 7, found: 1 })));
    assert!(revoke_signer(app, admin, &acme, signer.id, 1).await.expect("revoked").revoked_at.is_some());
    assert!(revoke_signer(app, admin, &acme, signer.id, 1).await.is_ok(), "asking twice is harmless");
    assert_eq!(code(publish(&fixture, good()).await), "revoked-signer");
    let pem = key(1).verifying_key().to_pem();
    let again = create_signer(app, admin, &acme, "again".into(), &pem).await;
    assert!(matches!(again, Err(Error::Conflict { code: "signer-exists", .. })), "a revoked key stays revoked");
}

#[tokio::test]
async fn keys_of_one_tenant_and_artifacts_mean_nothing_in_another() {
    let fixture = prepared().await;
    let zenith = tenant("zenith");
    let outcome = create_release(&fixture.app, &fixture.admin, &zenith, good()).await;
    assert_eq!(code(outcome), "unknown-signer");
    let pem = key(1).verifying_key().to_pem();
    create_signer(&fixture.app, &fixture.admin, &zenith, "build".into(), &pem).await.expect("its own signer");
    assert_eq!(code(create_release(&fixture.app, &fixture.admin, &zenith, good()).await), "artifact-missing");
    let viewer = fixture.operator("acme", "viewer").await;
    let denied = create_release(&fixture.app, &viewer, &tenant("acme"), good()).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let fixture = Fixture::new().await;
    let private = key(1).to_pem();
    for (name, pem) in [("build", "junk"), ("build", private.expose().as_str()), ("a b", ""), ("", "")] {
        let outcome = create_signer(&fixture.app, &fixture.admin, &tenant("acme"), name.into(), pem).await;
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{name}");
    }
}

#[tokio::test]
async fn the_same_request_twice_makes_one_release() {
    let mut fixture = prepared().await;
    fixture.admin.idempotency = Some(Idempotency { key: "k".into(), request_hash: [1; 32] });
    let first = publish(&fixture, good()).await.expect("released");
    let second = publish(&fixture, good()).await.expect("the same answer");
    assert_eq!(first.release, second.release);
}

#[tokio::test]
async fn an_artifact_that_is_not_the_promised_one_leaves_nothing() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let sha256 = Sha256::of(b"promised");
    for (content, size, field) in [
        (b"tampered".as_slice(), 8, "sha256"),
        (b"promised and more", 8, "size"),
        (b"prom", 8, "size"),
        (b"", 0, "size"),
    ] {
        let outcome = upload_artifact(app, admin, &acme, sha256, size, pieces(content)).await;
        assert!(matches!(outcome, Err(Error::Invalid { field: f, .. }) if f == field), "{field}");
    }
    let cut = stream::iter(vec![Ok(Bytes::from_static(b"prom")), Err(io::Error::other("reset"))]);
    let outcome = upload_artifact(app, admin, &acme, sha256, 8, cut).await;
    assert!(matches!(outcome, Err(Error::Invalid { field, .. }) if field == "body"));
    let huge = upload_artifact(app, admin, &acme, sha256, u64::MAX, pieces(b"x")).await;
    assert!(matches!(huge, Err(Error::TooLarge { .. })));
    assert!(matches!(artifact(app, admin, &acme, sha256).await, Err(Error::NotFound { .. })));
    let place = Path::from(format!("acme/{sha256}"));
    assert!(app.objects().head(&place).await.is_err(), "no bytes either");
    assert!(upload(&fixture, b"promised").await.expect("stored"), "and the right one is taken afterwards");
    assert!(!upload(&fixture, b"promised").await.expect("stored"), "twice is harmless");
}

#[tokio::test]
async fn bytes_that_were_lost_can_be_sent_again() {
    let fixture = Fixture::new().await;
    assert!(upload(&fixture, b"one").await.expect("stored"));
    let place = Path::from(format!("acme/{}", Sha256::of(b"one")));
    fixture.app.objects().delete(&place).await.expect("removed");
    upload(&fixture, b"one").await.expect("stored");
    assert!(fixture.app.objects().head(&place).await.is_ok());
}

#[tokio::test]
async fn a_full_disk_says_so_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let full = Arc::new(FullDisk::default());
    let (clock, rng) = (Arc::clone(&fixture.clock) as Arc<dyn Clock>, Arc::new(SeededRng::new(1)) as Arc<dyn Rng>);
    let vault = Vault::new(&MasterKey::random(rng.as_ref()));
    let app = App::new(fixture.app.store().clone(), vault, clock, rng, Arc::clone(&full) as Arc<dyn ObjectStore>);
    let content = vec![7; 12 * 1024 * 1024];
    let (sha256, size) = (Sha256::of(&content), content.len() as u64);
    let body = stream::iter([Ok::<_, io::Error>(Bytes::from(content))]);
    let outcome = upload_artifact(&app, &fixture.admin, &tenant("acme"), sha256, size, body).await;
    assert!(matches!(outcome, Err(Error::StorageFull)), "{outcome:?}");
    assert_eq!(full.aborted.load(Ordering::SeqCst), 1, "what was written is given back");
    let there = artifact(&app, &fixture.admin, &tenant("acme"), sha256).await;
    assert!(matches!(there, Err(Error::NotFound { .. })));
}

/// An object store whose disk is full after the first part.
#[derive(Debug, Default)]
struct FullDisk {
    inner: InMemory,
    aborted: Arc<AtomicUsize>,
}

impl std::fmt::Display for FullDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FullDisk")
    }
}

#[derive(Debug)]
struct FullUpload {
    parts: usize,
    aborted: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl MultipartUpload for FullUpload {
    fn put_part(&mut self, _data: PutPayload) -> UploadPart {
        self.parts += 1;
        let full = self.parts > 1;
        Box::pin(async move {
            let source = Box::new(io::Error::from(io::ErrorKind::StorageFull));
            if full { Err(object_store::Error::Generic { store: "test", source }) } else { Ok(()) }
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        panic!("an upload that failed was completed")
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.aborted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[async_trait::async_trait]
impl ObjectStore for FullDisk {
    async fn put_opts(&self, at: &Path, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(at, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        _at: &Path,
        _opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(FullUpload { parts: 0, aborted: Arc::clone(&self.aborted) }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
