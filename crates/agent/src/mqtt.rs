//! One MQTT 5 session over mTLS: from CONNECT to its end, with the reason for the end.
//!
//! MQTT 5 and not 3.1.1, because only it says why: a revoked device reads "administrative action" and not a closed socket.
//! The session is persistent on the server; here it is not, since all that the agent asks for it asks for again. Every method
//! may be dropped at an await without losing anything.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use fleetward_base::{Clock, limits};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait as _, Packet, Property, Qos, SessionExpiryInterval, SubEntry, SubOpts, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, DisconnectReasonCode, MqttError};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::identity::Credential;
use crate::tls::{Server, refuses_identity};

/// Seconds without a packet after which a PINGREQ goes out; the server takes 1.5 times this for our silence.
pub const KEEP_ALIVE_SECS: u16 = 60;
/// How long the server keeps our subscriptions and what arrives for them.
const SESSION_EXPIRY_SECS: u32 = 24 * 3600;
/// From the first packet to the last SUBACK.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long an answer to PINGREQ may take.
const PING_ANSWER_MS: u64 = 20_000;
/// Requests that may wait for their turn.
const WAITING: usize = 256;

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub content_type: Option<String>,
    /// User properties, in their order.
    pub user: Vec<(String, String)>,
}

impl Message {
    /// One without properties, as all that the agent says are.
    pub fn new(topic: String, payload: Vec<u8>) -> Self {
        Self { topic, payload, content_type: None, user: Vec::new() }
    }
}

/// Why a session ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server did not answer in time")]
    Silent,
    #[error("the server refused the connection: {0}")]
    Refused(ConnectReasonCode),
    #[error("the server ended the session: {0}")]
    Told(DisconnectReasonCode),
    #[error("the server refused the subscription to {0}")]
    Subscription(String),
    #[error("MQTT: {0:?}")]
    Protocol(MqttError),
}

impl End {
    /// Whether the server does not want this device, or not with this certificate. Coming back soon will not change that.
    pub fn is_about_identity(&self) -> bool {
        match self {
            Self::Refused(reason) => matches!(
                reason,
                ConnectReasonCode::NotAuthorized
                    | ConnectReasonCode::Banned
                    | ConnectReasonCode::BadUserNameOrPassword
                    | ConnectReasonCode::ClientIdentifierNotValid
            ),
            Self::Told(reason) => {
                matches!(reason, DisconnectReasonCode::NotAuthorized | DisconnectReasonCode::AdministrativeAction)
            }
            // TLS says it with an alert; which one depends on the server.
            Self::Broken(error) => refuses_identity(error),
            _ => false,
        }
    }
}

/// A session that stands, subscriptions included.
pub struct Session {
    stream: TlsStream<TcpStream>,
    connection: Connection<role::Client>,
    clock: Arc<dyn Clock>,
    inbox: VecDeque<Message>,
    waiting: VecDeque<Message>,
    inbound: BytesMut,
    outbound: BytesMut,
    unflushed: bool,
    /// When the PINGREQ goes out, and when its answer is overdue; on the monotonic clock.
    ping_at: Option<Duration>,
    overdue_at: Option<Duration>,
    connected: bool,
    subscribed: bool,
    unacknowledged: usize,
    end: Option<End>,
}

/// Whom to connect to, and as whom.
#[derive(Clone)]
pub struct Target {
    pub server: Server,
    pub port: u16,
    /// The device's name, which is its client id.
    pub device: String,
    pub clock: Arc<dyn Clock>,
}

impl Session {
    /// Connects and subscribes to all of `filters`.
    ///
    /// # Errors
    /// Why there is no session.
    pub async fn open(target: &Target, credential: &Credential, filters: &[String]) -> Result<Self, End> {
        timeout(HANDSHAKE, Self::handshake(target, credential, filters)).await.map_err(|_slow| End::Silent)?
    }

    async fn handshake(target: &Target, credential: &Credential, filters: &[String]) -> Result<Self, End> {
        let host = target.server.host.as_str();
        let stream = target.server.connect(host, target.port, b"mqtt", Some(credential)).await?;
        let packet = u32::try_from(limits::MQTT_PACKET_BYTES).unwrap_or(u32::MAX);
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet);
        let mut connection = Connection::<role::Client>::with_options(Version::V5_0, options);
        connection.set_auto_pub_response(true);
        connection.set_pingresp_recv_timeout(PING_ANSWER_MS);
        let mut session = Self {
            stream,
            connection,
            clock: Arc::clone(&target.clock),
            inbox: VecDeque::new(),
            waiting: VecDeque::new(),
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            unflushed: false,
            ping_at: None,
            overdue_at: None,
            connected: false,
            subscribed: false,
            unacknowledged: 0,
            end: None,
        };
        session.connect(&target.device)?;
        session.until(|session| session.connected).await?;
        for some in filters.chunks(8) {
            session.subscribed = false;
            session.subscribe(some)?;
            session.until(|session| session.subscribed).await?;
        }
        Ok(session)
    }

    fn connect(&mut self, device: &str) -> Result<(), End> {
        let expiry = SessionExpiryInterval::new(SESSION_EXPIRY_SECS).map_err(End::Protocol)?;
        let packet = v5_0::Connect::builder()
            .client_id(device)
            .map_err(End::Protocol)?
            .clean_start(false)
            .keep_alive(KEEP_ALIVE_SECS)
            .props(vec![expiry.into()])
            .build()
            .map_err(End::Protocol)?;
        let events = self.connection.checked_send(packet);
        self.absorb(events);
        Ok(())
    }

    fn subscribe(&mut self, filters: &[String]) -> Result<(), End> {
        let entry = |filter: &String| SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtLeastOnce));
        let entries: Result<Vec<_>, _> = filters.iter().map(entry).collect();
        let id = self.connection.acquire_packet_id().map_err(End::Protocol)?;
        let builder = v5_0::Subscribe::builder().entries(entries.map_err(End::Protocol)?).packet_id(id);
        let events = self.connection.checked_send(builder.build().map_err(End::Protocol)?);
        self.absorb(events);
        Ok(())
    }

    /// Queues a QoS 1 message; [`Self::next`] sends it. Beyond 256 waiting ones the oldest is dropped: whoever asks asks again.
    pub fn publish(&mut self, topic: String, payload: Vec<u8>) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Message::new(topic, payload));
        self.pump();
    }

    /// The next message.
    ///
    /// # Errors
    /// The end of the session.
    pub async fn next(&mut self) -> Result<Message, End> {
        self.until(|session| !session.inbox.is_empty()).await?;
        self.inbox.pop_front().ok_or(End::Closed)
    }

    /// Waits until the server has acknowledged all that was published.
    ///
    /// # Errors
    /// The end of the session.
    pub async fn drain(&mut self) -> Result<(), End> {
        self.until(|session| session.unacknowledged == 0 && session.waiting.is_empty()).await
    }

    /// Says goodbye, so that no last will is sent and nobody waits for our keep-alive.
    pub async fn close(mut self) {
        if let Ok(packet) = v5_0::Disconnect::builder().reason_code(DisconnectReasonCode::NormalDisconnection).build() {
            let events = self.connection.checked_send(packet);
            self.absorb(events);
            self.end = None;
            let _sent = timeout(Duration::from_secs(1), self.write()).await;
            let _closed = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
        }
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), End> {
        loop {
            self.pump();
            if done(self) {
                return Ok(());
            }
            if let Some(end) = self.end.take() {
                let _told = timeout(Duration::from_secs(1), self.write()).await;
                return Err(end);
            }
            let next = [self.ping_at, self.overdue_at].into_iter().flatten().min();
            let span = next.map_or(HANDSHAKE, |at| at.saturating_sub(self.clock.monotonic()));
            match timeout(span, self.exchange()).await {
                Ok(done) => done?,
                Err(_elapsed) => self.fire(),
            }
        }
    }

    /// Writes what is to be written, then waits for bytes and takes them.
    async fn exchange(&mut self) -> Result<(), End> {
        self.write().await?;
        if self.stream.read_buf(&mut self.inbound).await? == 0 {
            return Err(End::Closed);
        }
        // Out of `self` for the loop only: nothing is awaited before what is left of it goes back.
        let bytes = self.inbound.split();
        let mut cursor = Cursor::new(bytes.as_ref());
        while usize::try_from(cursor.position()).is_ok_and(|at| at < bytes.len()) {
            let before = cursor.position();
            let events = self.connection.recv(&mut cursor);
            self.absorb(events);
            if cursor.position() == before {
                break;
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> io::Result<()> {
        while self.outbound.has_remaining() {
            self.stream.write_buf(&mut self.outbound).await?;
            self.unflushed = true;
        }
        if self.unflushed {
            self.stream.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn fire(&mut self) {
        let now = self.clock.monotonic();
        for kind in [TimerKind::PingreqSend, TimerKind::PingrespRecv] {
            let due = self.timer(kind).is_some_and(|at| *at <= now);
            if due {
                self.set_timer(kind, None);
                if kind == TimerKind::PingrespRecv {
                    self.end.get_or_insert(End::Silent);
                }
                let events = self.connection.notify_timer_fired(kind);
                self.absorb(events);
            }
        }
    }

    fn timer(&self, kind: TimerKind) -> Option<&Duration> {
        match kind {
            TimerKind::PingreqSend => self.ping_at.as_ref(),
            TimerKind::PingrespRecv => self.overdue_at.as_ref(),
            TimerKind::PingreqRecv => None,
        }
    }

    const fn set_timer(&mut self, kind: TimerKind, at: Option<Duration>) {
        match kind {
            TimerKind::PingreqSend => self.ping_at = at,
            TimerKind::PingrespRecv => self.overdue_at = at,
            TimerKind::PingreqRecv => {}
        }
    }

    /// Sends as many of the waiting messages as the server has room for.
    fn pump(&mut self) {
        while self.connected && self.connection.get_receive_maximum_vacancy_for_send() != Some(0) {
            let Some(message) = self.waiting.pop_front() else { return };
            let Ok(id) = self.connection.acquire_packet_id() else { return self.waiting.push_front(message) };
            let packet = v5_0::Publish::builder()
                .topic_name(message.topic)
                .map(|builder| builder.qos(Qos::AtLeastOnce).packet_id(id).payload(message.payload));
            match packet.and_then(|builder| builder.build()) {
                Ok(packet) => {
                    self.unacknowledged += 1;
                    let events = self.connection.checked_send(packet);
                    self.absorb(events);
                }
                Err(error) => tracing::error!(?error, "a message that cannot be sent"),
            }
        }
    }

    fn absorb(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.outbound.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketReceived(packet) => self.received(packet),
                Event::RequestTimerReset { kind, duration_ms } => {
                    let at = self.clock.monotonic() + Duration::from_millis(duration_ms);
                    self.set_timer(kind, Some(at));
                }
                Event::RequestTimerCancel(kind) => self.set_timer(kind, None),
                Event::NotifyError(error) => {
                    self.end.get_or_insert(End::Protocol(error));
                }
                Event::RequestClose => {
                    self.end.get_or_insert(End::Closed);
                }
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
    }

    fn received(&mut self, packet: Packet) {
        match packet {
            Packet::V5_0Connack(packet) if packet.reason_code() == ConnectReasonCode::Success => self.connected = true,
            Packet::V5_0Connack(packet) => self.end = Some(End::Refused(packet.reason_code())),
            Packet::V5_0Suback(packet) => {
                // A device that is held back may hear of its jobs and not of its shadow: what is left is worth a session.
                let codes = packet.reason_codes();
                let refused: Vec<String> =
                    codes.iter().filter(|code| code.is_failure()).map(ToString::to_string).collect();
                if let (Some(code), true) = (refused.first(), refused.len() == codes.len()) {
                    self.end.get_or_insert(End::Subscription(code.clone()));
                } else if let Some(code) = refused.first() {
                    tracing::warn!(refused = refused.len(), reason = %code, "the server refused some subscriptions");
                }
                self.subscribed = true;
            }
            Packet::V5_0Puback(_) => self.unacknowledged = self.unacknowledged.saturating_sub(1),
            Packet::V5_0Publish(packet) => {
                let payload = packet.payload().as_slice().to_vec();
                let mut message = Message::new(packet.topic_name().to_owned(), payload);
                for property in packet.props() {
                    match property {
                        Property::ContentType(media) => message.content_type = Some(media.val().to_owned()),
                        Property::UserProperty(pair) => {
                            message.user.push((pair.key().to_owned(), pair.val().to_owned()));
                        }
                        _ => {}
                    }
                }
                self.inbox.push_back(message);
            }
            Packet::V5_0Disconnect(packet) => {
                let reason = packet.reason_code().unwrap_or(DisconnectReasonCode::NormalDisconnection);
                self.end = Some(End::Told(reason));
            }
            _ => {}
        }
    }
}
