//! The tick of rotation campaigns: each that is under way takes its next step.
//!
//! One transaction a campaign: who renewed since, who was asked and did not, who is next by the plan, and who of those that
//! wait is connected and is asked now. Devices are told after the commit.

use fleetward_base::{RolloutId, TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_core::rollout::{Plan, State, plan};
use fleetward_core::rotation::campaign::{Campaign, Renewal, Status, reason};
use fleetward_store::{MemberRow, RenewalRequestRow, TenantTx};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::rotation::Ask;
use crate::rotation::ask;
use crate::rotation::campaigns::control::update;
use crate::rotation::campaigns::{observe, rows};
use crate::{App, Ctx, journal, presence};

/// What one tick did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignTickStatus {
    pub considered: usize,
    pub assigned: usize,
    pub asked: usize,
    pub renewed: usize,
    pub failed_devices: usize,
    pub halted: usize,
    pub finished: usize,
    /// Campaigns that could not be worked on; the next tick finds them again.
    pub failed: usize,
}

impl CampaignTickStatus {
    /// Something was done.
    pub fn is_worth_a_line(&self) -> bool {
        *self != Self { considered: self.considered, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Step {
    assigned: usize,
    renewed: usize,
    failed: usize,
    asked: Vec<RenewalRequestRow>,
    halted: bool,
    finished: bool,
}

/// One step of every campaign that is under way.
pub async fn tick(app: &App) -> Result<CampaignTickStatus> {
    // So that what the database counts as offline is what memory knows.
    presence::flush_transitions(app).await?;
    let mut status = CampaignTickStatus::default();
    let mut after: Option<(TenantId, RolloutId)> = None;
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due campaigns", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, id)| (tenant, *id));
                    Ok::<_, Error>(tx.due_campaigns(after, limits::ROLLOUTS_PER_TICK).await?)
                })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::ROLLOUTS_PER_TICK);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.id));
            status.considered += 1;
            match step(app, &tenant, of.row.id).await {
                Ok(done) => {
                    status.assigned += done.assigned;
                    status.asked += done.asked.len();
                    status.renewed += done.renewed;
                    status.failed_devices += done.failed;
                    status.halted += usize::from(done.halted);
                    status.finished += usize::from(done.finished);
                }
                Err(error) => {
                    status.failed += 1;
                    tracing::warn!(%tenant, rotation = %of.row.id, %error, "a rotation could not be worked on");
                }
            }
        }
        if !full {
            return Ok(status);
        }
    }
}

async fn step(app: &App, tenant: &TenantId, id: RolloutId) -> Result<Step> {
    let (now, ctx) = (app.now(), app.system("rotation"));
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    let done = app
        .write(tenant, "rotation tick", move |tx| {
            Box::pin(async move {
                let Some(row) = tx.campaign_for_update(id).await? else { return Ok(Step::default()) };
                let campaign = rows::campaign_of(row)?;
                let renewed = tx.settle_members(id, campaign.created_at, now).await?.len();
                let failed = fail(tx, &ctx, &campaign, now).await?;
                let mut done = Step { renewed, failed, ..Step::default() };
                let mut observed = observe::standing(tx, &campaign).await?;
                let mut candidates = Vec::new();
                if campaign.state == State::Running && observed.assigned() < campaign.target_count {
                    (candidates, observed.more_candidates) =
                        observe::candidates(&app_in, tx, &tenant_in, &campaign).await?;
                }
                let plan = plan(now, &campaign, &observed, &candidates);
                carry_out(tx, &ctx, &campaign, &plan, &mut done, now).await?;
                if plan.after.state == State::Running {
                    done.asked = ask_waiting(&app_in, tx, &ctx, &tenant_in, &campaign, now).await?;
                }
                Ok(done)
            })
        })
        .await?;
    ask::tell(app, tenant, &done.asked, ask::spread(done.asked.len())).await;
    Ok(done)
}

/// Devices that were asked and have nothing new within the time that the policy gives.
async fn fail(tx: &mut TenantTx, ctx: &Ctx, campaign: &Campaign, now: Timestamp) -> Result<usize> {
    let failed = tx.fail_members(campaign.id, now.minus(campaign.policy.timeout()), now).await?;
    let entry = |device| {
        let entry = ctx.done(now, Action::RotationDeviceFailed).device(device).subject(campaign.id);
        journal::row_of(&entry.severity(Severity::Warning).detail(json!({ "timeout_s": campaign.policy.timeout_s })))
    };
    let entries: Vec<_> = failed.iter().map(entry).collect();
    tx.journal_all(&entries).await?;
    Ok(failed.len())
}

async fn carry_out(
    tx: &mut TenantTx,
    ctx: &Ctx,
    campaign: &Campaign,
    plan: &Plan<Renewal>,
    done: &mut Step,
    now: Timestamp,
) -> Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    (done.halted, done.finished) = (plan.pause.is_some(), plan.finish.is_some());
    if plan.after != *campaign {
        update(tx, campaign, &plan.after).await?;
    }
    let entries: Vec<_> = milestones(ctx, campaign, plan, now).iter().map(journal::row_of).collect();
    tx.journal_all(&entries).await?;
    let member = |assignment: &fleetward_core::rollout::Assignment| MemberRow {
        campaign: campaign.id,
        device: assignment.device.clone(),
        phase: assignment.phase,
        hardware: assignment.hardware.clone(),
        status: Status::Waiting.to_string(),
        queued_at: now,
        asked_at: None,
        finished_at: None,
    };
    let members: Vec<_> = plan.assign.iter().map(member).collect();
    if !members.is_empty() {
        done.assigned = tx.insert_members(&members).await?.len();
    }
    Ok(())
}

/// Those that wait and are connected are asked.
async fn ask_waiting(
    app: &App,
    tx: &mut TenantTx,
    ctx: &Ctx,
    tenant: &TenantId,
    campaign: &Campaign,
    now: Timestamp,
) -> Result<Vec<RenewalRequestRow>> {
    let (mut asked, mut after) = (Vec::new(), None);
    let ask = Ask { reason: campaign.name.clone(), at_once: campaign.release.at_once };
    let page = limits::ASSIGNMENTS_PER_TICK;
    let waiting = Some(Status::Waiting.as_str());
    loop {
        let members = tx.members(campaign.id, waiting, after.as_ref(), page).await?;
        let full = u32::try_from(members.len()).is_ok_and(|found| found >= page);
        after = members.last().map(|member| member.device.clone());
        for member in members {
            if app.presence().of(tenant, &member.device).online {
                tx.ask_member(campaign.id, &member.device, now).await?;
                let id = campaign.id.to_string();
                asked.push(ask::put(tx, ctx, &member.device, &ask, Some(&id), now).await?);
            }
        }
        if !full || u32::try_from(asked.len()).is_ok_and(|asked| asked >= page) {
            return Ok(asked);
        }
    }
}

/// The rows of what the campaign itself went through.
fn milestones(ctx: &Ctx, campaign: &Campaign, plan: &Plan<Renewal>, now: Timestamp) -> Vec<Entry> {
    let entry =
        |action, severity, detail: Value| ctx.done(now, action).subject(campaign.id).severity(severity).detail(detail);
    let mut entries = Vec::new();
    for phase in &plan.entered {
        let quota = campaign.policy.quota(*phase, campaign.target_count);
        let detail = json!({ "phase": phase, "quota": quota });
        entries.push(entry(Action::RotationPhaseStarted, Severity::Info, detail));
    }
    if let Some(why) = &plan.pause {
        let detail = json!({ "phase": plan.after.phase, "reason": reason(why), "cohorts": why.cohorts() });
        entries.push(entry(Action::RotationPaused, Severity::Critical, detail));
    }
    if plan.finish.is_some() {
        entries.push(entry(Action::RotationFinished, Severity::Notice, json!({})));
    }
    entries
}
