//! Drills: what an incident command would do, said without doing it (requirement D3).
//!
//! A drill asks the store by the same code that the command goes by: [`crate::revocation::page_of`] and the conditions of its
//! statements, [`fleetward_core::rollout::control`] and the updates that a rollback takes back. What becomes of each device
//! is [`fleetward_core::drill`]'s to say. It only reads, page by page beside whoever writes; the one row that it writes
//! says that somebody made it. It refuses what is too large to look at in one request.

mod cascade;
mod rollback;
mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_base::{DeviceId, RolloutId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::drill::{Groups, Scenario, Terms, Why};
use fleetward_core::journal::{Action, Severity};
use serde_json::json;

use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx, revocation};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewDrill {
    pub scenario: Scenario,
    /// A device that was not heard of for longer is not counted on.
    pub silent_after: Duration,
}

/// Names with how many there are; the first of them are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub count: u64,
    pub first: Vec<String>,
}

impl Names {
    fn push(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < limits::DRILL_NAMES {
            self.first.push(name.to_owned());
        }
    }
}

/// A device that would not come back by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    pub device: DeviceId,
    pub why: Why,
    pub last_seen: Option<Timestamp>,
}

/// Those that would not; the first of them are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllStranded {
    pub count: u64,
    pub first: Vec<Stranded>,
}

impl AllStranded {
    fn push(&mut self, device: DeviceId, why: Why, last_seen: Option<Timestamp>) {
        self.count += 1;
        if self.first.len() < limits::DRILL_NAMES {
            self.first.push(Stranded { device, why, last_seen });
        }
    }
}

/// A list of revoked certificates that would be signed anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListTouched {
    pub authority: String,
    /// The shard; empty for the whole list.
    pub shard: String,
}

/// An authority that would be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityEffect {
    pub fingerprint: String,
    /// next, current, retiring or retired.
    pub standing: String,
    /// New certificates are signed by it today.
    pub signs: bool,
    /// Authorities of the tenant that are ready to sign in its place.
    pub successors: Vec<String>,
}

/// A rollout that would be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutEffect {
    pub rollout: RolloutId,
    pub name: String,
    pub state: &'static str,
    /// Why the command would be refused.
    pub refused: Option<String>,
    /// It is being taken back already, or was.
    pub already: bool,
    /// Devices that would go back.
    pub devices: u64,
    pub other_slot: u64,
    pub full_image: u64,
    /// Of those, not connected now.
    pub offline: u64,
    /// Updates that wait and would be canceled.
    pub canceled: u64,
    /// Updates under way: they end first, and are taken back where they succeed.
    pub under_way: u64,
    /// What a device took, measured on this rollout.
    pub mean: Option<Duration>,
    /// Until the devices that are connected are back.
    pub takes: Option<Duration>,
}

/// A part of the rehearsal, with what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    pub items: u64,
    pub took: Duration,
}

/// What the command would do.
#[derive(Clone, Debug)]
pub struct Report {
    pub scenario: &'static str,
    pub target: String,
    pub at: Timestamp,
    /// Whoever asks may give the command too.
    pub permitted: bool,
    /// By when devices are to have replaced their certificate.
    pub due_at: Option<Timestamp>,
    /// Devices that lose something, or go back.
    pub devices: Names,
    /// Certificates that end, or are to be replaced.
    pub certificates: Names,
    /// Live sessions on this server that end at once.
    pub sessions: Names,
    /// Devices that were connected, on whichever server.
    pub online: u64,
    pub lists: Vec<ListTouched>,
    /// Kept OCSP answers that are thrown away.
    pub answers: u64,
    /// How many devices have which fate.
    pub fates: BTreeMap<String, u64>,
    pub stranded: AllStranded,
    /// What the devices belong to: kind of group, name, devices.
    pub groups: Vec<(&'static str, String, u64)>,
    pub authorities: Vec<AuthorityEffect>,
    pub rollouts: Vec<RolloutEffect>,
    /// Updates that would be canceled.
    pub canceled: Names,
    /// How long the command takes at the pace that was measured.
    pub takes: Option<Duration>,
    /// Where the pace is from.
    pub pace: &'static str,
    pub steps: Vec<Step>,
}

impl Report {
    fn new(scenario: &Scenario, target: String, at: Timestamp, permitted: bool) -> Self {
        Self {
            scenario: scenario.as_str(),
            target,
            at,
            permitted,
            due_at: None,
            devices: Names::default(),
            certificates: Names::default(),
            sessions: Names::default(),
            online: 0,
            lists: Vec::new(),
            answers: 0,
            fates: BTreeMap::new(),
            stranded: AllStranded::default(),
            groups: Vec::new(),
            authorities: Vec::new(),
            rollouts: Vec::new(),
            canceled: Names::default(),
            takes: None,
            pace: NOT_MEASURED,
            steps: Vec::new(),
        }
    }

    /// Adds to a step of the rehearsal.
    fn step(&mut self, name: &'static str, items: u64, took: Duration) {
        match self.steps.iter_mut().find(|step| step.name == name) {
            Some(step) => {
                step.items += items;
                step.took += took;
            }
            None => self.steps.push(Step { name, items, took }),
        }
    }

    fn close(&mut self, groups: &Groups) {
        self.groups = groups.largest(GROUPS);
    }
}

/// Nothing of the kind was done here yet.
const NOT_MEASURED: &str = "not measured";
/// Groups of each kind that are named.
const GROUPS: usize = 20;

/// Rehearses an incident: what the command would do now, and who would be stranded by it.
///
/// # Errors
/// `Invalid` with the field; `NotFound` for a certificate, device, authority or rollout that is not there; `Denied`;
/// `Conflict` (`drill-too-large`) where more is met than a drill looks at.
pub async fn drill(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewDrill) -> Result<Report> {
    ctx.allow(tenant, Permission::DrillRun)?;
    new.scenario.check().map_err(|bad| Error::invalid(bad.field, bad.why))?;
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(3650 * 24 * 3600));
    if !(least..=most).contains(&new.silent_after) {
        return Err(Error::invalid("silent_after_s", format!("between {} and {}", least.as_secs(), most.as_secs())));
    }
    let expired = identity_policy(app, tenant).await?.renewal.expired();
    let terms = Terms { now: app.now(), silent_after: new.silent_after, expired };
    let report = match &new.scenario {
        Scenario::KeyCompromise { target, replace_within_s } => {
            let due = replace_within_s.map(|secs| terms.now.plus(Duration::from_secs(secs)));
            let permitted = revocation::allow(ctx, tenant, target).is_ok();
            let report = Report::new(&new.scenario, target.words(), terms.now, permitted);
            cascade::run(app, tenant, cascade::Aim { target, due, terms }, report).await?
        }
        Scenario::RevocationCascade { target } => {
            let permitted = revocation::allow(ctx, tenant, target).is_ok();
            let report = Report::new(&new.scenario, target.words(), terms.now, permitted);
            cascade::run(app, tenant, cascade::Aim { target, due: None, terms }, report).await?
        }
        Scenario::MassRollback { rollouts } => {
            let permitted = ctx.allow(tenant, Permission::RolloutControl).is_ok();
            let words = if rollouts.is_empty() { "every rollout".to_owned() } else { count(rollouts.len()) };
            let report = Report::new(&new.scenario, words, terms.now, permitted);
            rollback::run(app, tenant, rollouts, &terms, report).await?
        }
    };
    say(app, ctx, tenant, &report).await?;
    Ok(report)
}

fn count(rollouts: usize) -> String {
    if rollouts == 1 { "one rollout".to_owned() } else { format!("{rollouts} rollouts") }
}

async fn say(app: &App, ctx: &Ctx, tenant: &TenantId, report: &Report) -> Result<()> {
    let detail = json!({
        "scenario": report.scenario,
        "target": report.target,
        "devices": report.devices.count,
        "certificates": report.certificates.count,
        "stranded": report.stranded.count,
    });
    let entry = ctx.done(report.at, Action::DrillMade).severity(Severity::Notice).detail(detail);
    app.write(tenant, "drill made", move |tx| {
        Box::pin(async move {
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await
}

/// More than a drill looks at.
fn within_reach(count: u64) -> Result<()> {
    if count <= limits::DRILL_REACH {
        return Ok(());
    }
    let reason = format!("it would look at {count}, and does at {} at most: aim at less", limits::DRILL_REACH);
    Err(Error::conflict("drill-too-large", reason))
}
