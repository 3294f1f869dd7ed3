//! The way of clients to another server (MQTT 5.0 §4.11).

use std::sync::Arc;

use super::Broker;
use crate::Reason;
use crate::link::TICK;

/// Another server that clients are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A Server Reference (MQTT 5.0 §4.11): `host` or `host:port`.
    pub server: String,
    /// For good (0x9D), or for now (0x9C).
    pub moved: bool,
}

impl Redirect {
    pub(crate) const fn reason(&self) -> Reason {
        if self.moved { Reason::ServerMoved } else { Reason::UseAnotherServer }
    }
}

impl Broker {
    /// Sends every client to another server, or none any more. Those that are connected are told so (0x9C or 0x9D; 3.1.1 is
    /// closed), `at_once` of them with each tick so that the other server is not run over; how many there are.
    pub fn redirect(&self, to: Option<Redirect>, at_once: usize) -> usize {
        let reason = to.as_ref().map(Redirect::reason);
        *self.inner.redirect.write() = to.map(Arc::new);
        let Some(reason) = reason else { return 0 };
        let sessions: Vec<_> = self
            .inner
            .all_spaces()
            .iter()
            .flat_map(|space| space.sessions.lock().values().cloned().collect::<Vec<_>>())
            .collect();
        let connected: Vec<_> = sessions.into_iter().filter(|session| session.is_online()).collect();
        let (count, broker) = (connected.len(), self.clone());
        self.inner.background.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            for some in connected.chunks(at_once.max(1)) {
                ticks.tick().await;
                // Somebody has thought better of it, or the server stops.
                if broker.inner.redirect.read().is_none() || broker.inner.closing.is_cancelled() {
                    return;
                }
                some.iter().for_each(|session| {
                    broker.end(session, None, reason);
                });
            }
        });
        count
    }

    /// Where clients are sent.
    pub fn redirected(&self) -> Option<Redirect> {
        self.inner.redirect.read().as_deref().cloned()
    }
}
