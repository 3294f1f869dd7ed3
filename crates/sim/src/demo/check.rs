//! What must be so at the end, all of it asked of the public doors.

use std::collections::BTreeMap;

use anyhow::Context as _;
use http::Method;
use serde_json::Value;

use super::cast::{BASELINE, CANARY, Ending, NEW, OTHER_HARDWARE, Tenant};
use super::report::Ledger;
use super::story::Story;
use crate::http::Connection;
use crate::json::{at, count};
use crate::tls::ALPN_HTTP;

/// Steps of a device's time line, in their order, from its first certificate to the end of the update.
const UPDATED: [&str; 5] =
    ["certificate.issued", "device.connected", "deployment.queued", "deployment.started", "deployment.succeeded"];
const FELL_BACK: [&str; 5] =
    ["certificate.issued", "device.connected", "deployment.queued", "deployment.started", "deployment.failed"];

/// One tenant as the API shows it.
struct Seen<'a> {
    tenant: &'a Tenant,
    rollout: Value,
    /// By name.
    devices: BTreeMap<String, Value>,
    deployments: Vec<Value>,
}

pub(super) async fn everything(story: &Story, ledger: &mut Ledger) -> anyhow::Result<()> {
    for (place, tenant) in story.cast.tenants.iter().enumerate() {
        let id = story.rollouts.get(&place).context("a tenant without a rollout")?;
        let devices = story.rest.devices(&tenant.id).await?;
        let name = |device: &Value| at(device, "/name").as_str().unwrap_or_default().to_owned();
        let seen = Seen {
            tenant,
            rollout: story.rest.rollout(&tenant.id, id).await?,
            devices: devices.into_iter().map(|device| (name(&device), device)).collect(),
            deployments: story.rest.list(&format!("/v1/tenants/{}/rollouts/{id}/deployments", tenant.id)).await?,
        };
        match tenant.ending {
            Ending::Finished => finished(&seen, ledger),
            Ending::Stopped => stopped(&seen, ledger),
        }
        quotas(&seen, ledger);
        time_lines(story, &seen, ledger).await?;
        audit(story, tenant, ledger).await?;
    }
    isolation(story, ledger).await
}

fn finished(seen: &Seen<'_>, ledger: &mut Ledger) {
    let name = seen.tenant.id.as_str();
    ledger.same(&format!("{name}: rollout"), "finished", text(&seen.rollout, "/state"));
    let meant = seen.tenant.meant().count();
    ledger.same(&format!("{name}: devices that run {NEW}"), meant, seen.running(NEW));
    let others = seen.tenant.members().count() - meant;
    if others > 0 {
        ledger.same(&format!("{name}: devices of other hardware left on {BASELINE}"), others, seen.running(BASELINE));
    }
    for agent in &seen.tenant.agents {
        ledger.same(&format!("{name}: agent {} runs", agent.id), NEW, seen.firmware(agent.id.as_str()));
    }
}

fn stopped(seen: &Seen<'_>, ledger: &mut Ledger) {
    let name = seen.tenant.id.as_str();
    ledger.same(&format!("{name}: rollout"), "paused", text(&seen.rollout, "/state"));
    let kind = text(&seen.rollout, "/pause/reason/kind");
    ledger.same(&format!("{name}: paused by itself because of"), "failures", kind);
    let blamed = text(&seen.rollout, "/pause/reason/cohorts/0/hardware");
    ledger.same(&format!("{name}: hardware revision that the reason names"), OTHER_HARDWARE, blamed);
    let reason = text(&seen.rollout, "/pause/text");
    ledger.note(
        &format!("{name}: reason"),
        format!("a sentence with {OTHER_HARDWARE}"),
        reason,
        reason.contains(OTHER_HARDWARE),
    );

    let of = |hardware: &str, status: &str| {
        let is = |one: &&Value| text(one, "/hardware") == hardware && text(one, "/status") == status;
        seen.deployments.iter().filter(is).collect::<Vec<_>>()
    };
    let failed = of(OTHER_HARDWARE, "failed");
    let fell_back = failed.iter().filter(|one| seen.firmware(text(one, "/device")) == BASELINE).count();
    ledger.note(
        &format!("{name}: devices that fell back to {BASELINE}"),
        "all that failed, and some did",
        fell_back,
        fell_back == failed.len() && fell_back > 0,
    );
    let kept = of(OTHER_HARDWARE, "succeeded").len() + seen.with(OTHER_HARDWARE, NEW);
    ledger.same(&format!("{name}: devices that kept the bad image"), 0, kept);
    let agents: Vec<&str> = seen.tenant.agents.iter().map(|agent| agent.id.as_str()).collect();
    let agents_back = failed.iter().filter(|one| agents.contains(&text(one, "/device"))).count();
    ledger.same(&format!("{name}: real agents that fell back"), agents.len(), agents_back);
    let good = seen.deployments.iter().filter(|one| text(one, "/hardware") != OTHER_HARDWARE).collect::<Vec<_>>();
    let on_new = good.iter().filter(|one| seen.firmware(text(one, "/device")) == NEW).count();
    ledger.same(&format!("{name}: devices of good hardware that took {NEW} and run it"), good.len(), on_new);
    let untouched = seen.tenant.members().count() - seen.deployments.len();
    ledger.note(&format!("{name}: devices that the pause spared"), "some", untouched, untouched > 0);
}

/// The quota of each phase, and the canary before all others.
fn quotas(seen: &Seen<'_>, ledger: &mut Ledger) {
    let name = seen.tenant.id.as_str();
    let phase = |one: &Value| count(one, "/phase");
    let phases = at(&seen.rollout, "/phases").as_array().map(Vec::as_slice).unwrap_or_default();
    let within = (0..).zip(phases).all(|(index, of)| {
        let assigned = seen.deployments.iter().filter(|one| phase(one) <= index).count();
        assigned as u64 <= count(of, "/quota")
    });
    ledger.note(&format!("{name}: quota of every phase"), "kept", if within { "kept" } else { "exceeded" }, within);
    let canary: Vec<&Value> = seen.deployments.iter().filter(|one| phase(one) == 0).collect();
    let last_end = canary.iter().map(|one| text(one, "/finished_at")).max().unwrap_or_default();
    // Times are RFC 3339 in UTC with milliseconds: as texts they sort as they pass.
    let early = seen.deployments.iter().filter(|one| phase(one) > 0 && text(one, "/queued_at") < last_end).count();
    ledger.same(&format!("{name}: devices in the canary"), CANARY as usize, canary.len());
    ledger.same(&format!("{name}: devices assigned before the canary had ended"), 0, early);
}

/// Time lines of one updated device, and of one that fell back where there is one.
async fn time_lines(story: &Story, seen: &Seen<'_>, ledger: &mut Ledger) -> anyhow::Result<()> {
    for (status, wanted) in [("succeeded", UPDATED), ("failed", FELL_BACK)] {
        let Some(deployment) = seen.deployments.iter().find(|one| text(one, "/status") == status) else { continue };
        let device = text(deployment, "/device");
        let events = story.rest.list(&format!("/v1/tenants/{}/devices/{device}/events", seen.tenant.id)).await?;
        // Listed newest first.
        let mut rest = events.iter().rev().map(|event| text(event, "/action"));
        let found: Vec<&str> = wanted.into_iter().take_while(|step| rest.any(|action| action == *step)).collect();
        let whole = found.len() == wanted.len();
        ledger.note(&format!("{}: time line of {device}", seen.tenant.id), wanted.join(", "), found.join(", "), whole);
    }
    Ok(())
}

async fn audit(story: &Story, tenant: &Tenant, ledger: &mut Ledger) -> anyhow::Result<()> {
    let verified = story.rest.read(&format!("/v1/tenants/{}/audit/verify", tenant.id)).await?;
    let seen = format!("{} entries, ok: {}", count(&verified, "/verified"), at(&verified, "/ok"));
    let ok = at(&verified, "/ok") == true && count(&verified, "/verified") > 0;
    ledger.note(&format!("{}: hash chain of the audit log", tenant.id), "ok", seen, ok);
    Ok(())
}

/// An artifact is for devices of its tenant: not for those of another, and not for strangers.
async fn isolation(story: &Story, ledger: &mut Ledger) -> anyhow::Result<()> {
    let fleet = story.fleet.as_ref().context("the fleet is there")?;
    let artifact = &story.published.get(&0).context("the first tenant has a release")?.artifact;
    let path = format!("/artifacts/{artifact}");
    for (name, tls) in [
        ("device of another tenant", story.trust.identified(fleet.identity_in(1).context("a device")?, &[ALPN_HTTP])?),
        ("stranger without a certificate", story.trust.anonymous(&[ALPN_HTTP])?),
    ] {
        let mut connection = Connection::open(&story.device_door, &tls, None).await?;
        let status = connection.send(Method::GET, &path, &[], Vec::new()).await?.status;
        let refused = status.is_client_error();
        ledger.note(&format!("artifact asked for by a {name}"), "refused", status, refused);
    }
    Ok(())
}

impl Seen<'_> {
    fn firmware(&self, device: &str) -> &str {
        self.devices.get(device).map_or("", |device| text(device, "/firmware"))
    }

    fn running(&self, version: &str) -> usize {
        self.devices.values().filter(|device| text(device, "/firmware") == version).count()
    }

    fn with(&self, hardware: &str, version: &str) -> usize {
        let is = |device: &&Value| text(device, "/hardware") == hardware && text(device, "/firmware") == version;
        self.devices.values().filter(is).count()
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}
