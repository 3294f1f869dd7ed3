//! A device's session: requests to the services and what the server says unasked.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::World;
use crate::identity::Identity;
use crate::json;
use crate::mqtt::{Client, Options, Packet, Publish};
use crate::net::Stream;
use crate::tls::ALPN_MQTT;

/// A request that is not answered within this is lost.
const ANSWER: Duration = Duration::from_secs(30);
/// A quiet connection says that it lives.
const PING: Duration = Duration::from_secs(60);

/// What the server says unasked.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// The head of the queue of jobs has changed.
    NextJob,
    /// Settings that are wanted and not reported yet.
    Delta(Value),
}

/// The service said no.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{topic} was rejected: {body}")]
pub(super) struct Rejected {
    pub(super) topic: String,
    pub(super) body: Value,
}

pub(super) struct Link {
    client: Client<Stream>,
    /// `$aws/things/NAME/`.
    things: String,
    requests: u64,
    /// Heard while an answer was waited for.
    heard: VecDeque<Event>,
}

impl Link {
    pub(super) async fn open(world: &World, identity: &Identity, source: Ipv4Addr) -> anyhow::Result<Self> {
        let stream = world.mqtt.open(&world.trust.identified(identity, &[ALPN_MQTT])?, Some(source)).await?;
        let options = Options { keep_alive_secs: 120, ..Options::default() };
        let client = Client::connect(stream, identity.device.as_str(), &options).await?;
        let things = format!("$aws/things/{}/", identity.device);
        let mut link = Self { client, things, requests: 0, heard: VecDeque::new() };
        let filters = [
            "shadow/update/accepted",
            "shadow/update/rejected",
            "shadow/update/delta",
            "jobs/notify-next",
            "jobs/start-next/+",
            "jobs/+/update/+",
        ];
        let filters = filters.map(|filter| format!("{}{filter}", link.things));
        let mut early = Vec::new();
        link.client.subscribe_all(&filters.each_ref().map(String::as_str), |message| early.push(message)).await?;
        for message in early {
            link.hear(&message);
        }
        Ok(link)
    }

    /// Publishes a request to `operation` and waits for its answer: the body, or [`Rejected`].
    pub(super) async fn request(&mut self, operation: &str, body: Value) -> anyhow::Result<Value> {
        self.requests += 1;
        let token = format!("r{}", self.requests);
        let body = json::with(body, "clientToken", token.as_str());
        let topic = format!("{}{operation}", self.things);
        self.client.publish(&topic, body.to_string().as_bytes());
        self.client.flush().await?;
        let answer = tokio::time::timeout(ANSWER, self.answer(&topic, &token)).await;
        answer.with_context(|| format!("{operation} was not answered"))?
    }

    async fn answer(&mut self, topic: &str, token: &str) -> anyhow::Result<Value> {
        loop {
            let message = self.message().await?;
            let body = || serde_json::from_slice::<Value>(&message.payload).context("an answer that is not JSON");
            match message.topic.strip_prefix(topic) {
                Some("/accepted") => {
                    let body = body()?;
                    if json::at(&body, "/clientToken") == token {
                        return Ok(body);
                    }
                }
                Some("/rejected") => {
                    let body = body()?;
                    if json::at(&body, "/clientToken") == token {
                        return Err(Rejected { topic: topic.to_owned(), body }.into());
                    }
                }
                _ => self.hear(&message),
            }
        }
    }

    /// Waits for something unasked; safe to cancel.
    pub(super) async fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return Ok(event);
            }
            self.client.rest();
            let message = self.message().await?;
            self.hear(&message);
        }
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.client.disconnect().await.map_err(Into::into)
    }

    /// The next message, acknowledged.
    async fn message(&mut self) -> anyhow::Result<Publish> {
        loop {
            let Ok(packet) = tokio::time::timeout(PING, self.client.next()).await else {
                self.client.ping();
                self.client.flush().await?;
                continue;
            };
            if let Packet::Publish(message) = packet? {
                if let Some(id) = message.id {
                    self.client.acknowledge(id);
                    self.client.flush().await?;
                }
                return Ok(message);
            }
        }
    }

    fn hear(&mut self, message: &Publish) {
        let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        match message.topic.strip_prefix(&self.things) {
            // Without an execution there is nothing to do: the queue has become empty.
            Some("jobs/notify-next") if body.get("execution").is_some() && !self.heard.contains(&Event::NextJob) => {
                self.heard.push_back(Event::NextJob);
            }
            Some("shadow/update/delta") => self.heard.push_back(Event::Delta(json::at(&body, "/state").clone())),
            _ => {}
        }
    }
}
