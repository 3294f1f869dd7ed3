//! Two brokers that are asked for the same: ours and Mosquitto, each with clients of its own.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Clock as _, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustls::ClientConfig;

use super::fleet;
use super::mosquitto::Mosquitto;
use super::stage::{Stage, Used};
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Door, Stream, source};
use crate::process;
use crate::tls::ALPN_MQTT;

/// Connections that are being opened at once, where it is not the opening that is measured.
const AT_ONCE: usize = 64;
/// What was sent and is not here after this will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker under load.
pub(crate) struct Target {
    /// Before the names of its figures.
    pub(crate) prefix: &'static str,
    pub(crate) door: Door,
    pub(crate) pid: u32,
    pub(crate) members: Vec<Member>,
}

/// A client of a broker.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) client_id: String,
    tls: Arc<ClientConfig>,
    place: usize,
}

impl Member {
    pub(crate) async fn open(&self, door: &Door, options: &Options) -> anyhow::Result<Client<Stream>> {
        let stream = door.open(&self.tls, Some(source(self.place))).await?;
        Ok(Client::connect(stream, &self.client_id, options).await?)
    }
}

impl Target {
    pub(crate) async fn ours(stage: &Stage, count: usize) -> anyhow::Result<Self> {
        let devices = fleet::enroll(stage, "load", count).await?;
        let members = devices.iter().enumerate().map(|(place, device)| {
            let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
            anyhow::Ok(Member { client_id: device.device.to_string(), tls, place })
        });
        let members = members.collect::<Result<_, _>>()?;
        Ok(Self { prefix: "", door: stage.server.mqtt_door()?, pid: stage.server.pid(), members })
    }

    pub(crate) fn peer(mosquitto: &Mosquitto, count: usize) -> anyhow::Result<Self> {
        let members = (0..count).map(|place| {
            let client_id = format!("load-{place:05}");
            let tls = mosquitto.client(&client_id)?;
            anyhow::Ok(Member { client_id, tls, place })
        });
        let members = members.collect::<Result<_, _>>()?;
        Ok(Self { prefix: "mosquitto_", door: mosquitto.door.clone(), pid: mosquitto.pid, members })
    }

    /// Connects these members, subscribed each to the filter.
    pub(crate) async fn subscribed(
        &self,
        members: &[Member],
        filter: &str,
        options: &Options,
    ) -> anyhow::Result<Vec<Client<Stream>>> {
        stream::iter(members)
            .map(|member| async move {
                let mut client = member.open(&self.door, options).await?;
                client.subscribe_all(&[filter], |_| {}).await?;
                anyhow::Ok(client)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    pub(crate) fn mark(&self) -> anyhow::Result<Mark> {
        let clock = SystemClock::new();
        let (cpu, load) = (process::cpu_time(self.pid)?, process::cpu_time(std::process::id())?);
        Ok(Mark { clock, cpu, load })
    }

    pub(crate) fn since(&self, mark: &Mark) -> anyhow::Result<Used> {
        Ok(Used {
            wall: mark.clock.monotonic(),
            cpu: process::cpu_time(self.pid)?.saturating_sub(mark.cpu),
            load: process::cpu_time(std::process::id())?.saturating_sub(mark.load),
            memory: process::memory(self.pid)?,
        })
    }
}

/// The beginning of a measured stretch.
pub(crate) struct Mark {
    /// Begins with it.
    pub(crate) clock: SystemClock,
    cpu: Duration,
    load: Duration,
}

/// Publishes `count` messages with QoS 1 and waits for their acknowledgements.
pub(crate) async fn publish(
    client: &mut Client<Stream>,
    topic: &str,
    payload: &[u8],
    count: usize,
) -> anyhow::Result<()> {
    for _ in 0..count {
        client.publish(topic, payload);
    }
    client.flush().await?;
    let mut acked = 0;
    while acked < count {
        match client.next().await? {
            Packet::Puback { code: 0, .. } => acked += 1,
            other => anyhow::bail!("unexpected {other:?}"),
        }
    }
    Ok(())
}

/// Takes and acknowledges messages until there were `count`; the calls of `each` are in their order.
pub(crate) async fn take(client: &mut Client<Stream>, count: usize, mut each: impl FnMut()) -> anyhow::Result<()> {
    let mut taken = 0;
    while taken < count {
        let first = tokio::time::timeout(PATIENCE, client.next()).await??;
        let mut next = Some(first);
        while let Some(packet) = next {
            if let Packet::Publish(message) = packet {
                if let Some(id) = message.id {
                    client.acknowledge(id);
                }
                taken += 1;
                each();
            }
            next = client.buffered()?;
        }
        client.flush().await?;
    }
    Ok(())
}
