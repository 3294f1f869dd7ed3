//! One real connection, fed with any bytes in any pieces, in memory. Whatever the network does to a stream, the same comes
//! of it: what is said, how it ends, what is kept. Also the body of the fuzz target `broker_connection`.
//!
//! Time stands still while anybody has something to do, so that a short time-out means "until all is quiet".

use std::collections::BTreeMap;
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use fleetward_base::{Rng, SeededRng};
use fleetward_broker::{EndReason, SessionStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::client::{Client, Said, hello, packet, publish, subscribe};
use crate::differential::header;
use crate::house::{House, Told, peer, within};

/// What a peer may make the server hold before it is believed, and read at once after that.
const BEFORE: usize = 4 * 1024;
const AFTER: usize = 32 * 1024;

/// How a stream is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    Bytes,
    Random(u64),
}

/// What the server asked its end of a stream for.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicBool,
    room_before: AtomicUsize,
    read_before: AtomicUsize,
    room_after: AtomicUsize,
}

/// The server's end of a stream, which notes how much room was made for what comes.
struct Watched {
    stream: DuplexStream,
    seen: Arc<Seen>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let (room, before) = (buf.remaining(), buf.filled().len());
        let answered = self.seen.answered.load(Ordering::Relaxed);
        let largest = if answered { &self.seen.room_after } else { &self.seen.room_before };
        largest.fetch_max(room, Ordering::Relaxed);
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !answered {
            self.seen.read_before.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.seen.answered.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What came of a stream.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// By kind, in order. Between kinds the order is the server's, as far as it depends on when a commit is through.
    said: BTreeMap<&'static str, Vec<String>>,
    pub(crate) end: Option<EndReason>,
    sessions: Vec<String>,
    half_done: Vec<String>,
    retained: Vec<String>,
    /// What an honest client finds in the session.
    left: Vec<String>,
}

/// A CONNECT of `one`, who is known.
pub(crate) fn greeting(v5: bool, kept: bool) -> Vec<u8> {
    let hello = hello(v5, "one").will("last/will", "gone");
    if kept { hello.kept().bytes() } else { hello.bytes() }
}

/// Until nobody has anything to do.
pub(crate) async fn quiet() {
    let _still = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
}

/// An input of the fuzzer: a byte of chance and a stream.
pub(crate) fn input(input: &[u8]) {
    let Some((chance, stream)) = input.split_first() else { return };
    check(stream, u64::from(*chance));
}

/// Feeds a stream whole, byte by byte and in random pieces; the outcome must be the same.
pub(crate) fn check(stream: &[u8], chance: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let whole = feed(stream, Cut::Whole).await;
        for cut in [Cut::Bytes, Cut::Random(chance)] {
            let other = feed(stream, cut).await;
            same(stream, &whole, &other, cut);
        }
    });
}

pub(crate) async fn feed(stream: &[u8], cut: Cut) -> Outcome {
    let house = House::new().await;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let seen = Arc::new(Seen::default());
    let watched = Watched { stream: theirs, seen: seen.clone() };
    house.tracker.spawn(house.broker.serve(watched, peer("acme/one")));
    let (mut reading, mut writing) = tokio::io::split(ours);
    let listening = house.tracker.spawn(async move {
        let mut heard = Vec::new();
        // A stream that fails has ended.
        let _ended = reading.read_to_end(&mut heard).await;
        heard
    });
    let first = header(stream).map_or(stream.len(), |(at, len)| (at + len).min(stream.len()));
    let (hello, rest) = stream.split_at(first);
    send(&mut writing, hello, cut).await;
    quiet().await;
    // No commit is through before the last byte, so that it does not matter when it would have been.
    house.store.hold();
    send(&mut writing, rest, cut).await;
    quiet().await;
    house.store.release();
    quiet().await;
    // Both ends have to go before the server sees the end.
    let _closed = writing.shutdown().await;
    let heard = within("the end", listening).await.expect("no panic");
    house.tracker.close();
    within("the connection to end", house.tracker.wait()).await;
    quiet().await;
    assert!(seen.room_before.load(Ordering::Relaxed) <= BEFORE && seen.read_before.load(Ordering::Relaxed) <= BEFORE);
    assert!(seen.room_after.load(Ordering::Relaxed) <= AFTER, "{seen:?}");
    outcome(&house, stream, &heard).await
}

async fn send(writing: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], cut: Cut) {
    let rng = SeededRng::new(if let Cut::Random(seed) = cut { seed } else { 0 });
    while !bytes.is_empty() {
        let len = match cut {
            Cut::Whole => bytes.len(),
            Cut::Bytes => 1,
            Cut::Random(_) => (rng.next_u64() % 23 + 1) as usize,
        };
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        if writing.write_all(piece).await.is_err() {
            return; // the server has had enough
        }
        // The server sees this much before there is more.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        bytes = rest;
    }
}

async fn outcome(house: &House, stream: &[u8], heard: &[u8]) -> Outcome {
    let said = understood(stream, heard).await;
    let end = house.rules.told.lock().iter().rev().find_map(|told| match told {
        Told::Disconnected { reason, .. } => Some(*reason),
        _ => None,
    });
    let mut sessions = Vec::new();
    let mut half_done = Vec::new();
    for mut kept in house.store.load_sessions().await.expect("works") {
        kept.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
        let ended = kept.disconnected_at.is_some();
        sessions
            .push(format!("{} {} {} {ended} {:?}", kept.client, kept.expiry_secs, kept.protocol, kept.subscriptions));
        half_done.push(format!("{:?}", kept.exchanges));
    }
    let retained = house.store.load_retained().await.expect("works");
    let retained = retained.iter().map(|(_, kept)| format!("{} {:?} {}", kept.topic, kept.payload, kept.qos)).collect();
    let left = visit(house).await;
    Outcome { said, end, sessions, half_done, retained, left }
}

/// What the server said; each packet is one to two decoders.
async fn understood(stream: &[u8], heard: &[u8]) -> BTreeMap<&'static str, Vec<String>> {
    let body = header(stream).and_then(|(at, _)| stream.get(at..)).unwrap_or_default();
    let v5 = matches!(body, [0, 4, b'M', b'Q', b'T', b'T', level, ..] if *level >= 5);
    let mut client = Client::new(tokio::io::join(heard, tokio::io::sink()), v5);
    let mut said: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    loop {
        let (kind, words) = match client.next().await {
            Said::Gone => return said,
            // What is retained comes with a SUBACK, before or after another message changes it.
            Said::Publish(got) if got.retain => continue,
            Said::Publish(got) => ("publish", format!("{} {:?} {}", got.topic, got.payload, got.qos)),
            Said::Pubrel { packet_id, .. } => ("pubrel", packet_id.to_string()),
            other @ Said::Connack { .. } => ("connack", format!("{other:?}")),
            other @ Said::Suback { .. } => ("suback", format!("{other:?}")),
            other @ Said::Unsuback { .. } => ("unsuback", format!("{other:?}")),
            other @ Said::Puback { .. } => ("puback", format!("{other:?}")),
            other @ Said::Pubrec { .. } => ("pubrec", format!("{other:?}")),
            other @ Said::Pubcomp { .. } => ("pubcomp", format!("{other:?}")),
            other => ("other", format!("{other:?}")),
        };
        said.entry(kind).or_default().push(words);
    }
}

/// Comes as the same client, takes what is there, and finds that all works.
async fn visit(house: &House) -> Vec<String> {
    let mut client = Client::connect(house, "acme/one", hello(true, "one").kept()).await;
    let mut left = Vec::new();
    loop {
        let said = client.until_quiet().await;
        if said.is_empty() {
            break;
        }
        for one in said {
            let answer = match one {
                Said::Publish(got) => {
                    if !got.retain {
                        left.push(format!("{} {:?} {}", got.topic, got.payload, got.qos));
                    }
                    [0, 0x40, 0x50]
                        .get(usize::from(got.qos))
                        .filter(|_| got.qos > 0)
                        .map(|first| (*first, got.packet_id))
                }
                Said::Pubrel { packet_id, .. } => Some((0x70, packet_id)),
                other => panic!("{other:?}"),
            };
            if let Some((first, packet_id)) = answer {
                client.send(&packet(first, &packet_id.to_be_bytes())).await;
            }
        }
    }
    client.send(&subscribe(true, 7, &[("probe", 0)])).await;
    client.send(&publish(true, 0, "probe", b"alive")).await;
    let said = client.until_quiet().await;
    assert!(said.iter().any(|said| matches!(said, Said::Publish(got) if got.payload == b"alive")), "{said:?}");
    client.send(&[0xE0, 0]).await;
    quiet().await;
    assert_eq!(house.broker.stats().connections, 0);
    left
}

/// The same outcome, as far as the standard has it so: an end may overtake answers that are under way.
fn same(stream: &[u8], whole: &Outcome, other: &Outcome, cut: Cut) {
    let Some(timing) = Timing::of(stream) else { return };
    let about = || format!("{cut:?} of {stream:?}: {whole:?} {other:?}");
    assert_eq!(whole.end, other.end, "{}", about());
    assert_eq!((&whole.sessions, &whole.retained), (&other.sessions, &other.retained), "{}", about());
    if timing == Timing::Same {
        assert_eq!((&whole.half_done, &whole.left), (&other.half_done, &other.left), "{}", about());
    }
    let ended_early = !matches!(whole.end, None | Some(EndReason::ConnectionLost));
    let none = Vec::new();
    for kind in whole.said.keys().chain(other.said.keys()) {
        if timing == Timing::Matters && matches!(*kind, "publish" | "pubrel") {
            continue;
        }
        let (a, b) = (whole.said.get(kind).unwrap_or(&none), other.said.get(kind).unwrap_or(&none));
        let most = if ended_early { a.len().min(b.len()) } else { usize::MAX };
        assert_eq!(a.get(..most).unwrap_or(a), b.get(..most).unwrap_or(b), "{kind} of {}", about());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    Same,
    /// The client acknowledges what it may or may not have got yet, or asks a service.
    Matters,
}

impl Timing {
    /// None where a burst fills the window or the replies: what is refused then depends on what has been answered.
    fn of(stream: &[u8]) -> Option<Self> {
        let (mut rest, mut packets, mut timing) = (stream, 0, Self::Same);
        while let Some((at, len)) = header(rest) {
            packets += 1;
            if matches!(rest[0] >> 4, 4 | 5 | 7) {
                timing = Self::Matters;
            }
            rest = rest.get(at + len..).unwrap_or_default();
        }
        if stream.windows(4).any(|bytes| bytes == b"$aws" || bytes == b"kept") {
            timing = Self::Matters;
        }
        (packets < 100).then_some(timing)
    }
}
