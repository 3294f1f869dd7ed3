//! Requests over plain HTTP, by many at once, each as soon as the one before was answered: whoever checks certificates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use fleetward_base::{Clock as _, SystemClock};
use http::Method;
use tokio::task::JoinSet;

use super::figures::Latency;
use crate::http::{Answer, Connection};
use crate::net::source;

/// One request.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), content_type: None, body: Bytes::new() }
    }

    pub(crate) fn post(path: impl Into<String>, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { method: Method::POST, path: path.into(), content_type: Some(content_type), body: body.into() }
    }

    pub(crate) async fn send(self, connection: &mut Connection) -> anyhow::Result<Answer> {
        let kind = self.content_type.map(|kind| ("content-type", kind));
        connection.send(self.method, &self.path, kind.as_slice(), self.body).await?.success()
    }
}

/// How a load asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) at_once: usize,
    pub(crate) length: Duration,
    /// A connection for each request, as there is where nobody keeps one.
    pub(crate) fresh: bool,
}

/// Asks for the `n`-th, for ever larger `n`, until the time is over. Every answer must satisfy `check`.
pub(crate) async fn storm(
    address: SocketAddr,
    manner: Manner,
    ask: impl Fn(usize) -> anyhow::Result<Ask> + Send + Sync + 'static,
    check: impl Fn(&Answer) -> anyhow::Result<()> + Send + Sync + 'static,
) -> anyhow::Result<Latency> {
    let (ask, check) = (Arc::new(ask), Arc::new(check));
    let mut askers = JoinSet::new();
    for first in 0..manner.at_once {
        let (ask, check) = (Arc::clone(&ask), Arc::clone(&check));
        askers.spawn(async move {
            let clock = SystemClock::new();
            let mut latency = Latency::new();
            let mut kept = None;
            for number in (first..).step_by(manner.at_once) {
                let ask = ask(number)?;
                let begun = clock.monotonic();
                if begun >= manner.length {
                    break;
                }
                let mut connection = match kept.take() {
                    Some(connection) => connection,
                    None => Connection::plain(address, Some(source(number))).await?,
                };
                let answer = ask.send(&mut connection).await.context("an answer")?;
                latency.record(clock.monotonic().saturating_sub(begun));
                check(&answer)?;
                kept = Some(connection).filter(|_| !manner.fresh);
            }
            anyhow::Ok(latency)
        });
    }
    let mut all = Latency::new();
    while let Some(done) = askers.join_next().await {
        all.merge(&done??);
    }
    Ok(all)
}
