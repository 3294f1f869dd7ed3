//! Lists of revoked certificates of a tenant with a million, and whether anything waits for them.
//!
//! Single devices are revoked: from the answer of the request, which is after its commit, until the shard that is served
//! names the certificate. Then a whole batch by one request, for which nearly all of the 273 lists are made anew, until its
//! last certificate is listed. Devices publish at QoS 1 all the while, and before while nothing is revoked, for the two to
//! be compared. Last the lists are fetched, by whoever keeps a connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use fleetward_pki::Serial;
use serde_json::{Value, json};

use super::asking::{Ask, Manner, storm};
use super::figures::{Figures, Latency, whole};
use super::fill::{BATCH_HARDWARE, Filled, Plan};
use super::stage::Stage;
use super::trickle::Trickle;
use super::{Bench, BenchArgs, million, progress};
use crate::http::Connection;
use crate::json;

/// Devices that publish.
const PUBLISHERS: usize = 20;
/// Devices that are revoked one after the other.
const SINGLE: usize = 20;
/// Devices that one request revokes.
const BATCH: usize = 5000;
/// Requests for lists under way at once.
const AT_ONCE: usize = 32;
/// All lists of an authority at the finest cut.
const LISTS: usize = 273;
/// What is not listed by then never is.
const GIVE_UP: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let certificates = args.devices.unwrap_or(million::MILLION);
    let batch = BATCH.min(certificates / 10);
    let plan = Plan { certificates, one_revoked_in: 100, batch, denied: 100_000 };
    let mut figures = Figures::new(Bench::Crl);
    let stage = Stage::raise_with_pki(args).await?;
    let trickle = Trickle::enroll(&stage, PUBLISHERS).await?;
    let (stage, filled) = million::raise_on(stage, plan, &mut figures).await?;
    all_listed(&stage, &filled).await?;
    let lists = Lists::of(&stage, &filled).await?;
    lists.weigh(&mut figures).await?;

    let length = Duration::from_secs(args.seconds);
    let (undisturbed, ()) = trickle.during(&stage, length, async { Ok(()) }).await?;
    figures.latency(("publish_undisturbed_", ""), &undisturbed);
    let mark = stage.mark()?;
    let (meanwhile, listed) = trickle.during(&stage, length, singles(&stage, &lists, &filled)).await?;
    let used = stage.since(mark)?;
    figures.parameter("revoked_singly", SINGLE);
    figures.latency(("publish_meanwhile_", ""), &meanwhile);
    figures.latency(("listed_after_commit_", ""), &listed);
    figures.set("listed_after_commit_worst_ms", listed.quantile_ms(1.0));
    figures.set("single_server_cpu_seconds", used.cpu.as_secs_f64());

    let mark = stage.mark()?;
    let (meanwhile, listed) = trickle.during(&stage, length, at_once(&stage, &lists, &filled)).await?;
    let used = stage.since(mark)?;
    figures.parameter("revoked_by_one_request", batch);
    figures.latency(("publish_during_batch_", ""), &meanwhile);
    figures.set("batch_listed_after_answer_ms", listed.as_secs_f64() * 1000.0);
    figures.set("batch_server_cpu_seconds", used.cpu.as_secs_f64());
    fetch(&stage, &lists, length, &mut figures).await?;
    figures.set("rss_bytes_after", whole(stage.server.memory()?.rss));
    stage.close().await?;
    Ok(figures)
}

/// Waits until every list of the fleet is there: finer ones are made once the log has counted so many certificates.
async fn all_listed(stage: &Stage, filled: &Filled) -> anyhow::Result<()> {
    let revoked = u64::try_from(filled.revoked())?;
    let spinner = progress::spinner("all lists");
    let path = format!("/v1/tenants/{}/crls", stage.tenant);
    let wanted = if filled.plan.certificates < 400_000 { 1 } else { LISTS };
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let lists = stage.rest.read(&path).await?;
            let lists = lists.as_array().map(Vec::as_slice).unwrap_or_default();
            let entries = lists.iter().filter(|list| json::at(list, "/shard") == "").map(entries_of).sum::<u64>();
            if lists.len() >= wanted && entries >= revoked {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(GIVE_UP, waiting).await.context("the lists were not made")??;
    spinner.finish_and_clear();
    Ok(())
}

fn entries_of(list: &Value) -> u64 {
    json::at(list, "/entries").as_u64().unwrap_or(0)
}

/// Where the lists of the fleet's authority are.
struct Lists {
    address: std::net::SocketAddr,
    mark: String,
    /// Digits of the finest cut.
    digits: usize,
}

impl Lists {
    async fn of(stage: &Stage, filled: &Filled) -> anyhow::Result<Self> {
        let mark = filled.authority.fingerprint().chars().take(16).collect();
        let lists = stage.rest.read(&format!("/v1/tenants/{}/crls", stage.tenant)).await?;
        let cuts = lists.as_array().into_iter().flatten().filter_map(|list| json::at(list, "/shard").as_str());
        Ok(Self { address: stage.pki_address()?, mark, digits: cuts.map(str::len).max().unwrap_or(0) })
    }

    fn whole(&self) -> String {
        format!("/pki/{}/crl.der", self.mark)
    }

    /// The finest list that a certificate with this number is on.
    fn shard(&self, serial: &Serial) -> String {
        let text = serial.to_string();
        match text.get(text.len().saturating_sub(self.digits)..).unwrap_or_default() {
            "" => self.whole(),
            label => format!("/pki/{}/crl/{label}.der", self.mark),
        }
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::plain(self.address, None).await
    }

    async fn weigh(&self, figures: &mut Figures) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        let all = Ask::get(self.whole()).send(&mut connection).await?;
        figures.set("whole_list_bytes", whole(u64::try_from(all.body.len())?));
        let (mut count, mut sum, mut largest) = (0_u64, 0_u64, 0_u64);
        for number in 0..16_usize.pow(u32::try_from(self.digits)?) {
            let label = format!("{number:0width$x}", width = self.digits);
            if self.digits == 0 {
                break;
            }
            let list = Ask::get(format!("/pki/{}/crl/{label}.der", self.mark)).send(&mut connection).await?;
            let bytes = u64::try_from(list.body.len())?;
            (count, sum, largest) = (count + 1, sum + bytes, largest.max(bytes));
        }
        figures.set("shards", whole(count));
        figures.set("shard_bytes_mean", whole(sum) / whole(count.max(1)));
        figures.set("shard_bytes_largest", whole(largest));
        Ok(())
    }

    /// Waits until the list that is served names the certificate.
    async fn wait_for(&self, serial: &Serial) -> anyhow::Result<()> {
        let path = self.shard(serial);
        let number = bytes_of(serial)?;
        let mut connection = self.connect().await?;
        let waiting = async {
            let mut tick = tokio::time::interval(LOOK_EVERY);
            loop {
                tick.tick().await;
                let list = Ask::get(path.clone()).send(&mut connection).await?;
                if list.body.windows(number.len()).any(|bytes| bytes == number) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(GIVE_UP, waiting).await.with_context(|| format!("{serial} is on no list"))?
    }
}

/// As it stands in a list: the number of 16 bytes occurs nowhere else by chance.
fn bytes_of(serial: &Serial) -> anyhow::Result<Vec<u8>> {
    let text = serial.to_string();
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(byte).collect::<Option<_>>().context("a serial number")
}

/// Revokes devices one after the other; how long each takes from its commit to its list.
async fn singles(stage: &Stage, lists: &Lists, filled: &Filled) -> anyhow::Result<Latency> {
    let clock = SystemClock::new();
    let mut latency = Latency::new();
    let good = (0..filled.plan.certificates).filter(|index| !filled.is_revoked(*index));
    for index in good.step_by(7).take(SINGLE) {
        stage.rest.revoke(&stage.tenant, &Filled::device(index)?).await?;
        let answered = clock.monotonic();
        lists.wait_for(&filled.serial(index)?).await?;
        latency.record(clock.monotonic().saturating_sub(answered));
    }
    Ok(latency)
}

/// Revokes a batch by one request; how long it takes from its answer to the list with the last of them.
async fn at_once(stage: &Stage, lists: &Lists, filled: &Filled) -> anyhow::Result<Duration> {
    let clock = SystemClock::new();
    let selector = json!({ "hardware": [BATCH_HARDWARE] });
    let body = json!({ "target": { "kind": "group", "selector": selector }, "reason": "key_compromise" });
    stage.rest.post(&format!("/v1/tenants/{}/revocations", stage.tenant), &body).await?;
    let answered = clock.monotonic();
    // They are taken in the order of their names, so this one is the last.
    let mut last = (0..filled.plan.certificates).rev().filter(|index| !filled.is_revoked(*index));
    lists.wait_for(&filled.serial(last.next().context("a certificate that was good")?)?).await?;
    Ok(clock.monotonic().saturating_sub(answered))
}

async fn fetch(stage: &Stage, lists: &Lists, length: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    let manner = Manner { at_once: AT_ONCE, length, fresh: false };
    figures.parameter("at_once", AT_ONCE);
    let (mark, digits) = (Arc::<str>::from(lists.mark.as_str()), lists.digits);
    for what in ["shard", "whole_list"] {
        let before = stage.mark()?;
        let spinner = progress::spinner(&format!("fetching {what}"));
        let (mark, is_shard) = (Arc::clone(&mark), what == "shard" && digits > 0);
        let ask = move |number: usize| {
            let label = number % 16_usize.pow(u32::try_from(digits)?);
            let shard = format!("/pki/{mark}/crl/{label:0digits$x}.der");
            Ok(Ask::get(if is_shard { shard } else { format!("/pki/{mark}/crl.der") }))
        };
        let latency = storm(lists.address, manner, ask, |_| Ok(())).await?;
        spinner.finish_and_clear();
        figures.stretch(("", &format!("{what}_fetches"), ""), latency.count(), &stage.since(before)?);
        figures.latency((&format!("{what}_fetches_"), ""), &latency);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_on_the_shard_of_its_last_digits() {
        let lists = |digits| Lists { address: ([127, 0, 0, 1], 1).into(), mark: "a1".to_owned(), digits };
        let serial = Serial::from_hex("4142f3").expect("a number");
        assert_eq!(lists(0).shard(&serial), "/pki/a1/crl.der");
        assert_eq!(lists(1).shard(&serial), "/pki/a1/crl/3.der");
        assert_eq!(lists(2).shard(&serial), "/pki/a1/crl/f3.der");
        assert_eq!(bytes_of(&serial).expect("its bytes"), [0x41, 0x42, 0xf3]);
    }
}
