//! Many share a subscription (`$share`), and each message goes to one of them. In rounds, each of which has been taken
//! before the next one begins; Mosquitto has the same from the same code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::Clock as _;
use futures::future::try_join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::mosquitto::Mosquitto;
use super::stage::Stage;
use super::target::{Target, publish};
use super::{Bench, BenchArgs, progress};
use crate::mqtt::{Client, Options, Packet, Version};
use crate::net::Stream;

const PAYLOAD: usize = 100;
const ROUND: usize = 400;
/// What Mosquitto takes of one client at once (its receive maximum).
const AT_ONCE: usize = 20;
const FILTER: &str = "$share/workers/shared/jobs/#";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(50);
    let stage = Stage::raise(args, None).await?;
    let mosquitto = Mosquitto::start().await?;
    let targets = [Target::ours(&stage, count + 1).await?, Target::peer(&mosquitto, count + 1)?];
    let mut figures = Figures::new(Bench::Shared);
    figures.parameter("members", count);
    figures.parameter("payload_bytes", PAYLOAD);
    for target in &targets {
        measure(target, Duration::from_secs(args.seconds), &mut figures).await?;
    }
    let rate = |prefix: &str| figures.metric(&format!("{prefix}taken_per_server_cpu_second"));
    if let (Some(ours), Some(theirs)) = (rate(""), rate("mosquitto_")) {
        figures.set("ratio_to_mosquitto", ours / theirs);
    }
    mosquitto.stop().await?;
    stage.close().await?;
    Ok(figures)
}

/// What the members have taken together.
#[derive(Default)]
struct Tally {
    taken: AtomicUsize,
    news: Notify,
    stop: CancellationToken,
}

async fn measure(target: &Target, length: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    let Some((first, others)) = target.members.split_first() else { return Ok(()) };
    let options = Options { version: Version::V5, ..Options::default() };
    let mut publisher = first.open(&target.door, &options).await?;
    let mut members = target.subscribed(others, FILTER, &options).await?;
    let spinner = progress::spinner("shared subscription");
    let tally = Tally::default();
    let mark = target.mark()?;
    let sending = async {
        let mut sent = 0;
        while mark.clock.monotonic() < length {
            for _ in 0..ROUND / AT_ONCE {
                publish(&mut publisher, "shared/jobs/one", &[b'x'; PAYLOAD], AT_ONCE).await?;
            }
            sent += ROUND;
            tokio::time::timeout(PATIENCE, reached(&tally, sent)).await.context("messages are missing")?;
        }
        tally.stop.cancel();
        anyhow::Ok(sent)
    };
    let work = try_join_all(members.iter_mut().map(|client| work(client, &tally)));
    let (sent, _) = futures::try_join!(sending, work)?;
    let used = target.since(&mark)?;
    spinner.finish_and_clear();
    let taken = tally.taken.load(Ordering::SeqCst);
    anyhow::ensure!(taken == sent, "{sent} sent and {taken} taken");
    figures.stretch((target.prefix, "taken", ""), u64::try_from(taken)?, &used);
    Ok(())
}

async fn reached(tally: &Tally, count: usize) {
    loop {
        let mut news = std::pin::pin!(tally.news.notified());
        news.as_mut().enable();
        if tally.taken.load(Ordering::SeqCst) >= count {
            return;
        }
        news.await;
    }
}

async fn work(client: &mut Client<Stream>, tally: &Tally) -> anyhow::Result<()> {
    while let Some(packet) = tally.stop.run_until_cancelled(client.next()).await {
        let mut next = Some(packet?);
        let mut taken = 0;
        while let Some(packet) = next {
            if let Packet::Publish(message) = packet {
                client.acknowledge(message.id.context("a message lost its QoS")?);
                taken += 1;
            }
            next = client.buffered()?;
        }
        client.flush().await?;
        tally.taken.fetch_add(taken, Ordering::SeqCst);
        tally.news.notify_waiters();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load holds against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_message_is_taken_once() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let target = Target::peer(&mosquitto, 5).expect("certificates");
        let mut figures = Figures::new(Bench::Shared);
        measure(&target, Duration::from_millis(100), &mut figures).await.expect("the load runs");
        assert!(figures.metric("mosquitto_taken").expect("measured") >= 400.0);
        mosquitto.stop().await.expect("stopped");
    }
}
