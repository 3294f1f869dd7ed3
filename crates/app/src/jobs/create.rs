//! Making a job.

use std::collections::BTreeSet;

use fleetward_base::{JobId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::deployment;
use fleetward_core::job::{Draft, Policy, Selection};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::Invalid;
use fleetward_core::selector::Selector;
use fleetward_store::TenantTx;
use serde_json::json;

use super::read::{JobView, job};
use super::rows;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// A job as it is asked for.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    /// A JSON object; nobody but the device looks into it.
    pub document: String,
    pub description: Option<String>,
    /// A device is meant that one of them means.
    pub targets: Vec<Selector>,
    pub selection: Selection,
    pub policy: Policy,
}

/// Makes a job, which begins by itself when its time has come.
///
/// # Errors
/// `Invalid` with the field; `Conflict`: `job-exists`, or `too-many-jobs` where so many have not ended.
pub async fn create_job(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewJob) -> Result<JobView> {
    ctx.allow(tenant, Permission::JobCreate)?;
    let now = app.now();
    let NewJob { id, document, description, targets, selection, policy } = new;
    let draft = Draft { id: id.clone(), document, description, targets, selection, policy };
    draft.check().map_err(refused)?;
    if draft.policy.schedule.end_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("policy.schedule.end_at_ms", "is over"));
    }
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let made = app
        .write(tenant, "create job", move |tx| {
            Box::pin(async move {
                if let Some(made) = idempotency::replay::<JobId>(&app_in, tx, &ctx_in).await? {
                    return Ok(made);
                }
                check_targets(tx, &draft.targets).await?;
                check_free(tx, &draft.id).await?;
                let document = draft.document.clone();
                let job = draft.begin(ctx_in.principal.actor().name, now);
                if !tx.insert_job(&rows::job_row(&job)?, &document).await? {
                    return Err(exists(&job.id));
                }
                let detail = json!({
                    "selection": job.selection.as_str(),
                    "targets": job.targets.len(),
                    "document_bytes": document.len(),
                });
                let entry = ctx_in.done(now, Action::JobCreated).subject(&job.id).severity(Severity::Notice);
                record(tx, &entry.detail(detail)).await?;
                idempotency::keep(&app_in, tx, &ctx_in, &job.id).await?;
                Ok(job.id)
            })
        })
        .await?;
    app.wake_jobs();
    job(app, ctx, tenant, &made).await
}

/// Devices that are named must be there: a name that was misspelt would wait for ever.
pub(super) async fn check_targets(tx: &mut TenantTx, targets: &[Selector]) -> Result<()> {
    let named: BTreeSet<_> = targets.iter().flat_map(|target| &target.devices).collect();
    if named.len() > limits::JOB_DEVICES {
        return Err(Error::invalid("targets", format!("more than {} devices by name", limits::JOB_DEVICES)));
    }
    for device in named {
        if tx.device(device).await?.is_none() {
            return Err(Error::invalid("targets", format!("there is no device {device}")));
        }
    }
    Ok(())
}

/// Devices know rollouts by their ids on the same topics, so a job cannot have the id of one.
async fn check_free(tx: &mut TenantTx, id: &JobId) -> Result<()> {
    if let Ok(deployment) = id.as_str().parse::<deployment::DeploymentId>()
        && tx.rollout(deployment.rollout).await?.is_some()
    {
        return Err(exists(id));
    }
    if tx.count_open_jobs().await? >= limits::JOBS_OPEN_PER_TENANT {
        let reason = format!("{} jobs have not ended; cancel some first", limits::JOBS_OPEN_PER_TENANT);
        return Err(Error::conflict("too-many-jobs", reason));
    }
    Ok(())
}

fn exists(id: &JobId) -> Error {
    Error::conflict("job-exists", format!("there is a job {id}"))
}

pub(super) fn refused(invalid: Invalid) -> Error {
    Error::invalid(invalid.field, invalid.why)
}
