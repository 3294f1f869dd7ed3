//! What a rehearsed incident would do.

use std::collections::BTreeMap;

use fleetward_app::drills::{Names, Report, RolloutEffect, Stranded};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// What an incident command would do, and who would be stranded by it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drill)]
pub struct DrillView {
    /// key-compromise, revocation-cascade or mass-rollback.
    pub scenario: &'static str,
    pub target: String,
    pub at: Time,
    /// This token may give the command too.
    pub permitted: bool,
    /// By when devices are to have replaced their certificate.
    pub due_at: Option<Time>,
    /// Devices that lose something, or go back.
    pub devices: NamesView,
    /// Serial numbers of certificates that end, or are to be replaced.
    pub certificates: NamesView,
    /// Devices with a live session on this server that ends at once.
    pub sessions: NamesView,
    /// Devices that were connected, on whichever server.
    pub online: u64,
    /// Lists of revoked certificates that are signed anew.
    pub lists: Vec<TouchedListView>,
    /// Kept OCSP answers that are thrown away.
    pub answers: u64,
    /// Devices by what becomes of them: at_end, goes_on, renews, returns:WAY, resumed:WAY, other_slot, full_image, stranded:WHY.
    pub fates: BTreeMap<String, u64>,
    pub stranded: StrandedView,
    /// What the devices belong to, the largest first.
    pub groups: Vec<GroupView>,
    pub authorities: Vec<DrillAuthorityView>,
    pub rollouts: Vec<DrillRolloutView>,
    /// Devices whose update waits and would be canceled.
    pub canceled: NamesView,
    /// Until the command is through, at the pace that was measured.
    pub takes_ms: Option<u64>,
    /// What the pace was measured on.
    pub pace: &'static str,
    /// The rehearsal itself, step by step.
    pub steps: Vec<DrillStepView>,
}

/// How many, and the first of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillNames)]
pub struct NamesView {
    pub count: u64,
    pub first: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillList)]
pub struct TouchedListView {
    pub authority: String,
    /// The last digits of the serial numbers in it; empty for the whole list.
    pub shard: String,
}

/// Devices that would not come back by themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillStranded)]
pub struct StrandedView {
    pub count: u64,
    pub first: Vec<StrandedDeviceView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillStrandedDevice)]
pub struct StrandedDeviceView {
    pub device: String,
    /// no_way, silent, expired or no_image.
    pub why: &'static str,
    pub last_seen: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillGroup)]
pub struct GroupView {
    /// class, hardware, environment or site.
    pub by: &'static str,
    pub name: String,
    pub devices: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillAuthority)]
pub struct DrillAuthorityView {
    pub fingerprint: String,
    /// next, current, retiring or retired.
    pub standing: String,
    /// New certificates are signed by it today: begin a rotation before it is revoked.
    pub signs: bool,
    /// Authorities that are ready to sign in its place.
    pub successors: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillRollout)]
pub struct DrillRolloutView {
    pub id: String,
    pub name: String,
    pub state: &'static str,
    /// Why the command would be refused.
    pub refused: Option<String>,
    /// It is being taken back already, or was.
    pub already: bool,
    /// Devices that would go back.
    pub devices: u64,
    /// Of those, from the slot that they ran before.
    pub other_slot: u64,
    /// Of those, by the image of an earlier release.
    pub full_image: u64,
    /// Of those, not connected now.
    pub offline: u64,
    pub canceled: u64,
    pub under_way: u64,
    /// What one device took, measured on this rollout.
    pub mean_ms: Option<u64>,
    pub takes_ms: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillStep)]
pub struct DrillStepView {
    pub name: &'static str,
    pub items: u64,
    pub took_us: u64,
}

impl From<Names> for NamesView {
    fn from(names: Names) -> Self {
        Self { count: names.count, first: names.first }
    }
}

impl From<Stranded> for StrandedDeviceView {
    fn from(it: Stranded) -> Self {
        Self { device: it.device.to_string(), why: it.why.as_str(), last_seen: it.last_seen.map(Time) }
    }
}

impl From<RolloutEffect> for DrillRolloutView {
    fn from(it: RolloutEffect) -> Self {
        Self {
            id: it.rollout.to_string(),
            name: it.name,
            state: it.state,
            refused: it.refused,
            already: it.already,
            devices: it.devices,
            other_slot: it.other_slot,
            full_image: it.full_image,
            offline: it.offline,
            canceled: it.canceled,
            under_way: it.under_way,
            mean_ms: it.mean.map(millis),
            takes_ms: it.takes.map(millis),
        }
    }
}

impl From<Report> for DrillView {
    fn from(it: Report) -> Self {
        let list =
            |list: fleetward_app::drills::ListTouched| TouchedListView { authority: list.authority, shard: list.shard };
        let authority = |it: fleetward_app::drills::AuthorityEffect| DrillAuthorityView {
            fingerprint: it.fingerprint,
            standing: it.standing,
            signs: it.signs,
            successors: it.successors,
        };
        let step = |step: fleetward_app::drills::Step| DrillStepView {
            name: step.name,
            items: step.items,
            took_us: u64::try_from(step.took.as_micros()).unwrap_or(u64::MAX),
        };
        let stranded = it.stranded;
        Self {
            scenario: it.scenario,
            target: it.target,
            at: Time(it.at),
            permitted: it.permitted,
            due_at: it.due_at.map(Time),
            devices: it.devices.into(),
            certificates: it.certificates.into(),
            sessions: it.sessions.into(),
            online: it.online,
            lists: it.lists.into_iter().map(list).collect(),
            answers: it.answers,
            fates: it.fates,
            stranded: StrandedView {
                count: stranded.count,
                first: stranded.first.into_iter().map(Into::into).collect(),
            },
            groups: it.groups.into_iter().map(|(by, name, devices)| GroupView { by, name, devices }).collect(),
            authorities: it.authorities.into_iter().map(authority).collect(),
            rollouts: it.rollouts.into_iter().map(Into::into).collect(),
            canceled: it.canceled.into(),
            takes_ms: it.takes.map(millis),
            pace: it.pace,
            steps: it.steps.into_iter().map(step).collect(),
        }
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
