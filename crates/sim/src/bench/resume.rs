//! Sessions that were away come back, all at once, to what was queued for them: from the first connection to the last
//! acknowledged message. Ours reads it from its database; Mosquitto has it in memory.

use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::Clock as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::figures::{Figures, Latency, per_second};
use super::mosquitto::Mosquitto;
use super::stage::Stage;
use super::target::{Member, Target, publish, take};
use super::{Bench, BenchArgs, progress};
use crate::mqtt::Options;

const PAYLOAD: usize = 100;
/// What waits for each session.
const QUEUED: usize = 200;
const FILTER: &str = "shared/resume/#";
/// Connections that are being opened at once.
const AT_ONCE: usize = 256;

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(1000);
    let stage = Stage::raise(args, None).await?;
    let mosquitto = Mosquitto::start().await?;
    let targets = [Target::ours(&stage, count + 1).await?, Target::peer(&mosquitto, count + 1)?];
    let mut figures = Figures::new(Bench::Resume);
    figures.parameter("sessions", count);
    figures.parameter("queued_per_session", QUEUED);
    figures.parameter("payload_bytes", PAYLOAD);
    for target in &targets {
        measure(target, &mut figures).await?;
    }
    let rate = |prefix: &str| figures.metric(&format!("{prefix}messages_per_server_cpu_second"));
    if let (Some(ours), Some(theirs)) = (rate(""), rate("mosquitto_")) {
        figures.set("ratio_to_mosquitto", ours / theirs);
    }
    mosquitto.stop().await?;
    stage.close().await?;
    Ok(figures)
}

async fn measure(target: &Target, figures: &mut Figures) -> anyhow::Result<()> {
    let Some((first, sessions)) = target.members.split_first() else { return Ok(()) };
    let kept = &Options { clean: false, ..Options::default() };
    for client in target.subscribed(sessions, FILTER, kept).await? {
        client.depart().await?;
    }
    let mut publisher = first.open(&target.door, &Options::default()).await?;
    for _ in 0..QUEUED / 20 {
        publish(&mut publisher, "shared/resume/all", &[b'x'; PAYLOAD], 20).await?;
    }
    let spinner = progress::spinner("coming back");
    let mark = target.mark()?;
    let clock = &mark.clock;
    let latency = stream::iter(sessions)
        .map(|session| async move {
            let begun = clock.monotonic();
            come_back(target, session, kept).await.with_context(|| session.client_id.clone())?;
            anyhow::Ok(clock.monotonic().saturating_sub(begun))
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(Latency::new(), |mut all, span: Duration| async move {
            all.record(span);
            Ok(all)
        })
        .await?;
    let used = target.since(&mark)?;
    spinner.finish_and_clear();
    let count = u64::try_from(sessions.len())?;
    figures.stretch((target.prefix, "messages", ""), count * u64::try_from(QUEUED)?, &used);
    figures.set(format!("{}sessions_per_second", target.prefix), per_second(count, used.wall));
    figures.latency((&format!("{}session_", target.prefix), ""), &latency);
    Ok(())
}

async fn come_back(target: &Target, session: &Member, kept: &Options) -> anyhow::Result<()> {
    let mut client = session.open(&target.door, kept).await?;
    anyhow::ensure!(client.session_present(), "the session is gone");
    take(&mut client, QUEUED, || {}).await?;
    client.disconnect().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load holds against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_queued_comes() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let target = Target::peer(&mosquitto, 4).expect("certificates");
        let mut figures = Figures::new(Bench::Resume);
        measure(&target, &mut figures).await.expect("the load runs");
        assert_eq!(figures.metric("mosquitto_messages"), Some(600.0));
        mosquitto.stop().await.expect("stopped");
    }
}
