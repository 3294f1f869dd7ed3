//! One publishes and many hear it, with QoS 1 on both sides: rounds of messages, each of which has reached everybody before
//! the next one begins, so that no queue hides how fast they are given out. Mosquitto has the same from the same code.

use std::time::Duration;

use fleetward_base::Clock as _;
use futures::future::try_join_all;

use super::figures::Figures;
use super::mosquitto::Mosquitto;
use super::stage::Stage;
use super::target::{Target, publish, take};
use super::{Bench, BenchArgs, progress};
use crate::mqtt::Options;

const PAYLOAD: usize = 100;
/// Messages of one round: what a client may have in flight.
const ROUND: usize = 20;
const FILTER: &str = "shared/fan/#";

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(500);
    let stage = Stage::raise(args, None).await?;
    let mosquitto = Mosquitto::start().await?;
    let targets = [Target::ours(&stage, count + 1).await?, Target::peer(&mosquitto, count + 1)?];
    let mut figures = Figures::new(Bench::Fanout);
    figures.parameter("subscribers", count);
    figures.parameter("payload_bytes", PAYLOAD);
    for target in &targets {
        measure(target, Duration::from_secs(args.seconds), &mut figures).await?;
    }
    let rate = |prefix: &str| figures.metric(&format!("{prefix}delivered_per_server_cpu_second"));
    if let (Some(ours), Some(theirs)) = (rate(""), rate("mosquitto_")) {
        figures.set("ratio_to_mosquitto", ours / theirs);
    }
    mosquitto.stop().await?;
    stage.close().await?;
    Ok(figures)
}

async fn measure(target: &Target, length: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    let Some((first, others)) = target.members.split_first() else { return Ok(()) };
    let mut publisher = first.open(&target.door, &Options::default()).await?;
    let mut subscribers = target.subscribed(others, FILTER, &Options::default()).await?;
    let spinner = progress::spinner("fan-out");
    let mark = target.mark()?;
    let mut rounds = 0;
    while mark.clock.monotonic() < length {
        let all = try_join_all(subscribers.iter_mut().map(|client| take(client, ROUND, || {})));
        let sent = publish(&mut publisher, "shared/fan/out", &[b'x'; PAYLOAD], ROUND);
        futures::try_join!(sent, all)?;
        rounds += 1;
    }
    let used = target.since(&mark)?;
    spinner.finish_and_clear();
    let delivered = u64::try_from(rounds * ROUND * subscribers.len())?;
    figures.stretch((target.prefix, "delivered", ""), delivered, &used);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load holds against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn everybody_hears_everything() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let target = Target::peer(&mosquitto, 5).expect("certificates");
        let mut figures = Figures::new(Bench::Fanout);
        measure(&target, Duration::from_millis(100), &mut figures).await.expect("the load runs");
        let delivered = figures.metric("mosquitto_delivered").expect("measured");
        assert!(delivered >= 80.0, "{delivered}");
        mosquitto.stop().await.expect("stopped");
    }
}
