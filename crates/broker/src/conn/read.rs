//! Reading: as much as is there, acted on as one batch.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use fleetward_base::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Conn, Core};
use crate::codec::connect::read_disconnect;
use crate::codec::frame::{Frame, MAX_CONTROL, PacketType, frame};
use crate::codec::publish::read_ack;
use crate::codec::write;
use crate::link::TICK;
use crate::router::Target;
use crate::{EndReason, Reason};

/// Bytes read at once.
const READ_BYTES: usize = 32 * 1024;
/// Replies that may wait before reading pauses. MQTT 5.0 clients stop themselves at the receive maximum.
const MAX_REPLIES: usize = 256;
/// Written bytes that may wait before reading pauses.
const MAX_WAITING: usize = 256 * 1024;

/// What all connections of a thread share.
pub(super) struct Scratch {
    read: Box<[u8]>,
    pub(super) targets: Vec<Target>,
    pub(super) properties: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_BYTES].into_boxed_slice(),
        targets: Vec::new(),
        properties: Vec::new(),
    });
}

/// Whether the next packet can be acted on.
pub(super) enum Flow {
    Next,
    /// This one has to wait, and everything after it.
    Hold,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    /// `dry` says that the stream has nothing more for this poll.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, now: u32, dry: &mut bool) -> Result<bool, EndReason> {
        if (*dry && !self.core.input.held) || !self.core.may_read() {
            return Ok(false);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            if self.core.input.held {
                self.core.input.held = false;
                self.core.act_on_partial(scratch, now)?;
                return Ok(!self.core.input.held);
            }
            let mut read = std::mem::take(&mut scratch.read);
            let outcome = self.fill_and_act(cx, &mut read, scratch, now, dry);
            scratch.read = read;
            outcome
        })
    }

    fn fill_and_act(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut [u8],
        scratch: &mut Scratch,
        now: u32,
        dry: &mut bool,
    ) -> Result<bool, EndReason> {
        let mut filled = 0;
        let mut ended = false;
        while let Some(space) = read.get_mut(filled..).filter(|s| !s.is_empty()) {
            let mut buffer = ReadBuf::new(space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => filled += buffer.filled().len(),
                Poll::Ready(_) => {
                    ended = true;
                    break;
                }
                Poll::Pending => {
                    *dry = true;
                    break;
                }
            }
        }
        if filled > 0 {
            self.core.act_on(read.get(..filled).unwrap_or_default(), scratch, now)?;
        }
        if ended { Err(EndReason::ConnectionLost) } else { Ok(filled > 0) }
    }
}

impl Core {
    /// Whether there is room for what reading brings. Where there is not, something will wake the task when there is.
    fn may_read(&mut self) -> bool {
        if self.replies.len() >= MAX_REPLIES || self.output.waiting() >= MAX_WAITING {
            return false;
        }
        if self.inner.committer.pending_bytes() > self.inner.config.pending_bytes {
            self.inner.committer.want(Some(&self.link));
            return false;
        }
        let now = TICK * self.inner.now_tick();
        let config = &self.inner.config;
        let open = self.input.meter.as_ref().is_none_or(|meter| meter.is_open(config, now)) && self.space.is_open(now);
        self.input.throttled = !open;
        if !open {
            return false;
        }
        !self.input.held || self.services_running() < limits::SERVICE_REQUESTS_IN_FLIGHT
    }

    /// Whether reading pauses until the rate allows it.
    pub(super) fn throttled(&self) -> bool {
        self.input.throttled
    }

    fn act_on(&mut self, bytes: &[u8], scratch: &mut Scratch, now: u32) -> Result<(), EndReason> {
        if !self.input.partial.is_empty() {
            self.input.partial.extend_from_slice(bytes);
            return self.act_on_partial(scratch, now);
        }
        let used = self.act_on_packets(bytes, scratch, now)?;
        if let Some(rest) = bytes.get(used..).filter(|r| !r.is_empty()) {
            self.input.partial = rest.to_vec();
        }
        Ok(())
    }

    fn act_on_partial(&mut self, scratch: &mut Scratch, now: u32) -> Result<(), EndReason> {
        let mut bytes = std::mem::take(&mut self.input.partial);
        let used = self.act_on_packets(&bytes, scratch, now)?;
        if used < bytes.len() {
            bytes.drain(..used);
            self.input.partial = bytes;
        }
        Ok(())
    }

    /// Acts on every whole packet; how many bytes they were. Asks for the commit that they need.
    fn act_on_packets(&mut self, bytes: &[u8], scratch: &mut Scratch, now: u32) -> Result<usize, EndReason> {
        let mut used = 0;
        let mut publishes = 0;
        let outcome = loop {
            if self.replies.len() >= MAX_REPLIES {
                self.input.held = used < bytes.len();
                break Ok(());
            }
            let (kind, flags, body, len) = match frame(bytes.get(used..).unwrap_or_default(), limits::MQTT_PACKET_BYTES)
            {
                Frame::Packet { kind, flags, body, len } => (kind, flags, body, len),
                Frame::Incomplete { .. } => break Ok(()),
                Frame::Bad(reason) => break Err(EndReason::Server(reason)),
            };
            self.heard = now;
            match self.act_on_packet(kind, flags, body, scratch) {
                Ok(Flow::Next) => {}
                Ok(Flow::Hold) => {
                    self.input.held = true;
                    break Ok(());
                }
                Err(end) => break Err(end),
            }
            used += len;
            publishes += u64::from(kind == PacketType::Publish);
        };
        if std::mem::take(&mut self.input.wants_commit) {
            self.inner.committer.want(Some(&self.link));
        }
        self.report_seen(now);
        self.pay(publishes, used);
        outcome.map(|()| used)
    }

    fn pay(&self, publishes: u64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.space.pay(publishes, bytes);
        if let Some(meter) = &self.input.meter {
            meter.pay(publishes, bytes);
        }
    }

    fn act_on_packet(
        &mut self,
        kind: PacketType,
        flags: u8,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Flow, EndReason> {
        if kind != PacketType::Publish && body.len() > MAX_CONTROL {
            return Err(EndReason::Server(Reason::PacketTooLarge));
        }
        match kind {
            PacketType::Publish => return self.on_publish(flags, body, scratch),
            PacketType::Puback => {
                let (packet_id, _) = read_ack(body, self.v5).map_err(EndReason::Server)?;
                self.acknowledge(packet_id);
            }
            PacketType::Pubrec => {
                let (packet_id, code) = read_ack(body, self.v5).map_err(EndReason::Server)?;
                self.on_pubrec(packet_id, code);
            }
            PacketType::Pubrel => {
                let (packet_id, _) = read_ack(body, self.v5).map_err(EndReason::Server)?;
                self.on_pubrel(packet_id);
            }
            PacketType::Pubcomp => {
                let (packet_id, _) = read_ack(body, self.v5).map_err(EndReason::Server)?;
                self.on_pubcomp(packet_id);
            }
            PacketType::Subscribe => self.on_subscribe(body)?,
            PacketType::Unsubscribe => self.on_unsubscribe(body)?,
            PacketType::Pingreq if body.is_empty() => write::pingresp(&mut self.output.buffer),
            PacketType::Pingreq => return Err(EndReason::Server(Reason::MalformedPacket)),
            PacketType::Disconnect => return Err(self.on_disconnect(body)),
            // A second CONNECT, §3.1; AUTH without a method, §4.12.
            PacketType::Connect | PacketType::Auth => {
                return Err(EndReason::Server(Reason::ProtocolError));
            }
        }
        Ok(Flow::Next)
    }

    fn on_disconnect(&mut self, body: &[u8]) -> EndReason {
        let parsed = match read_disconnect(body, self.v5) {
            Ok(parsed) => parsed,
            Err(reason) => return EndReason::Server(reason),
        };
        // §3.14.2.2.2: a session without expiry cannot get one now.
        if parsed.session_expiry_secs.is_some_and(|secs| secs > 0) && !self.has_expiry {
            return EndReason::Server(Reason::ProtocolError);
        }
        self.keep_will = parsed.with_will;
        self.expiry_override = parsed.session_expiry_secs;
        EndReason::ClientDisconnected
    }
}
