//! What is pending for devices: jobs and their deployment in one order, and who is told of what.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, JobId, TenantId, Timestamp, limits};
use fleetward_core::deployment::{self, Deployment};
use fleetward_core::job::queue::{Change, News, Place, news};
use fleetward_core::job::{Execution, Policy, Status};
use fleetward_store::{PendingJobExecutionRow, TenantTx};
use serde_json::Value;

use super::rows;
use crate::App;
use crate::deployments::{self, document};
use crate::error::{Error, Result};

/// A piece of a device's work as its doors show it: an execution of a job, or a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The job's id, or the one that devices know the deployment by.
    pub id: String,
    pub device: DeviceId,
    /// A deployment has one try.
    pub number: u64,
    pub status: Status,
    pub detail: BTreeMap<String, String>,
    pub version: u64,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// When time ends it.
    pub due_at: Option<Timestamp>,
}

/// A piece of work with what it asks of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub work: Work,
    pub document: Value,
}

/// What one device is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub device: DeviceId,
    pub news: News,
    /// All that is pending, in its order.
    pub queue: Vec<Work>,
    /// The first of it, where that is told.
    pub first: Option<Item>,
}

/// The one try that a deployment is.
pub(super) const DEPLOYMENT_NUMBER: u64 = 1;
/// Rows that are read for what is shown, since closed windows hide some.
const LOOKED_AT: u32 = 4 * limits::JOBS_PENDING_SHOWN;

impl Work {
    fn place(&self) -> Option<Place> {
        Place::of(self.status, self.queued_at, self.id.as_str(), self.number)
    }
}

impl From<Execution> for Work {
    fn from(execution: Execution) -> Self {
        Self {
            id: execution.job.to_string(),
            due_at: execution.due_at(),
            device: execution.device,
            number: execution.number,
            status: execution.status,
            detail: execution.detail,
            version: execution.version,
            queued_at: execution.queued_at,
            started_at: execution.started_at,
            updated_at: execution.updated_at,
        }
    }
}

impl From<Deployment> for Work {
    fn from(deployment: Deployment) -> Self {
        Self {
            id: deployment.id().to_string(),
            device: deployment.device,
            number: DEPLOYMENT_NUMBER,
            status: status(deployment.status),
            detail: deployment.detail,
            version: deployment.version,
            queued_at: deployment.queued_at,
            started_at: deployment.started_at,
            updated_at: deployment.updated_at,
            due_at: None,
        }
    }
}

/// Where a deployment stands in the queue of its device.
pub(crate) fn place_of(deployment: &Deployment) -> Vec<Place> {
    let id = deployment.id().to_string();
    Place::of(status(deployment.status), deployment.queued_at, id, DEPLOYMENT_NUMBER).into_iter().collect()
}

/// A deployment's status in the words of jobs.
pub(super) const fn status(status: deployment::Status) -> Status {
    match status {
        deployment::Status::Queued => Status::Queued,
        deployment::Status::InProgress => Status::InProgress,
        deployment::Status::Succeeded => Status::Succeeded,
        deployment::Status::Failed => Status::Failed,
        deployment::Status::Rejected => Status::Rejected,
        deployment::Status::TimedOut => Status::TimedOut,
        deployment::Status::Canceled => Status::Canceled,
    }
}

/// What is pending for each of the devices, in its order.
pub(super) async fn queues(
    tx: &mut TenantTx,
    devices: &[DeviceId],
    now: Timestamp,
) -> Result<BTreeMap<DeviceId, Vec<Work>>> {
    let mut queues: BTreeMap<DeviceId, Vec<Work>> = BTreeMap::new();
    for execution in executions(tx, devices, now).await? {
        queues.entry(execution.device.clone()).or_default().push(execution.into());
    }
    for device in tx.devices_with_deployment(devices).await? {
        if let Some((deployment, ..)) = deployments::deliverable(tx, &device).await? {
            queues.entry(device).or_default().push(deployment.into());
        }
    }
    for queue in queues.values_mut() {
        queue.sort_by_key(Work::place);
        queue.truncate(usize::try_from(limits::JOBS_PENDING_SHOWN).unwrap_or(usize::MAX));
    }
    Ok(queues)
}

/// The executions of jobs that are shown to these devices, in no order.
pub(super) async fn executions(tx: &mut TenantTx, devices: &[DeviceId], now: Timestamp) -> Result<Vec<Execution>> {
    let mut found = Vec::new();
    for row in tx.pending_job_executions(devices, LOOKED_AT).await? {
        if shown(&row, now)? {
            found.push(rows::execution_of(row.execution)?);
        }
    }
    Ok(found)
}

/// What is queued is hidden while the windows of its job are closed.
fn shown(row: &PendingJobExecutionRow, now: Timestamp) -> Result<bool> {
    let Some(policy) = &row.policy else { return Ok(true) };
    let queued = row.execution.status == Status::Queued.as_str();
    let policy: Policy = serde_json::from_str(policy).map_err(Error::internal)?;
    Ok(!queued || policy.schedule.is_open(now))
}

/// A piece of work with its document.
pub(super) async fn item(app: &App, tx: &mut TenantTx, work: Work) -> Result<Option<Item>> {
    if let Some(document) = job_document(tx, &work.id).await? {
        return Ok(Some(Item { work, document }));
    }
    let Some((deployment, _, release)) = deployments::deliverable(tx, &work.device).await? else { return Ok(None) };
    let document = document::offer(app, deployment, &release)?.document;
    Ok(Some(Item { work, document: serde_json::to_value(document).map_err(Error::internal)? }))
}

async fn job_document(tx: &mut TenantTx, id: &str) -> Result<Option<Value>> {
    let Ok(id) = id.parse::<JobId>() else { return Ok(None) };
    let Some(document) = tx.job_document(&id).await? else { return Ok(None) };
    serde_json::from_str(&document).map(Some).map_err(Error::internal)
}

/// What devices are to hear of changes in their queues; devices that hear nothing are left out.
pub async fn told(app: &App, tenant: &TenantId, changes: &[(DeviceId, Change)]) -> Result<Vec<Told>> {
    let (app_in, changes, now) = (app.clone(), changes.to_vec(), app.now());
    app.read(tenant, "what devices are told", move |tx| {
        Box::pin(async move {
            let devices: Vec<DeviceId> = changes.iter().map(|(device, _)| device.clone()).collect();
            let mut queues = queues(tx, &devices, now).await?;
            // Devices of one job are told of one document.
            let mut documents: BTreeMap<String, Value> = BTreeMap::new();
            let mut said = Vec::new();
            for (device, change) in &changes {
                let queue = queues.remove(device).unwrap_or_default();
                let places: Vec<Place> = queue.iter().filter_map(Work::place).collect();
                let news = news(&places, change);
                if news == News::default() {
                    continue;
                }
                let mut first = None;
                if let Some(work) = queue.first().filter(|_| news.next) {
                    first = match documents.get(&work.id) {
                        Some(document) => Some(Item { work: work.clone(), document: document.clone() }),
                        None => item(&app_in, tx, work.clone()).await?,
                    };
                    if let Some(item) = &first
                        && item.work.id.parse::<deployment::DeploymentId>().is_err()
                    {
                        documents.entry(item.work.id.clone()).or_insert_with(|| item.document.clone());
                    }
                }
                said.push(Told { device: device.clone(), news, queue, first });
            }
            Ok(said)
        })
    })
    .await
}

/// Tells devices that what is pending for them has changed.
pub(crate) async fn tell(app: &App, tenant: &TenantId, changes: &[(DeviceId, Change)]) {
    if let Some(links) = app.links()
        && !changes.is_empty()
    {
        links.queue_changed(tenant, changes).await;
    }
}
