//! Devices that publish a little all the time, for whatever else a server does to be seen in how long they wait.
//!
//! Each sends a message of QoS 1 when its time has come, whether or not the one before was late, and the wait is counted from
//! that time. The messages are queued for a session that is offline: none is acknowledged before it is committed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::figures::Latency;
use super::fleet;
use super::stage::Stage;
use crate::identity::Identity;
use crate::mqtt::{Client, Options, Packet};
use crate::net::Stream;
use crate::tls::ALPN_MQTT;

/// Between two messages of one device.
pub(crate) const EVERY: Duration = Duration::from_millis(20);
const TOPIC: &str = "shared/trickle";
const PAYLOAD: [u8; 100] = [b'x'; 100];

/// The devices, and the one whose session the messages are queued for.
pub(crate) struct Trickle {
    devices: Vec<Arc<Identity>>,
    absent: Arc<Identity>,
}

impl Trickle {
    pub(crate) async fn enroll(stage: &Stage, count: usize) -> anyhow::Result<Self> {
        let mut devices = fleet::enroll(stage, "trickle", count + 1).await?;
        let absent = devices.pop().context("one more than publish")?;
        Ok(Self { devices, absent })
    }

    /// Publishes while `meanwhile` goes on, and for `least`.
    pub(crate) async fn during<T>(
        &self,
        stage: &Stage,
        least: Duration,
        meanwhile: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Latency, T)> {
        self.leave_a_session(stage).await?;
        let over = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for device in &self.devices {
            let client = connect(stage, device, true).await?;
            tasks.spawn(publish(client, over.clone()));
        }
        let timer = async {
            let mut timer = tokio::time::interval(least);
            timer.tick().await;
            timer.tick().await;
            Ok(())
        };
        let ((), made) = try_join(timer, meanwhile).await?;
        over.cancel();
        let mut latency = Latency::new();
        while let Some(done) = tasks.join_next().await {
            latency.merge(&done??);
        }
        Ok((latency, made))
    }

    /// A session without its messages of before, and nobody there to take those that come.
    async fn leave_a_session(&self, stage: &Stage) -> anyhow::Result<()> {
        connect(stage, &self.absent, true).await?.disconnect().await?;
        let mut client = connect(stage, &self.absent, false).await?;
        client.subscribe_all(&[TOPIC], |_| {}).await?;
        client.depart().await?;
        Ok(())
    }
}

async fn connect(stage: &Stage, device: &Identity, clean: bool) -> anyhow::Result<Client<Stream>> {
    let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
    let stream = stage.server.mqtt_door()?.open(&tls, None).await?;
    let options = Options { clean, ..Options::default() };
    Ok(Client::connect(stream, device.device.as_str(), &options).await?)
}

async fn publish(mut client: Client<Stream>, over: CancellationToken) -> anyhow::Result<Latency> {
    let mut latency = Latency::new();
    let mut timer = tokio::time::interval(EVERY);
    while let Some(due) = over.run_until_cancelled(timer.tick()).await {
        client.publish(TOPIC, &PAYLOAD);
        client.flush().await?;
        let answer = client.next().await?;
        // 0x10 says that nobody is subscribed: then nothing was committed.
        anyhow::ensure!(matches!(answer, Packet::Puback { code: 0, .. }), "unexpected {answer:?}");
        latency.record(due.elapsed());
    }
    client.disconnect().await?;
    Ok(latency)
}
