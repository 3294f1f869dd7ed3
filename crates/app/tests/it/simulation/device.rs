//! One simulated device: what it does when it gets its turn.

use std::collections::BTreeMap;

use fleetward_app::deployments::{self, ReportError};
use fleetward_app::presence::Arrival;
use fleetward_app::{App, Ctx, Error, Principal};
use fleetward_base::{DeviceId, TenantId};
use fleetward_core::access::DeviceRights;
use fleetward_core::deployment::{DeploymentId, Kind, Report, Status};

use crate::fixture::ctx;

/// How it takes updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// Its hardware fails with the release; it falls back.
    Fails,
    /// Begins, and is never heard of again until the storm is over.
    FallsSilent,
}

pub(super) struct Device {
    pub(super) tenant: TenantId,
    pub(super) id: DeviceId,
    pub(super) nature: Nature,
    pub(super) online: bool,
    epoch: u64,
    /// What it works on, and the version that it knows.
    job: Option<(DeploymentId, u64)>,
    /// The last thing that it said, for when it says it again.
    said: Option<(DeploymentId, Report)>,
}

impl Device {
    pub(super) fn new(tenant: TenantId, id: DeviceId, nature: Nature) -> Self {
        Self { tenant, id, nature, online: false, epoch: 0, job: None, said: None }
    }

    fn ctx(&self, app: &App) -> Ctx {
        let principal = Principal::Device {
            tenant: self.tenant.clone(),
            device: self.id.clone(),
            serial: "00".to_owned(),
            rights: DeviceRights::Full,
        };
        ctx(app, principal)
    }

    pub(super) fn come(&mut self, app: &App) {
        self.epoch += 1;
        self.online = true;
        let arrival = Arrival { epoch: self.epoch, address: None, protocol: "mqtt-5" };
        app.presence().connected(&self.tenant, &self.id, app.now(), arrival);
    }

    pub(super) fn go(&mut self, app: &App) {
        self.online = false;
        app.presence().disconnected(&self.tenant, &self.id, app.now(), self.epoch, "connection_lost");
    }

    /// The server that it was connected to is gone.
    pub(super) fn lost(&mut self) {
        self.online = false;
        self.epoch = 0;
    }

    /// One thing that a connected device does; `dice` decides which.
    pub(super) async fn act(&mut self, app: &App, dice: u64) {
        app.presence().seen(&self.tenant, &self.id, app.now());
        match (self.job, dice % 8) {
            (None, _) => self.ask(app).await,
            // An answer was lost: it says again what it said.
            (Some(_), 0) => {
                if let Some((job, report)) = self.said.clone() {
                    self.say(app, job, report).await;
                }
            }
            // It lost its memory, and asks.
            (Some(_), 1) => {
                self.job = None;
                self.ask(app).await;
            }
            (Some((job, version)), 2 | 3) => {
                let detail = BTreeMap::from([("step".to_owned(), format!("step {}", dice % 100))]);
                let report =
                    Report { status: Status::InProgress, detail: Some(detail), expected_version: Some(version) };
                self.say(app, job, report).await;
            }
            (Some((job, version)), _) => {
                let status = match (self.nature, job.kind) {
                    (Nature::FallsSilent, Kind::Update) => return self.go(app),
                    (Nature::Fails, Kind::Update) => Status::Failed,
                    _ => Status::Succeeded,
                };
                let expected_version = dice.is_multiple_of(2).then_some(version);
                self.say(app, job, Report { status, detail: None, expected_version }).await;
            }
        }
    }

    async fn ask(&mut self, app: &App) {
        let job = deployments::start_next(app, &self.ctx(app), None).await.expect("the store is there");
        self.job = job.map(|job| (job.deployment.id(), job.deployment.version));
    }

    async fn say(&mut self, app: &App, job: DeploymentId, report: Report) {
        self.said = Some((job, report.clone()));
        match deployments::report(app, &self.ctx(app), job, report).await {
            Ok(reported) if reported.deployment.status.is_terminal() => self.job = None,
            Ok(reported) => self.job = Some((job, reported.deployment.version)),
            // Too late, or not what it believed: it asks again next time.
            Err(ReportError::Refused { .. }) => self.job = None,
            Err(ReportError::App(error @ Error::NotFound { .. })) => panic!("{error}"),
            Err(ReportError::App(error)) => panic!("{error:?}"),
        }
    }
}
