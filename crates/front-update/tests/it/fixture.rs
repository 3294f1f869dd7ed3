//! A house with two tenants, a signed release in one of them, and devices that hold certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use fleetward_app::enroll::{Attempt, Credentials, enroll_device};
use fleetward_app::provisioning::factories::{NewFactory, create_registration_code, register_factory};
use fleetward_app::releases::{create_release, create_signer, upload_artifact};
use fleetward_app::{App, Ctx, Peer, Settings, authority, enroll_tokens, registry, tenants};
use fleetward_base::{Clock, ManualClock, ReleaseId, Rng, RolloutId, Secret, SeededRng, TenantId, Timestamp};
use fleetward_core::provisioning::Mode;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{SoftKey, csr, name, pem};
use fleetward_store::{DeploymentRow, RolloutRow, Store};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use fleetward_vault::{MasterKey, Vault};
use futures::stream;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use object_store::local::LocalFileSystem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tower::ServiceExt;

/// The image for `r1`; more than one piece of a file stream.
pub(crate) fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_be_bytes).collect()
}

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) system: Ctx,
    router: Router,
    pub(crate) dir: TempDir,
    pub(crate) sha256: Sha256,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant name")
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_171_980)));
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
        let config = fleetward_store::Config::sqlite(dir.path().join("fleetward.db"));
        let store = Store::open(&config, clock.as_ref()).await.expect("a store");
        let vault = Vault::new(&MasterKey::random(rng.as_ref()));
        std::fs::create_dir(dir.path().join("artifacts")).expect("a folder");
        let objects = LocalFileSystem::new_with_prefix(dir.path().join("artifacts")).expect("an object store");
        let app = App::new(store, vault, clock, rng, Arc::new(objects));
        app.configure(Settings {
            operator_url: "https://localhost:8080".to_owned(),
            device_host: "localhost".to_owned(),
            device_port: 8443,
            mqtt_port: 8883,
            server_names: vec!["localhost".to_owned()],
            pki_url: None,
            default_tenant: None,
            hook_networks: Vec::new(),
        });
        authority::open_installation(&app).await.expect("authorities");
        let system = app.system("test");
        for name in ["acme", "zenith"] {
            tenants::create_tenant(&app, &system, tenant(name), None).await.expect("a tenant");
        }
        let router = fleetward_front_update::router(app.clone());
        Self { app, system, router, dir, sha256: Sha256::of(&content()) }
    }

    /// Releases the image in `acme` and gives `device` a deployment of it.
    pub(crate) async fn deploy(&self, device: &str) {
        let (app, system, acme) = (&self.app, &self.system, tenant("acme"));
        let key = SigningKey::generate(&SeededRng::new(3));
        let pem = key.verifying_key().to_pem();
        create_signer(app, system, &acme, "build".to_owned(), &pem).await.expect("a signer");
        let other = b"for other hardware".to_vec();
        let mut artifacts = Vec::new();
        for (hardware, bytes) in [("r1", content()), ("r2", other)] {
            let (sha256, size) = (Sha256::of(&bytes), bytes.len() as u64);
            let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
            upload_artifact(app, system, &acme, sha256, size, body).await.expect("stored");
            let (filename, hardware) = (format!("{hardware}.img"), vec![hardware.to_owned()]);
            artifacts.push(Artifact { filename, hardware, sha256, size });
        }
        let manifest = Manifest::new("os".into(), "2.0".into(), app.now(), artifacts).expect("a manifest");
        let release = create_release(app, system, &acme, SignedRelease::sign(&manifest, &key)).await.expect("released");
        self.assign(release.release.id, device).await;
    }

    async fn assign(&self, release: ReleaseId, device: &str) {
        let (now, id) = (self.app.now(), RolloutId::generate(self.app.clock().as_ref(), self.app.rng().as_ref()));
        let rollout = RolloutRow {
            id,
            name: "r".to_owned(),
            release,
            selector: "{}".to_owned(),
            policy: "{}".to_owned(),
            state: "running".to_owned(),
            phase: 0,
            phase_started_at: None,
            gate_met_at: None,
            pause_reason: None,
            target_count: 1,
            created_by: "test".to_owned(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let deployment = DeploymentRow {
            rollout: id,
            device: device.parse().expect("a device name"),
            kind: "update".to_owned(),
            phase: 0,
            status: "queued".to_owned(),
            step: None,
            hardware: "r1".to_owned(),
            from_version: None,
            detail: None,
            version: 1,
            queued_at: now,
            started_at: None,
            updated_at: now,
            finished_at: None,
        };
        let acme = tenant("acme");
        let write = self.app.write(&acme, "test", move |tx| {
            Box::pin(async move {
                tx.insert_rollout(&rollout).await?;
                tx.insert_deployments(&[deployment]).await?;
                Ok(())
            })
        });
        write.await.expect("assigned");
    }

    /// A device of hardware `r1` with a certificate: how its connection looks to the door.
    pub(crate) async fn device(&self, home: &str, id: &str) -> Peer {
        let (app, system, home) = (&self.app, &self.system, tenant(home));
        let fields = DeviceFields { hardware: Some("r1".to_owned()), ..DeviceFields::default() };
        let device = id.parse().expect("a device name");
        let token =
            enroll_tokens::create_enroll_token(app, system, &home, device, fields, None).await.expect("a token");
        let credentials = Credentials { device: id.to_owned(), token: Secret::new(token.token) };
        let request = csr::write(&name::write(None, id), &[], &SoftKey::generate().0).expect("signs");
        let attempt = Attempt { address: IpAddr::V4(Ipv4Addr::LOCALHOST), request_id: app.new_request_id() };
        let enrolled = enroll_device(app, &attempt, None, &credentials, &request).await.expect("enrolled");
        peer(vec![CertificateDer::from(enrolled.certificate)])
    }

    /// What a device of a registered factory shows that was made on a line with an authority of its own.
    pub(crate) async fn made_on_a_line(&self, home: &str, id: &str) -> Vec<CertificateDer<'static>> {
        let authority = |name: &str| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let maker = CertifiedIssuer::self_signed(authority("Maker"), key()).expect("signs");
        let line = CertifiedIssuer::signed_by(authority("Line 4"), key(), &maker).expect("signs");
        let (app, system, home) = (&self.app, &self.system, tenant(home));
        let (code, _) = create_registration_code(app, system, &home).await.expect("a code");
        let proof = named(&code).signed_by(&key(), &maker).expect("signs");
        let new = NewFactory {
            name: "Maker".to_owned(),
            certificate: pem::write(pem::CERTIFICATE, maker.der()),
            verification: pem::write(pem::CERTIFICATE, proof.der()),
            mode: Mode::Provision,
            template: None,
        };
        register_factory(app, system, &home, new).await.expect("registered");
        let leaf = named(id).signed_by(&key(), &line).expect("signs");
        vec![leaf.der().clone(), line.der().clone()]
    }

    pub(crate) async fn revoke(&self, id: &str) {
        let id = id.parse().expect("a device name");
        registry::revoke_device(&self.app, &self.system, &tenant("acme"), &id, "test").await.expect("revoked");
    }

    pub(crate) async fn get(&self, peer: &Peer, fields: &[(&str, &str)]) -> Answer {
        self.send(peer, Method::GET, &format!("/artifacts/{}", self.sha256), fields).await
    }

    pub(crate) async fn send(&self, peer: &Peer, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(peer.clone());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
        let (parts, body) = response.expect("infallible").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, fields: parts.headers, body }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn peer(certificates: Vec<CertificateDer<'static>>) -> Peer {
    Peer { address: SocketAddr::from(([192, 0, 2, 1], 40_000)), certificates: certificates.into() }
}
