//! One MQTT connection: what it sends is buffered until it is flushed, what comes is read packet by packet.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::codec::{self, Connack, Connect, Malformed, Packet, Version};

/// The largest packet that a client takes.
const PACKET_BYTES: usize = 1024 * 1024;

/// Why a connection is over or was never made.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("connection lost")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("refused with code {code:#04x}")]
    Refused { code: u8 },
    #[error("closed by the server")]
    Closed,
    #[error("disconnected by the server with reason {code:#04x}")]
    Disconnected { code: u8 },
    #[error("subscription refused")]
    NotSubscribed,
    #[error("unexpected packet {0}")]
    Unexpected(String),
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    pub version: Version,
    pub keep_alive_secs: u16,
    /// Start without the session that the server may hold.
    pub clean: bool,
    pub session_expiry_secs: u32,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::V311,
            keep_alive_secs: 1200,
            clean: true,
            session_expiry_secs: 0,
            username: None,
            password: None,
        }
    }
}

/// A connection that the server has accepted.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    version: Version,
    inbox: BytesMut,
    outbox: BytesMut,
    next_id: u16,
    session_present: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends CONNECT and waits for its answer.
    pub async fn connect(stream: S, client_id: &str, options: &Options) -> Result<Self, Failure> {
        let mut client = Self {
            stream,
            version: options.version,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            next_id: 0,
            session_present: false,
        };
        let connect = Connect {
            version: options.version,
            client_id,
            keep_alive_secs: options.keep_alive_secs,
            clean: options.clean,
            session_expiry_secs: options.session_expiry_secs,
            username: options.username.as_deref(),
            password: options.password.as_deref(),
        };
        codec::connect(&mut client.outbox, &connect);
        client.flush().await?;
        match client.next().await? {
            Packet::Connack(Connack { code: 0, session_present }) => {
                client.session_present = session_present;
                client.rest();
                Ok(client)
            }
            Packet::Connack(Connack { code, .. }) => Err(Failure::Refused { code }),
            other => Err(Failure::Unexpected(format!("{other:?}"))),
        }
    }

    /// Whether the server had a session for this client.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Buffers a QoS 1 message and returns its identifier.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let id = self.id();
        codec::publish(&mut self.outbox, self.version, topic, payload, Some(id), false);
        id
    }

    /// Buffers a QoS 1 message that is to be retained and returns its identifier.
    pub fn retain(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let id = self.id();
        codec::publish(&mut self.outbox, self.version, topic, payload, Some(id), true);
        id
    }

    /// Buffers a QoS 0 message.
    pub fn publish_unacknowledged(&mut self, topic: &str, payload: &[u8]) {
        codec::publish(&mut self.outbox, self.version, topic, payload, None, false);
    }

    pub fn acknowledge(&mut self, id: u16) {
        codec::puback(&mut self.outbox, id);
    }

    pub fn ping(&mut self) {
        codec::pingreq(&mut self.outbox);
    }

    /// Buffers a SUBSCRIBE at QoS 1 and returns its identifier.
    pub fn subscribe(&mut self, filters: &[&str]) -> u16 {
        let id = self.id();
        codec::subscribe(&mut self.outbox, self.version, id, filters);
        id
    }

    /// Subscribes and waits for the answer; messages that come meanwhile are acknowledged and handed to `seen`.
    pub async fn subscribe_all(
        &mut self,
        filters: &[&str],
        mut seen: impl FnMut(codec::Publish),
    ) -> Result<(), Failure> {
        let wanted = self.subscribe(filters);
        self.flush().await?;
        loop {
            match self.next().await? {
                Packet::Suback { id, codes } if id == wanted => {
                    return if codes.iter().all(|code| *code <= 1) { Ok(()) } else { Err(Failure::NotSubscribed) };
                }
                Packet::Publish(message) => {
                    if let Some(id) = message.id {
                        self.acknowledge(id);
                        self.flush().await?;
                    }
                    seen(message);
                }
                _ => {}
            }
        }
    }

    /// Sends all that is buffered. Not safe to cancel.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.outbox).await?;
        self.stream.flush().await?;
        self.outbox.clear();
        Ok(())
    }

    /// The next packet; safe to cancel. An end of the connection is a failure that says whose.
    pub async fn next(&mut self) -> Result<Packet, Failure> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(packet);
            }
            self.inbox.reserve(1024);
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) => return Err(Failure::Closed),
                Ok(_) => {}
                // A peer that closes without close_notify is closed all the same.
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Err(Failure::Closed),
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// The next packet that has already been read.
    pub fn buffered(&mut self) -> Result<Option<Packet>, Failure> {
        match codec::decode(&mut self.inbox, self.version, PACKET_BYTES)? {
            Some(Packet::Disconnect { code }) => Err(Failure::Disconnected { code }),
            other => Ok(other),
        }
    }

    /// Gives the buffers back: for a connection that will be idle.
    pub fn rest(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        if self.outbox.is_empty() {
            self.outbox = BytesMut::new();
        }
    }

    /// Says goodbye, so that no will is published, and closes.
    pub async fn disconnect(mut self) -> Result<(), Failure> {
        codec::disconnect(&mut self.outbox);
        self.flush().await?;
        self.stream.shutdown().await?;
        Ok(())
    }

    /// As [`Client::disconnect`], and returns when the server has closed as well: from then on it knows that nobody is there.
    pub async fn depart(mut self) -> Result<(), Failure> {
        codec::disconnect(&mut self.outbox);
        self.flush().await?;
        self.stream.shutdown().await?;
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(Failure::Closed) => return Ok(()),
                Err(Failure::Io(cause)) if cause.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(other) => return Err(other),
            }
        }
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }
}
