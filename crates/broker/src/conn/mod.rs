//! One connection: a task that reads, acts, and writes, and sleeps in between with next to nothing in memory.
//!
//! Everything is driven from one poll function, so that a stalled write never keeps a kick, a keep-alive or a commit from
//! being noticed. What is read goes through a buffer that the threads share; a connection keeps only the start of a packet
//! that is not whole yet. Replies leave in the order of their requests (§4.6), each when its gate is open: the commit of
//! its batch, or its service's answer.

mod acks;
mod handshake;
mod publish;
mod pump;
mod qos2;
mod read;
mod replies;
mod subscribe;
mod write;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::broker::Inner;
use crate::hooks::{Disconnected, Peer, Principal};
use crate::link::{Link, ticks};
use crate::session::Session;
use crate::space::{Meter, Space};
use crate::{EndReason, Reason};

/// Rounds of one poll before the task lets others run.
const ROUNDS: usize = 16;

/// Serves one stream from its first byte to its end.
pub(crate) async fn serve<S>(inner: Arc<Inner>, mut stream: S, peer: Box<Peer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Boxed, so that what a CONNECT needs does not stay with the connection.
    let greeting = Box::pin(handshake::greet(&inner, &mut stream, peer));
    let greeted = match inner.closing.run_until_cancelled(greeting).await {
        Some(Some(greeted)) => greeted,
        Some(None) | None => return,
    };
    let mut conn = Conn { stream, core: greeted };
    let end = std::future::poll_fn(|cx| conn.poll_run(cx)).await;
    let left = conn.core.leave(end);
    Box::pin(conn.close(left)).await;
}

struct Conn<S> {
    stream: S,
    core: Core,
}

/// A connection without its stream.
struct Core {
    inner: Arc<Inner>,
    space: Arc<Space>,
    session: Arc<Session>,
    principal: Arc<Principal>,
    link: Arc<Link>,
    address: SocketAddr,
    epoch: u64,
    v5: bool,
    /// Ticks without a packet until it counts as lost.
    keep_alive: u32,
    /// The tick of the last packet.
    heard: u32,
    /// The tick at which the certificate ends.
    valid_until: u32,
    seen_reported: u32,
    /// Set by the client's DISCONNECT (5.0).
    expiry_override: Option<u32>,
    has_expiry: bool,
    keep_will: bool,
    /// The session has been given back.
    left: bool,
    input: Input,
    output: Output,
    replies: VecDeque<replies::Reply>,
    services: Option<Box<replies::Services>>,
    delivery: acks::Delivery,
}

/// What has been read and not yet acted on.
struct Input {
    partial: Vec<u8>,
    /// Packets are there, but acting on them has to wait.
    held: bool,
    /// Reading pauses until the rates below allow it.
    throttled: bool,
    /// A packet of this batch waits for a commit.
    wants_commit: bool,
    /// Messages of the client, QoS 1 and 2, that it waits for the end of.
    unacked: u16,
    /// Topics by their alias, from 1 (§3.3.2.3.4).
    aliases: Vec<Box<str>>,
    /// What is left to the device of messages and bytes.
    meter: Option<Arc<Meter>>,
}

/// What is to be written.
#[derive(Default)]
struct Output {
    buffer: Vec<u8>,
    written: usize,
    /// The tick since when nothing could be written.
    stalled_since: Option<u32>,
    /// Written, but maybe still in a buffer of the stream.
    unflushed: bool,
}

impl Output {
    fn waiting(&self) -> usize {
        self.buffer.len() - self.written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        self.core.link.register(cx.waker());
        let mut dry = false;
        for _ in 0..ROUNDS {
            match self.poll_round(cx, &mut dry) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done now; whether it is worth looking again.
    fn poll_round(&mut self, cx: &mut Context<'_>, dry: &mut bool) -> Result<bool, EndReason> {
        let core = &mut self.core;
        if let Some(end) = core.link.ended() {
            return Err(end);
        }
        let now = core.inner.now_tick();
        let mut progress = core.poll_services(cx);
        progress |= core.settle_replies()?;
        progress |= core.poll_queue(cx);
        progress |= core.pump();
        progress |= self.poll_write(cx, now)?;
        progress |= self.poll_read(cx, now, dry)?;
        if !progress {
            // Only now: after a pause of the whole process what has arrived in it counts.
            self.core.check_deadlines(now)?;
            self.core.rearm(now);
        }
        Ok(progress)
    }

    /// Says good-bye within the grace and lets go.
    async fn close(mut self, code: Option<u8>) {
        let core = &mut self.core;
        if let Some(code) = code {
            let elsewhere = core.inner.redirect.read().clone().filter(|to| to.reason().code() == code);
            let buffer = &mut core.output.buffer;
            match elsewhere.filter(|to| to.server.len() + 8 <= core.delivery.max_packet) {
                Some(to) => crate::codec::write::disconnect_to(buffer, code, &to.server),
                None => crate::codec::write::disconnect(buffer, code, core.delivery.max_packet),
            }
        }
        let rest = core.output.buffer.get(core.output.written..).unwrap_or_default();
        let stream = &mut self.stream;
        let last_words = async {
            if !rest.is_empty() {
                stream.write_all(rest).await?;
            }
            stream.shutdown().await
        };
        // A peer that does not listen any more loses the last words; nothing else is lost.
        if tokio::time::timeout(core.inner.config.close_grace, last_words).await.is_err() {
            tracing::debug!(tenant = %core.space.tenant, client = %core.session.client, "peer gone before the last word");
        }
    }
}

/// A task that is dropped or panics gives its session back too.
impl Drop for Core {
    fn drop(&mut self) {
        if !self.left {
            self.leave(EndReason::ConnectionLost);
        }
    }
}

impl Core {
    fn check_deadlines(&self, now: u32) -> Result<(), EndReason> {
        if now.saturating_sub(self.heard) >= self.keep_alive {
            return Err(EndReason::Server(Reason::KeepAliveTimeout));
        }
        if now >= self.valid_until {
            return Err(EndReason::Server(Reason::MaximumConnectTime));
        }
        let stall = ticks(self.inner.config.write_stall);
        if self.output.stalled_since.is_some_and(|since| now.saturating_sub(since) >= stall) {
            return Err(EndReason::SlowReader);
        }
        Ok(())
    }

    /// Tells the wheel when to look again.
    fn rearm(&self, now: u32) {
        let mut due = self.heard.saturating_add(self.keep_alive).min(self.valid_until);
        if let Some(since) = self.output.stalled_since {
            due = due.min(since.saturating_add(ticks(self.inner.config.write_stall)));
        }
        if self.throttled() {
            due = due.min(now + 1);
        }
        self.inner.wheel.set(&self.link, now, due);
    }

    /// The connection is over: gives the session back and tells who wants to know. The code of a DISCONNECT to send.
    fn leave(&mut self, end: EndReason) -> Option<u8> {
        self.left = true;
        self.link.close();
        let inner = &self.inner;
        inner.counters.connections.fetch_sub(1, Ordering::Relaxed);
        if end == EndReason::SlowReader {
            inner.counters.slow_readers.fetch_add(1, Ordering::Relaxed);
        }
        let keep_will = end != EndReason::ClientDisconnected || self.keep_will;
        let owner = inner.detach(&self.space, &self.session, self.epoch, keep_will, self.expiry_override);
        if owner || end != EndReason::Server(Reason::SessionTakenOver) {
            let report = Disconnected { epoch: self.epoch, address: self.address, reason: end };
            inner.hooks.disconnected(&self.principal, &report);
        }
        tracing::debug!(tenant = %self.space.tenant, client = %self.session.client, reason = end.as_str(), "disconnected");
        self.let_services_finish();
        match end {
            EndReason::Server(reason) if self.v5 => Some(reason.code()),
            // §3.14.2.1 has no word for it but this.
            EndReason::SlowReader if self.v5 => Some(Reason::QuotaExceeded.code()),
            _ => None,
        }
    }

    /// Tells the hooks now and then that the device is alive.
    fn report_seen(&mut self, now: u32) {
        const EVERY: u32 = 20;
        if now.saturating_sub(self.seen_reported) >= EVERY {
            self.seen_reported = now;
            self.inner.hooks.seen(&self.principal);
        }
    }
}

/// Ticks of 1.5 times the keep-alive (§3.1.2.10).
fn keep_alive_ticks(secs: u16) -> u32 {
    ticks(Duration::from_millis(u64::from(secs) * 1500))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fifteen thousand idle connections are mostly this.
    #[test]
    fn what_an_idle_connection_holds_is_small() {
        fn future<F: Future>(_: fn(Arc<Inner>, tokio::net::TcpStream, Box<Peer>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size_of::<Core>() <= 448, "{}", size_of::<Core>());
        assert!(future(serve) <= 704, "{}", future(serve));
        assert!(size_of::<Session>() <= 288, "{}", size_of::<Session>());
        assert!(size_of::<Link>() <= 64, "{}", size_of::<Link>());
    }
}
