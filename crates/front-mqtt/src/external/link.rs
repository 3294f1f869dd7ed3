//! One connection to an external broker: MQTT 5 as a client, with a session that the broker keeps.
//!
//! Requests are worked on side by side and acknowledged in the order in which they came (MQTT 5.0 §4.6), each behind the
//! answers that it brought about: both go out on one stream, in one queue. What the broker has not acknowledged when the
//! connection ends is said again in the next one.
//!
//! A broker that is slow, or says nothing any more, costs no memory: it is sent no more messages than `EXTERNAL_BROKER_AT_ONCE`
//! before it acknowledges one, fewer where it says so (Receive Maximum, MQTT 5.0 §3.2.2.3.3), and no more bytes than it takes.
//! All else waits in the [`Outlet`], which is bounded. Reading and writing do not wait for each other. Of requests no more is
//! read while so many are at work; we announce no Receive Maximum of our own, since Mosquitto 2.0 exceeds one where it resumes
//! a session, and each connection would end at once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use fleetward_base::{Clock, limits};
use futures::stream::{FuturesOrdered, StreamExt as _};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait as _, Packet, Qos, SessionExpiryInterval, SubEntry, SubOpts, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, DisconnectReasonCode, MqttError};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::Stream;
use super::outlet::{Outlet, Said};

const KEEP_ALIVE_SECS: u16 = 30;
/// How long an answer to PINGREQ may take.
const PING_ANSWER_MS: u64 = 10_000;
/// How long a message of the server's own may take to come back to it.
const TRIAL: Duration = Duration::from_secs(3);
/// Bytes that are packed before the broker has taken what was packed before them.
const PACKED: usize = 64 * 1024;

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// To be acknowledged under it; none with QoS 0.
    id: Option<u16>,
}

/// Why a connection ended or never began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker did not answer in time")]
    Silent,
    #[error("the broker refused the connection: {0}")]
    Refused(ConnectReasonCode),
    #[error("the broker ended the session: {0}")]
    Told(DisconnectReasonCode),
    #[error("the broker refused a subscription: {0}")]
    Subscription(String),
    #[error(
        "the broker does not deliver topics below `$` to shared subscriptions; serve it by one server, without a group"
    )]
    NotShared,
    #[error("a request could not be worked on; it comes again")]
    Unserved,
    #[error("MQTT: {0:?}")]
    Protocol(MqttError),
}

/// What goes out, in this order.
enum Out {
    Publish(Said),
    Acknowledge(u16),
}

pub(crate) struct Link {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    connection: Connection<role::Client>,
    clock: Arc<dyn Clock>,
    arrived: VecDeque<Arrived>,
    out: VecDeque<Out>,
    /// Sent and not acknowledged, in the order of sending.
    unacknowledged: BTreeMap<u64, (u16, Said)>,
    /// Acknowledged, and still counted.
    acknowledged: Vec<Said>,
    sent: u64,
    inbound: BytesMut,
    outbound: BytesMut,
    /// Written and not flushed.
    unflushed: bool,
    ping_at: Option<Duration>,
    overdue_at: Option<Duration>,
    connected: bool,
    subscribed: bool,
    end: Option<End>,
}

impl Link {
    pub(crate) async fn open(stream: Box<dyn Stream>, client_id: &str, clock: Arc<dyn Clock>) -> Result<Self, End> {
        let packet = u32::try_from(limits::MQTT_PACKET_BYTES).unwrap_or(u32::MAX);
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet);
        let mut connection = Connection::<role::Client>::with_options(Version::V5_0, options);
        connection.set_auto_pub_response(false);
        connection.set_pingresp_recv_timeout(PING_ANSWER_MS);
        let (reader, writer) = tokio::io::split(stream);
        let mut link = Self {
            reader,
            writer,
            connection,
            clock,
            arrived: VecDeque::new(),
            out: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            acknowledged: Vec::new(),
            sent: 0,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            unflushed: false,
            ping_at: None,
            overdue_at: None,
            connected: false,
            subscribed: false,
            end: None,
        };
        let opening = async {
            link.connect(client_id).map_err(End::Protocol)?;
            link.until(|link| link.connected).await
        };
        tokio::time::timeout(limits::EXTERNAL_BROKER_DEADLINE, opening).await.map_err(|_| End::Silent)??;
        Ok(link)
    }

    /// Subscribes to all of `filters`.
    pub(crate) async fn listen(&mut self, filters: &[String]) -> Result<(), End> {
        self.subscribed = false;
        self.subscribe(filters).map_err(End::Protocol)?;
        let subscribing = self.until(|link| link.subscribed);
        tokio::time::timeout(limits::EXTERNAL_BROKER_DEADLINE, subscribing).await.map_err(|_| End::Silent)?
    }

    /// Finds out whether a shared subscription hears what it is for: a broker may grant one that never does (Mosquitto 2.0 does
    /// with topics below `$`).
    pub(crate) async fn try_sharing(&mut self, filter: &str, topic: &str) -> Result<(), End> {
        self.listen(&[filter.to_owned()]).await?;
        self.publish(Said { topic: topic.to_owned(), payload: Bytes::new() });
        let heard = self.until(|link| link.arrived.iter().any(|arrived| arrived.topic == topic));
        tokio::time::timeout(TRIAL, heard).await.map_err(|_| End::NotShared)??;
        // It is not of the outlet, which does not count it.
        let taken = self.until(|link| link.unacknowledged.is_empty());
        tokio::time::timeout(limits::EXTERNAL_BROKER_DEADLINE, taken).await.map_err(|_| End::Silent)??;
        self.acknowledged.clear();
        let mut heard = Vec::new();
        self.arrived.retain(|arrived| {
            let own = arrived.topic == topic;
            if own {
                heard.extend(arrived.id);
            }
            !own
        });
        self.out.extend(heard.into_iter().map(Out::Acknowledge));
        self.pump();
        Ok(())
    }

    /// Serves what arrives and says what waits, until the connection ends or is told to.
    pub(crate) async fn run<F, W>(&mut self, outlet: &Outlet, serve: F, stop: &CancellationToken) -> Result<(), End>
    where
        F: Fn(Arrived) -> W,
        W: Future<Output = bool>,
    {
        let outcome = self.serve_all(outlet, serve, stop).await;
        self.settle(outlet);
        let queued = std::mem::take(&mut self.out).into_iter().filter_map(|out| match out {
            Out::Publish(said) => Some(said),
            Out::Acknowledge(_) => None,
        });
        let sent = std::mem::take(&mut self.unacknowledged).into_values().map(|(_, said)| said);
        let unsaid: Vec<Said> = sent.chain(queued).collect();
        outlet.put_back(unsaid.into_iter());
        outcome
    }

    async fn serve_all<F, W>(&mut self, outlet: &Outlet, serve: F, stop: &CancellationToken) -> Result<(), End>
    where
        F: Fn(Arrived) -> W,
        W: Future<Output = bool>,
    {
        let mut at_work = FuturesOrdered::new();
        loop {
            while at_work.len() < limits::EXTERNAL_BROKER_AT_ONCE
                && let Some(arrived) = self.arrived.pop_front()
            {
                let (id, work) = (arrived.id, serve(arrived));
                at_work.push_back(async move { work.await.then_some(id) });
            }
            self.settle(outlet);
            self.take_from(outlet);
            self.pump();
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            let span = self.until_timer();
            let writing = self.outbound.has_remaining() || self.unflushed;
            // What is full is looked at again when something has gone out of it.
            let room = self.out.len() < limits::EXTERNAL_BROKER_AT_ONCE;
            // With so many at work nothing more is read: the broker waits.
            let reading = self.arrived.is_empty();
            tokio::select! {
                () = stop.cancelled() => {
                    self.goodbye().await;
                    return Ok(());
                }
                Some(done) = at_work.next(), if !at_work.is_empty() => {
                    // Without its acknowledgement it comes again, on the next connection.
                    let Some(id) = done else { return Err(End::Unserved) };
                    // What the work said is in the outlet by now, and goes before this. The broker sends no more than it has
                    // acknowledged, so that this ends.
                    self.out.extend(std::iter::from_fn(|| outlet.pop()).map(Out::Publish));
                    self.out.extend(id.map(Out::Acknowledge));
                }
                () = outlet.news(), if room => {}
                written = put(&mut self.writer, &mut self.outbound, &mut self.unflushed), if writing => written?,
                read = self.reader.read_buf(&mut self.inbound), if reading => {
                    if read? == 0 {
                        return Err(End::Closed);
                    }
                    self.understand();
                }
                () = timer(span) => self.fire(),
            }
        }
    }

    /// As much of what waits as is on its way at once; the rest stays where it is counted.
    fn take_from(&mut self, outlet: &Outlet) {
        while self.out.len() < limits::EXTERNAL_BROKER_AT_ONCE
            && let Some(said) = outlet.pop()
        {
            self.out.push_back(Out::Publish(said));
        }
    }

    /// What the broker has acknowledged is counted no longer.
    fn settle(&mut self, outlet: &Outlet) {
        self.acknowledged.drain(..).for_each(|said| outlet.done(&said));
    }

    fn connect(&mut self, client_id: &str) -> Result<(), MqttError> {
        let expiry = SessionExpiryInterval::new(limits::EXTERNAL_BROKER_SESSION_SECS)?;
        let packet = v5_0::Connect::builder()
            .client_id(client_id)?
            .clean_start(false)
            .keep_alive(KEEP_ALIVE_SECS)
            .props(vec![expiry.into()])
            .build()?;
        let events = self.connection.checked_send(packet);
        self.absorb(events);
        Ok(())
    }

    fn subscribe(&mut self, filters: &[String]) -> Result<(), MqttError> {
        let entry = |filter: &String| SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtLeastOnce));
        let entries: Result<Vec<_>, _> = filters.iter().map(entry).collect();
        let id = self.connection.acquire_packet_id()?;
        let packet = v5_0::Subscribe::builder().entries(entries?).packet_id(id).build()?;
        let events = self.connection.checked_send(packet);
        self.absorb(events);
        Ok(())
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), End> {
        loop {
            self.write().await?;
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            if done(self) {
                return Ok(());
            }
            if self.reader.read_buf(&mut self.inbound).await? == 0 {
                return Err(End::Closed);
            }
            self.understand();
        }
    }

    fn understand(&mut self) {
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
    }

    /// Packs what may go now. An acknowledgement waits behind what stands before it.
    fn pump(&mut self) {
        while let Some(next) = self.out.front() {
            let blocked = self.unacknowledged.len() >= limits::EXTERNAL_BROKER_AT_ONCE
                || self.connection.get_receive_maximum_vacancy_for_send() == Some(0);
            if self.outbound.len() >= PACKED || (blocked && matches!(next, Out::Publish(_))) {
                return;
            }
            match self.out.pop_front() {
                Some(Out::Publish(said)) => self.publish(said),
                Some(Out::Acknowledge(id)) => self.acknowledge(id),
                None => return,
            }
        }
    }

    fn publish(&mut self, said: Said) {
        let Ok(id) = self.connection.acquire_packet_id() else { return self.out.push_front(Out::Publish(said)) };
        let packet = v5_0::Publish::builder()
            .topic_name(said.topic.clone())
            .map(|builder| builder.qos(Qos::AtLeastOnce).packet_id(id).payload(said.payload.to_vec()));
        match packet.and_then(|builder| builder.build()) {
            Ok(packet) => {
                let events = self.connection.checked_send(packet);
                // The broker's limit (MQTT 5.0 §3.2.2.3.6). It would come first in each connection, and end it.
                if matches!(events[..], [Event::NotifyError(MqttError::PacketTooLarge)]) {
                    return self.leave_out(id, said, MqttError::PacketTooLarge);
                }
                self.sent += 1;
                self.unacknowledged.insert(self.sent, (id, said));
                self.absorb(events);
            }
            Err(error) => self.leave_out(id, said, error),
        }
    }

    /// A message that can never be sent does not stop those behind it.
    fn leave_out(&mut self, id: u16, said: Said, error: MqttError) {
        tracing::warn!(topic = said.topic, bytes = said.payload.len(), ?error, "the broker cannot be sent a message");
        let events = self.connection.release_packet_id(id);
        self.absorb(events);
        self.acknowledged.push(said);
    }

    fn acknowledge(&mut self, id: u16) {
        match v5_0::Puback::builder().packet_id(id).build() {
            Ok(packet) => {
                let events = self.connection.checked_send(packet);
                self.absorb(events);
            }
            Err(error) => tracing::error!(?error, "an acknowledgement that cannot be sent"),
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        let any = self.outbound.has_remaining();
        while self.outbound.has_remaining() {
            self.writer.write_buf(&mut self.outbound).await?;
        }
        if any || self.unflushed { self.writer.flush().await } else { Ok(()) }
    }

    /// So that nobody waits for our keep-alive. The session stays.
    async fn goodbye(&mut self) {
        if let Ok(packet) = v5_0::Disconnect::builder().reason_code(DisconnectReasonCode::NormalDisconnection).build() {
            let events = self.connection.checked_send(packet);
            self.absorb(events);
            tokio::time::timeout(Duration::from_secs(1), self.write()).await.ok();
        }
    }

    fn until_timer(&self) -> Duration {
        let next = [self.ping_at, self.overdue_at].into_iter().flatten().min();
        next.map_or(Duration::from_secs(u64::from(KEEP_ALIVE_SECS)), |at| at.saturating_sub(self.clock.monotonic()))
    }

    fn fire(&mut self) {
        let now = self.clock.monotonic();
        if self.overdue_at.is_some_and(|at| at <= now) {
            self.overdue_at = None;
            self.end.get_or_insert(End::Silent);
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = None;
            let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
            self.absorb(events);
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
                    self.set_timer(kind, Some(self.clock.monotonic() + Duration::from_millis(duration_ms)));
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

    const fn set_timer(&mut self, kind: TimerKind, at: Option<Duration>) {
        match kind {
            TimerKind::PingreqSend => self.ping_at = at,
            TimerKind::PingrespRecv => self.overdue_at = at,
            TimerKind::PingreqRecv => {}
        }
    }

    fn received(&mut self, packet: Packet) {
        match packet {
            Packet::V5_0Connack(packet) if packet.reason_code() == ConnectReasonCode::Success => self.connected = true,
            Packet::V5_0Connack(packet) => self.end = Some(End::Refused(packet.reason_code())),
            Packet::V5_0Suback(packet) => {
                // All or nothing: a service that hears half of the requests looks like one that does not answer.
                if let Some(code) = packet.reason_codes().iter().find(|code| code.is_failure()) {
                    self.end.get_or_insert(End::Subscription(code.to_string()));
                }
                self.subscribed = true;
            }
            Packet::V5_0Puback(packet) => {
                let id = packet.packet_id();
                let found = self.unacknowledged.iter().find(|(_, (known, _))| *known == id).map(|(number, _)| *number);
                let said = found.and_then(|number| self.unacknowledged.remove(&number));
                self.acknowledged.extend(said.map(|(_, said)| said));
            }
            Packet::V5_0Publish(packet) => self.arrived.push_back(Arrived {
                topic: packet.topic_name().to_owned(),
                payload: Bytes::copy_from_slice(packet.payload().as_slice()),
                id: packet.packet_id(),
            }),
            Packet::V5_0Disconnect(packet) => {
                let reason = packet.reason_code().unwrap_or(DisconnectReasonCode::NormalDisconnection);
                self.end = Some(End::Told(reason));
            }
            _ => {}
        }
    }
}

/// Hands on some of what is packed, or has it sent off. What is broken off has done nothing.
async fn put(writer: &mut WriteHalf<Box<dyn Stream>>, outbound: &mut BytesMut, unflushed: &mut bool) -> io::Result<()> {
    if outbound.has_remaining() {
        writer.write_buf(outbound).await?;
        *unflushed = true;
    } else {
        writer.flush().await?;
        *unflushed = false;
    }
    Ok(())
}

/// Ends after a while.
async fn timer(span: Duration) {
    tokio::time::timeout(span, std::future::pending::<()>()).await.ok();
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use fleetward_base::{ManualClock, Timestamp};
    use futures::FutureExt as _;
    use tokio::io::DuplexStream;

    use super::*;

    const WINDOW: usize = limits::EXTERNAL_BROKER_AT_ONCE;

    /// A broker's end of the connection, after its CONNACK.
    struct Broker {
        stream: DuplexStream,
        read: BytesMut,
    }

    impl Broker {
        async fn packet(&mut self) -> BytesMut {
            loop {
                if let [_, first, second, ..] = self.read[..] {
                    let (len, head) = if first < 128 {
                        (usize::from(first), 2)
                    } else {
                        (usize::from(first & 0x7F) | usize::from(second) << 7, 3)
                    };
                    if self.read.len() >= head + len {
                        return self.read.split_to(head + len);
                    }
                }
                assert!(self.stream.read_buf(&mut self.read).await.expect("reads") > 0, "the connection ended");
            }
        }

        /// The id of the next message.
        async fn publish(&mut self) -> [u8; 2] {
            let packet = self.packet().await;
            assert_eq!(packet[0] & 0xF0, 0x30, "{packet:?}");
            let head = if packet[1] < 128 { 2 } else { 3 };
            let topic = usize::from(packet[head]) << 8 | usize::from(packet[head + 1]);
            packet[head + 2 + topic..][..2].try_into().expect("an id")
        }

        async fn write(&mut self, bytes: &[u8]) {
            self.stream.write_all(bytes).await.expect("there is room");
        }
    }

    async fn open(clock: Arc<ManualClock>) -> (Link, Broker) {
        open_with(clock, &[0x20, 3, 0, 0, 0]).await
    }

    async fn open_with(clock: Arc<ManualClock>, connack: &[u8]) -> (Link, Broker) {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let mut broker = Broker { stream: theirs, read: BytesMut::new() };
        let opening = Link::open(Box::new(ours), "server", clock);
        let greeting = async {
            broker.packet().await;
            broker.write(connack).await;
        };
        let (link, ()) = tokio::join!(opening, greeting);
        (link.expect("opened"), broker)
    }

    fn outlet() -> Outlet {
        Outlet::new("acme".parse().expect("a name"))
    }

    fn full(outlet: &Outlet) -> usize {
        (0..).find(|n: &usize| !outlet.push(&format!("t/{n}"), &[0; 4096])).unwrap_or_default()
    }

    /// Lets both go on until neither has anything to do; what was published.
    async fn rest(running: &mut Pin<Box<impl Future<Output = Result<(), End>>>>, broker: &mut Broker) -> Vec<[u8; 2]> {
        let (mut ids, mut idle) = (Vec::new(), 0);
        while idle < 5 {
            assert!(futures::poll!(running.as_mut()).is_pending(), "it goes on");
            let before = ids.len();
            while let Some(id) = broker.publish().now_or_never() {
                ids.push(id);
            }
            idle = if ids.len() == before { idle + 1 } else { 0 };
            tokio::task::yield_now().await;
        }
        ids
    }

    #[tokio::test]
    async fn a_broker_that_acknowledges_nothing_gets_a_window_and_no_more() {
        let (mut link, mut broker) = open(Arc::new(ManualClock::at(Timestamp::EPOCH))).await;
        let (outlet, stop) = (outlet(), CancellationToken::new());
        let held = full(&outlet);
        assert!(held * 4096 > limits::EXTERNAL_BROKER_BYTES * 9 / 10);
        let mut running = Box::pin(link.run(&outlet, |_| async { true }, &stop));
        let ids = rest(&mut running, &mut broker).await;
        assert_eq!(ids.len(), WINDOW);
        assert!(!outlet.push("x", &[0; 4096]), "what is on its way counts");
        // Each acknowledgement makes room for one, there and here.
        for id in &ids[..3] {
            broker.write(&[0x40, 2, id[0], id[1]]).await;
            assert_eq!(rest(&mut running, &mut broker).await.len(), 1);
            assert!(outlet.push("x", &[0; 4000]));
        }
        stop.cancel();
        running.await.expect("told to stop");
        assert_eq!(outlet.waiting(), held, "what was not acknowledged is said again");
    }

    #[tokio::test]
    async fn what_is_too_large_for_the_broker_does_not_stop_the_rest() {
        // With a Maximum Packet Size of 100 bytes.
        let connack = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 100];
        let (mut link, mut broker) = open_with(Arc::new(ManualClock::at(Timestamp::EPOCH)), &connack).await;
        let (outlet, stop) = (outlet(), CancellationToken::new());
        assert!(outlet.push("a", &[0; 200]) && outlet.push("b", &[0; 20]));
        let mut running = Box::pin(link.run(&outlet, |_| async { true }, &stop));
        let ids = rest(&mut running, &mut broker).await;
        assert_eq!(ids.len(), 1, "the other one");
        broker.write(&[0x40, 2, ids[0][0], ids[0][1]]).await;
        assert!(rest(&mut running, &mut broker).await.is_empty());
        stop.cancel();
        running.await.expect("told to stop");
        assert_eq!(outlet.waiting(), 0, "it is not tried for ever");
        assert!(outlet.push("c", &vec![0; limits::EXTERNAL_BROKER_BYTES - 1]), "and counts no longer");
    }

    #[tokio::test]
    async fn a_broker_that_does_not_read_is_left() {
        let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
        let (mut link, mut broker) = open(Arc::clone(&clock)).await;
        let (outlet, stop) = (outlet(), CancellationToken::new());
        let held = full(&outlet);
        let mut running = Box::pin(link.run(&outlet, |_| async { true }, &stop));
        for secs in [u64::from(KEEP_ALIVE_SECS) + 1, PING_ANSWER_MS / 1000 + 1] {
            for _ in 0..10 {
                assert!(futures::poll!(running.as_mut()).is_pending(), "it waits for the broker");
                tokio::task::yield_now().await;
            }
            clock.advance(Duration::from_secs(secs));
            // It says something, and takes nothing.
            broker.write(&[0x30, 4, 0, 1, b'a', 0]).await;
            if secs > 20 {
                let pinged = tokio::time::timeout(Duration::from_millis(50), running.as_mut()).await;
                assert!(pinged.is_err(), "it is asked first");
            }
        }
        let ended = running.await;
        assert!(matches!(ended, Err(End::Silent)), "{ended:?}");
        assert!(link.outbound.len() < PACKED + 8192, "no more is packed than fits");
        assert_eq!(outlet.waiting(), held);
    }

    #[tokio::test]
    async fn requests_come_in_while_nothing_goes_out() {
        let (mut link, mut broker) = open(Arc::new(ManualClock::at(Timestamp::EPOCH))).await;
        let (outlet, stop) = (outlet(), CancellationToken::new());
        full(&outlet);
        let (heard, stopping) = (std::sync::atomic::AtomicUsize::new(0), stop.clone());
        let serve = |arrived: Arrived| {
            assert_eq!(arrived.topic, "a");
            heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            stopping.cancel();
            async { true }
        };
        // A broker that writes first and reads later.
        broker.write(&[0x32, 6, 0, 1, b'a', 0, 1, 0]).await;
        link.run(&outlet, serve, &stop).await.expect("told to stop");
        assert_eq!(heard.into_inner(), 1);
    }
}
