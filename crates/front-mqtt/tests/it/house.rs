//! The whole house behind the door: app, store, broker; and devices that connect to it without a network.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enroll::{Attempt, Credentials, enroll_device};
use fleetward_app::mqtt_sessions::StoredSessions;
use fleetward_app::provisioning::claims::{NewClaim, create_claim};
use fleetward_app::provisioning::templates::{TemplateInput, create_template};
use fleetward_app::{App, Ctx, Principal, Settings, api_tokens, authority, enroll_tokens, setup, tenants};
use fleetward_base::{
    Clock, DeviceId, ManualClock, ReleaseId, Rng, Secret, SeededRng, SignerId, SystemRng, TenantId, Timestamp,
};
use fleetward_broker::{Broker, Config, Peer};
use fleetward_core::registry::DeviceFields;
use fleetward_front_mqtt::MqttHooks;
use fleetward_pki::{SoftKey, csr, name};
use fleetward_sim::mqtt::{Client, Failure, Options, Packet, Publish, Version};
use fleetward_store::testing::PostgresCluster;
use fleetward_store::{ReleaseRow, SignerRow, Store};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use fleetward_vault::{MasterKey, Vault};
use object_store::memory::InMemory;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::task::TaskTracker;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) broker: Broker,
    pub(crate) admin: Ctx,
    pub(crate) clock: Arc<ManualClock>,
    tasks: TaskTracker,
    _dir: TempDir,
}

/// A server on a database. All have the same master key.
async fn server(config: &fleetward_store::Config) -> (App, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_171_980)));
    let store = Store::open(config, clock.as_ref()).await.expect("a store");
    let vault = Vault::new(&MasterKey::random(&SeededRng::new(7)));
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    let app = App::new(store, vault, Arc::clone(&clock) as Arc<dyn Clock>, rng, Arc::new(InMemory::new()));
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
    (app, clock)
}

/// A device with its certificate.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) certificate: Vec<u8>,
}

impl House {
    /// With the tenants `acme` and `zenith`.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = fleetward_store::Config::sqlite(dir.path().join("fleetward.db"));
        Self::on(&config, dir).await
    }

    /// On PostgreSQL, and another server on the same database that no device is connected to.
    pub(crate) async fn with_another_server() -> (Self, App) {
        let address = PostgresCluster::shared().create_database().expect("a database");
        let config = fleetward_store::Config::postgres(address);
        let house = Self::on(&config, tempfile::tempdir().expect("a temporary folder")).await;
        (house, server(&config).await.0)
    }

    /// On PostgreSQL, and where that is.
    pub(crate) async fn on_postgres() -> (Self, fleetward_store::Config) {
        let address = PostgresCluster::shared().create_database().expect("a database");
        let config = fleetward_store::Config::postgres(address);
        (Self::on(&config, tempfile::tempdir().expect("a temporary folder")).await, config)
    }

    /// Another server, which devices can connect to, on the database of a house.
    pub(crate) async fn beside(config: &fleetward_store::Config, admin: Ctx) -> Self {
        let (app, clock) = server(config).await;
        Self::open_doors(app, clock, admin, tempfile::tempdir().expect("a temporary folder")).await
    }

    async fn on(config: &fleetward_store::Config, dir: tempfile::TempDir) -> Self {
        let (app, clock) = server(config).await;
        let offer = setup::offer(&app).await.expect("a store").expect("fresh");
        let token = setup::claim(&app, &app.system("test"), offer.expose()).await.expect("the offer stands");
        let admin = context(&app, api_tokens::authenticate(&app, token.expose()).await.expect("it counts"));
        for name in ["acme", "zenith"] {
            tenants::create_tenant(&app, &admin, tenant(name), None).await.expect("a tenant");
        }
        Self::open_doors(app, clock, admin, dir).await
    }

    async fn open_doors(app: App, clock: Arc<ManualClock>, admin: Ctx, dir: tempfile::TempDir) -> Self {
        let hooks = Arc::new(MqttHooks::new(app.clone()));
        let sessions = Arc::new(StoredSessions::new(app.clone()));
        let config = Config {
            publish_messages: None,
            publish_bytes: None,
            connects_per_client: None,
            properties_in_topic: fleetward_front_mqtt::has_properties,
            ..Config::default()
        };
        let broker = Broker::start(config, hooks.clone(), sessions, Arc::clone(app.clock())).await.expect("a broker");
        hooks.connect(broker.clone());
        Self { app, broker, admin, clock, tasks: TaskTracker::new(), _dir: dir }
    }

    pub(crate) async fn enroll(&self, home: &str, device: &str, hardware: &str) -> Device {
        let (app, admin) = (&self.app, &self.admin);
        let fields = DeviceFields { hardware: Some(hardware.to_owned()), ..DeviceFields::default() };
        let token = enroll_tokens::create_enroll_token(app, admin, &tenant(home), id(device), fields, None).await;
        let token = Secret::new(token.expect("a token").token);
        let request = csr::write(&name::write(None, device), &[], &SoftKey::generate().0).expect("signs");
        let attempt = Attempt { address: "192.0.2.1".parse().expect("an address"), request_id: app.new_request_id() };
        let credentials = Credentials { device: device.to_owned(), token };
        let enrolled = enroll_device(app, &attempt, None, &credentials, &request).await.expect("enrolled");
        Device { name: device.to_owned(), certificate: enrolled.certificate }
    }

    /// A claim for a template, as if it were a device.
    pub(crate) async fn claim(&self, home: &str, name: &str, template: &str, count_cap: Option<u64>) -> Device {
        let request = csr::write(&name::write(None, "claim"), &[], &SoftKey::generate().0).expect("signs");
        let new = NewClaim {
            name: name.to_owned(),
            template: template.to_owned(),
            csr: pem("CERTIFICATE REQUEST", &request),
            count_cap,
            life: None,
        };
        let made = create_claim(&self.app, &self.admin, &tenant(home), new).await.expect("a claim");
        Device { name: "who-knows".to_owned(), certificate: unpem(&made.certificate_pem) }
    }

    pub(crate) async fn template(&self, home: &str, name: &str, body: &Value) {
        let input = TemplateInput { body: Some(body.to_string()), ..TemplateInput::default() };
        create_template(&self.app, &self.admin, &tenant(home), name, input).await.expect("a template");
    }

    /// Waits until the broker has seen that the device's connection is over.
    pub(crate) async fn gone(&self, home: &str, device: &str) {
        let (home, device) = (tenant(home), id(device));
        let leaving = async {
            while self.broker.connected(&home, &device) {
                tokio::task::yield_now().await;
            }
        };
        within(leaving).await;
    }

    /// A stream to the broker, as a listener hands it over after the TLS hand-shake.
    pub(crate) fn open(&self, device: Option<&Device>) -> DuplexStream {
        self.open_chain(device.map(|device| device.certificate.clone()).into_iter().collect())
    }

    /// As [`Self::open`], with all certificates that a client shows.
    pub(crate) fn open_chain(&self, certificates: Vec<Vec<u8>>) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = Peer { address: "192.0.2.1:4711".parse().expect("an address"), certificates, alpn: None };
        self.tasks.spawn(self.broker.serve(theirs, peer));
        ours
    }

    pub(crate) async fn connect(&self, device: &Device, version: Version) -> Link {
        let options = Options { version, ..Options::default() };
        let client = within(Client::connect(self.open(Some(device)), &device.name, &options)).await.expect("connected");
        Link { client, seen: Vec::new() }
    }

    /// A connection of a client of 3.1.1 that leaves a will, and knows nothing else.
    pub(crate) async fn connect_with_will(
        &self,
        device: &Device,
        topic: &str,
        payload: &str,
        retain: bool,
    ) -> DuplexStream {
        let text = |text: &str| {
            let length = u16::try_from(text.len()).expect("short").to_be_bytes();
            [length.as_slice(), text.as_bytes()].concat()
        };
        // Clean, a will with QoS 1, and a keep-alive of 60 s.
        let flags = 0x0E | if retain { 0x20 } else { 0 };
        let head = [text("MQTT"), vec![4, flags, 0, 60]].concat();
        let body = [head, text(&device.name), text(topic), text(payload)].concat();
        let mut stream = self.open(Some(device));
        let packet = [vec![0x10, u8::try_from(body.len()).expect("short")], body].concat();
        within(stream.write_all(&packet)).await.expect("sent");
        let mut connack = [0; 4];
        within(stream.read_exact(&mut connack)).await.expect("answered");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        stream
    }

    pub(crate) async fn refused(&self, device: Option<&Device>, client_id: &str, version: Version) -> u8 {
        let options = Options { version, ..Options::default() };
        match within(Client::connect(self.open(device), client_id, &options)).await {
            Err(Failure::Refused { code }) => code,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    /// As a client that says more of itself than its name.
    pub(crate) async fn connect_as(&self, device: Option<&Device>, client_id: &str, options: &Options) -> Link {
        let client = within(Client::connect(self.open(device), client_id, options)).await.expect("connected");
        Link { client, seen: Vec::new() }
    }

    pub(crate) async fn refused_as(&self, device: Option<&Device>, client_id: &str, options: &Options) -> u8 {
        match within(Client::connect(self.open(device), client_id, options)).await {
            Err(Failure::Refused { code }) => code,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    /// A release of 2.0 for `rev-a`.
    pub(crate) async fn release(&self, home: &str) -> ReleaseId {
        let key = SigningKey::generate(&SeededRng::new(11));
        let artifact = Artifact {
            filename: "a.img".to_owned(),
            hardware: vec!["rev-a".to_owned()],
            sha256: Sha256::of(b"a"),
            size: 1,
        };
        let manifest = Manifest::new("base".to_owned(), "2.0".to_owned(), Timestamp::from_secs(1), vec![artifact]);
        let signed = SignedRelease::sign(&manifest.expect("a manifest"), &key);
        let (clock, rng) = (self.app.clock().as_ref(), self.app.rng().as_ref());
        let (release, signer) = (ReleaseId::generate(clock, rng), SignerId::generate(clock, rng));
        let (now, public) = (self.app.now(), key.verifying_key());
        let key_id = public.key_id().to_string();
        let home = tenant(home);
        let kept = self.app.write(&home, "a release", move |tx| {
            Box::pin(async move {
                tx.insert_signer(&SignerRow {
                    id: signer,
                    name: "ci".to_owned(),
                    key_id: key_id.clone(),
                    public_key: public.as_bytes().to_vec(),
                    created_at: now,
                    revoked_at: None,
                    revision: 1,
                })
                .await?;
                let row = ReleaseRow {
                    id: release,
                    name: "base".to_owned(),
                    version: "2.0".to_owned(),
                    signer,
                    key_id,
                    manifest: signed.manifest,
                    signature: signed.signature,
                    created_at: now,
                    revision: 1,
                };
                Ok(tx.insert_release(&row).await?)
            })
        });
        kept.await.expect("kept");
        release
    }
}

/// A connected device.
pub(crate) struct Link {
    client: Client<DuplexStream>,
    seen: Vec<Publish>,
}

impl Link {
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) {
        let seen = &mut self.seen;
        within(self.client.subscribe_all(filters, |message| seen.push(message))).await.expect("subscribed");
    }

    /// The codes of a SUBACK.
    pub(crate) async fn try_subscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let wanted = self.client.subscribe(filters);
        within(self.client.flush()).await.expect("sent");
        loop {
            match self.packet().await {
                Packet::Suback { id, codes } if id == wanted => return codes,
                other => self.keep(other).await,
            }
        }
    }

    /// Sends a QoS 1 message; the code of its PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> u8 {
        let wanted = self.client.publish(topic, payload.as_bytes());
        within(self.client.flush()).await.expect("sent");
        loop {
            match self.packet().await {
                Packet::Puback { id, code } if id == wanted => return code,
                other => self.keep(other).await,
            }
        }
    }

    /// As [`Self::publish`], to be retained.
    pub(crate) async fn retain(&mut self, topic: &str, payload: &str) -> u8 {
        let wanted = self.client.retain(topic, payload.as_bytes());
        within(self.client.flush()).await.expect("sent");
        loop {
            match self.packet().await {
                Packet::Puback { id, code } if id == wanted => return code,
                other => self.keep(other).await,
            }
        }
    }

    /// Sends many at once, without waiting for any.
    pub(crate) async fn publish_all(&mut self, topic: &str, payloads: &[String]) -> Vec<u16> {
        let ids = payloads.iter().map(|payload| self.client.publish(topic, payload.as_bytes())).collect();
        within(self.client.flush()).await.expect("sent");
        ids
    }

    /// The next message, topic and body.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        while self.seen.is_empty() {
            let packet = self.packet().await;
            self.keep(packet).await;
        }
        let message = self.seen.remove(0);
        (message.topic, serde_json::from_slice(&message.payload).unwrap_or_default())
    }

    /// The next message with all that came beside it.
    pub(crate) async fn next_whole(&mut self) -> Publish {
        while self.seen.is_empty() {
            let packet = self.packet().await;
            self.keep(packet).await;
        }
        self.seen.remove(0)
    }

    /// The next message, topic and bytes.
    pub(crate) async fn next_bytes(&mut self) -> (String, Vec<u8>) {
        while self.seen.is_empty() {
            let packet = self.packet().await;
            self.keep(packet).await;
        }
        let message = self.seen.remove(0);
        (message.topic, message.payload.to_vec())
    }

    /// Sends bytes.
    pub(crate) async fn publish_bytes(&mut self, topic: &str, payload: &[u8]) -> u8 {
        let wanted = self.client.publish(topic, payload);
        within(self.client.flush()).await.expect("sent");
        loop {
            match self.packet().await {
                Packet::Puback { id, code } if id == wanted => return code,
                other => self.keep(other).await,
            }
        }
    }

    /// Sends bytes and waits for nothing: what they bring about may end the session before they are acknowledged.
    pub(crate) async fn send_bytes(&mut self, topic: &str, payload: &[u8]) {
        self.client.publish(topic, payload);
        within(self.client.flush()).await.expect("sent");
    }

    /// The next message on a topic that ends so.
    pub(crate) async fn expect(&mut self, end: &str) -> Value {
        let (topic, body) = self.next().await;
        assert!(topic.ends_with(end), "{topic}, not {end}: {body}");
        body
    }

    /// That nothing came: whatever the server had to say before its answer to a ping is here then.
    pub(crate) async fn expect_nothing(&mut self) {
        self.client.ping();
        within(self.client.flush()).await.expect("sent");
        loop {
            match self.packet().await {
                Packet::Pingresp => break,
                other => self.keep(other).await,
            }
        }
        assert!(self.seen.is_empty(), "{:?}", self.seen);
    }

    /// How the connection ended: the reason code, or that it was closed without one.
    pub(crate) async fn ended(mut self) -> Option<u8> {
        loop {
            match within(self.client.next()).await {
                Ok(_) => {}
                Err(Failure::Disconnected { code }) => return Some(code),
                Err(_) => return None,
            }
        }
    }

    async fn packet(&mut self) -> Packet {
        within(self.client.next()).await.expect("a packet")
    }

    async fn keep(&mut self, packet: Packet) {
        if let Packet::Publish(message) = packet {
            if let Some(id) = message.id {
                self.client.acknowledge(id);
                // Its session may have ended right behind it, which the next packet says.
                within(self.client.flush()).await.ok();
            }
            self.seen.push(message);
        }
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

pub(crate) fn unpem(text: &str) -> Vec<u8> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("base64")
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

pub(crate) fn context(app: &App, principal: Principal) -> Ctx {
    Ctx { principal, request_id: app.new_request_id(), address: None, idempotency: None }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant name")
}

pub(crate) fn id(name: &str) -> DeviceId {
    name.parse().expect("a device name")
}
