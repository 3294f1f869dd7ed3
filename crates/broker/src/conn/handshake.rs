//! From the first byte to the CONNACK. Nothing above 4 KiB is held for a peer that has not said who it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fleetward_base::{Timestamp, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::acks::Delivery;
use super::{Core, Input, Output, keep_alive_ticks};
use crate::broker::Inner;
use crate::codec::connect::{BadConnect, ParsedConnect, read_connect};
use crate::codec::frame::{Frame, PacketType, frame};
use crate::codec::write::{ConnackProperties, connack_v3, connack_v5, connack_v5_refused};
use crate::hooks::{Connected, Peer, Principal, Protocol, Refusal};
use crate::lifecycle::Attached;
use crate::link::{Link, TICK, ticks};
use crate::rules::rules;
use crate::session::{LastWill, Session};
use crate::space::Space;
use crate::{EndReason, Reason, topic};

/// The code of a refusal in 5.0 and in 3.1.1.
#[derive(Clone, Copy, Debug)]
struct Code(u8, u8);

impl Refusal {
    fn code(self) -> Code {
        match self {
            Self::ClientId => Code(0x85, 2),
            Self::Credentials => Code(0x86, 4),
            Self::NotAuthorized => Code(0x87, 5),
            Self::Unavailable => Code(0x88, 3),
            Self::Busy => Code(0x89, 3),
            Self::Banned => Code(0x8A, 5),
            Self::Quota => Code(0x97, 3),
        }
    }
}

/// Reads the CONNECT, answers it, and has the session attached. None if there will be no connection.
pub(super) async fn greet<S>(inner: &Arc<Inner>, stream: &mut S, peer: Box<Peer>) -> Option<Core>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeting = async {
        let (body_at, body_end, read) = read_first(stream).await?;
        let body = read.get(body_at..body_end)?;
        let rest = read.get(body_end..)?.to_vec();
        let answer = match read_connect(body) {
            Ok(parsed) => {
                let v5 = parsed.connect.protocol == Protocol::V5;
                admit(inner, &peer, parsed, rest).await.map_err(|code| (v5, code))
            }
            Err(BadConnect::Silent) => return None,
            Err(BadConnect::Version { v5 }) => Err((v5, Code(0x84, 1))),
            Err(BadConnect::Refuse { v5, code, v3_code }) => Err((v5, Code(code, v3_code))),
        };
        Some(answer)
    };
    let answer = tokio::time::timeout(inner.config.connect_deadline, greeting).await;
    match answer {
        Ok(Some(Ok(core))) => Some(core),
        Ok(Some(Err((v5, code)))) => {
            inner.counters.connects_refused.fetch_add(1, Ordering::Relaxed);
            refuse(inner, stream, v5, code).await;
            None
        }
        Ok(None) | Err(_) => {
            inner.counters.connects_refused.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Reads until the CONNECT is whole: where its body begins and ends, and what has been read. None for anything else.
async fn read_first<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(usize, usize, Vec<u8>)> {
    let mut read = Vec::with_capacity(512);
    loop {
        match frame(&read, limits::MQTT_CONNECT_BYTES) {
            Frame::Packet { kind: PacketType::Connect, body, len, .. } => return Some((len - body.len(), len, read)),
            Frame::Packet { .. } | Frame::Bad(_) => return None,
            Frame::Incomplete { .. } => {}
        }
        // A first packet of another type is not waited for.
        if read.first().is_some_and(|b| *b != 0x10) {
            return None;
        }
        if read.len() == read.capacity() {
            read.reserve_exact(limits::MQTT_CONNECT_BYTES - read.len());
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn refuse<S: AsyncWrite + Unpin>(inner: &Inner, stream: &mut S, v5: bool, code: Code) {
    let mut out = Vec::with_capacity(8);
    if v5 {
        let elsewhere = inner.redirect.read().clone().filter(|to| to.reason().code() == code.0);
        connack_v5_refused(&mut out, code.0, elsewhere.as_ref().map(|to| &*to.server))
    } else {
        connack_v3(&mut out, false, code.1)
    }
    let answer = async {
        stream.write_all(&out).await?;
        stream.shutdown().await
    };
    // Whether or not the peer takes it, the connection is over.
    if tokio::time::timeout(inner.config.close_grace, answer).await.is_err() {
        tracing::debug!("peer gone before its refusal");
    }
}

/// Authenticates, authorises the will, attaches the session.
async fn admit(inner: &Arc<Inner>, peer: &Peer, mut parsed: ParsedConnect, rest: Vec<u8>) -> Result<Core, Code> {
    let principal = inner.hooks.authenticate(peer, &parsed.connect).await.map_err(Refusal::code)?;
    let client_id = &parsed.connect.client_id;
    // Guests call themselves what they like; each connection has a session of its own.
    if !principal.rights.is_guest() && !client_id.is_empty() && client_id != principal.device.as_str() {
        return Err(Refusal::ClientId.code());
    }
    if let Some(to) = &*inner.redirect.read() {
        return Err(Code(to.reason().code(), 3));
    }
    if inner.held_bytes.load(Ordering::Relaxed) > inner.config.memory_bytes {
        return Err(Refusal::Quota.code());
    }
    let space = inner.space_of(&principal);
    space.limit(principal.rates.or(inner.config.tenant_rates), inner.clock.monotonic());
    if !space.may_any_connect(inner.clock.monotonic()) {
        return Err(Code(0x9F, 3));
    }
    if !space.may_connect(&principal.device, inner.config.connects_per_client, inner.clock.monotonic()) {
        return Err(Code(0x9F, 3));
    }
    let rules = rules(principal.profile);
    if parsed.connect.protocol == Protocol::V311 {
        parsed.connect.session_expiry_secs = parsed.connect.session_expiry_secs.min(rules.v3_expiry_secs);
    }
    let will = will(inner, &principal, &mut parsed)?;
    let link = Link::new();
    let attached = inner.attach(&space, &principal, &link, &parsed.connect, will);
    let mut hold = Hold { inner, space: &space, session: &attached.session, epoch: attached.epoch, given: false };
    if let Some((since, ticket)) = attached.commit {
        inner.committer.want(None);
        inner.committer.wait(since, ticket).await.map_err(|_| Refusal::Unavailable.code())?;
    }
    hold.given = true;
    drop(hold);
    Ok(build(inner, peer, parsed, rest, Admitted { principal, space, link, attached }))
}

/// A session that has been attached for a connection which may not come to be, also because its future is dropped.
struct Hold<'a> {
    inner: &'a Arc<Inner>,
    space: &'a Arc<Space>,
    session: &'a Arc<Session>,
    epoch: u64,
    given: bool,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if !self.given {
            self.inner.detach(self.space, self.session, self.epoch, false, None);
        }
    }
}

fn will(inner: &Inner, principal: &Principal, parsed: &mut ParsedConnect) -> Result<Option<LastWill>, Code> {
    let (Some(will), Some(rest)) = (&parsed.connect.will, parsed.will.take()) else { return Ok(None) };
    if !topic::valid_name(&will.topic) {
        return Err(Code(0x90, 5));
    }
    // [MQTT-3.2.2-12].
    if will.qos > rules(principal.profile).max_qos {
        return Err(Code(Reason::QosNotSupported.code(), 5));
    }
    if will.topic.starts_with('$') || !inner.hooks.authorize_publish(principal, &will.topic, will.retain) {
        inner.counters.refused_unauthorized.fetch_add(1, Ordering::Relaxed);
        return Err(Refusal::NotAuthorized.code());
    }
    Ok(Some(LastWill {
        epoch: 0,
        since: Timestamp::EPOCH,
        topic: will.topic.clone(),
        payload: rest.payload,
        properties: rest.properties,
        qos: will.qos,
        retain: will.retain,
        delay_secs: rest.delay_secs,
        expiry_secs: rest.expiry_secs,
    }))
}

struct Admitted {
    principal: Arc<Principal>,
    space: Arc<Space>,
    link: Arc<Link>,
    attached: Attached,
}

fn build(inner: &Arc<Inner>, peer: &Peer, parsed: ParsedConnect, rest: Vec<u8>, admitted: Admitted) -> Core {
    let Admitted { principal, space, link, attached } = admitted;
    let config = &inner.config;
    let connect = &parsed.connect;
    let v5 = connect.protocol == Protocol::V5;
    let asked = connect.keep_alive_secs;
    let rules = rules(principal.profile);
    let keep_alive_secs = if asked == 0 { config.keep_alive_max_secs } else { asked.min(config.keep_alive_max_secs) };
    // Only 5.0 can be told (§3.2.2.3.14).
    let keep_alive_secs =
        if v5 { inner.spread_keep_alive(&principal.device, keep_alive_secs) } else { keep_alive_secs };
    let keep_alive_secs = keep_alive_secs.max(rules.keep_alive_min_secs);
    let mut output = Output::default();
    if v5 {
        let expiry = Some(attached.expiry_secs).filter(|e| *e != connect.session_expiry_secs);
        let given = ConnackProperties {
            session_expiry_secs: expiry,
            receive_maximum: limits::MQTT_IN_FLIGHT,
            max_packet: u32::try_from(limits::MQTT_PACKET_BYTES).unwrap_or(u32::MAX),
            topic_aliases: rules.topic_aliases,
            assigned_client_id: Some(principal.device.as_str()).filter(|_| connect.client_id.is_empty()),
            keep_alive_secs: Some(keep_alive_secs).filter(|k| *k != asked),
            max_qos: rules.max_qos as u8,
            no_subscription_identifiers: !rules.subscription_identifiers,
        };
        connack_v5(&mut output.buffer, attached.session_present, &given);
    } else {
        connack_v3(&mut output.buffer, attached.session_present, 0);
    }
    inner.counters.connects.fetch_add(1, Ordering::Relaxed);
    inner.counters.connections.fetch_add(1, Ordering::Relaxed);
    let now = inner.now_tick();
    let report = Connected {
        epoch: attached.epoch,
        address: peer.address,
        protocol: connect.protocol,
        keep_alive_secs,
        clean_start: connect.clean_start,
        session_present: attached.session_present,
        took_over: attached.took_over,
    };
    inner.hooks.connected(&principal, &report);
    if inner.closing.is_cancelled() {
        link.end(EndReason::Server(Reason::ServerShuttingDown));
    }
    let meter = space.meter(&principal.device, config, TICK * now);
    Core {
        valid_until: valid_until(inner, &principal, now),
        keep_alive: keep_alive_ticks(keep_alive_secs),
        heard: now,
        seen_reported: now,
        expiry_override: None,
        has_expiry: attached.expiry_secs > 0,
        keep_will: false,
        left: false,
        input: Input {
            held: !rest.is_empty(),
            partial: rest,
            throttled: false,
            wants_commit: false,
            unacked: 0,
            aliases: Vec::new(),
            meter,
        },
        output,
        replies: VecDeque::new(),
        services: None,
        delivery: Delivery::new(
            attached.sent,
            attached.dup_until,
            attached.released,
            parsed.receive_maximum,
            parsed.max_packet,
        ),
        inner: inner.clone(),
        space,
        session: attached.session,
        principal,
        link,
        address: peer.address,
        epoch: attached.epoch,
        v5,
    }
}

fn valid_until(inner: &Inner, principal: &Principal, now: u32) -> u32 {
    let Some(end) = principal.valid_until else { return u32::MAX };
    let left = end.since(inner.clock.now()).min(Duration::from_secs(366 * 24 * 3600));
    now + ticks(left)
}
