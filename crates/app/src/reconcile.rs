//! What the server does by itself: each reconciler wakes on a signal or a timer, takes no input, does a bounded piece of
//! work on what it finds, and says what it did. What fails is found again at the next turn, so nothing is retried inside.

pub mod authorities;
pub mod campaigns;
pub mod commands;
pub mod crls;
pub mod ends;
pub mod events;
pub mod expiry;
pub mod groups;
pub mod issuers;
pub mod jobs;
pub mod retention;
pub mod revocations;
pub mod rollouts;
pub mod rotation;
pub mod seals;
pub mod servers;
pub mod shadows;
pub mod token_issuers;
pub mod topic_policies;
pub mod transfers;
pub mod transparency;

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::time::Duration;

use fleetward_base::{JobId, TenantId, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};
use crate::shadow::grace;
use crate::{App, attestation, authority, detection, identity_policy, presence, publication, vault};

/// How long a reconciler sleeps where nothing wakes it.
pub(crate) const ROLLOUTS_EVERY: Duration = Duration::from_secs(1);
const COMMANDS_EVERY: Duration = Duration::from_secs(1);
const SEALS_EVERY: Duration = Duration::from_secs(1);
const TRANSITIONS_EVERY: Duration = Duration::from_secs(1);
const LAST_SEEN_EVERY: Duration = Duration::from_secs(30);
const HEARTBEATS_EVERY: Duration = Duration::from_secs(10);
/// At least this lies between two turns.
const GAP: Duration = Duration::from_millis(100);
const CAMPAIGNS_EVERY: Duration = Duration::from_secs(1);
const ROTATION_EVERY: Duration = Duration::from_secs(10);
const ATTESTATION_EVERY: Duration = Duration::from_secs(30);
const AUTH_FAILURES_EVERY: Duration = Duration::from_secs(15);
const TRANSFERS_EVERY: Duration = Duration::from_secs(10);
const EXPIRY_EVERY: Duration = Duration::from_secs(60);
/// Keys that are disabled must be dropped everywhere within a second.
const VAULT_EVERY: Duration = Duration::from_millis(250);
const REWRAP_EVERY: Duration = Duration::from_secs(10);
/// What becomes of jobs and commands is told right behind it.
const EVENTS_EVERY: Duration = Duration::from_millis(250);
/// A revoked device is out within a second, also where another server revoked it.
const ENDS_EVERY: Duration = Duration::from_millis(250);
const TOKEN_ISSUERS_EVERY: Duration = Duration::from_millis(500);
/// A quarter of the time after which a server that says nothing is taken for gone.
const SERVERS_EVERY: Duration = Duration::from_secs(5);
const TOPIC_POLICIES_EVERY: Duration = Duration::from_secs(1);
const GROUPS_EVERY: Duration = Duration::from_secs(1);
const JOBS_EVERY: Duration = Duration::from_secs(1);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const REVOCATIONS_EVERY: Duration = Duration::from_millis(250);
const LOG_EVERY: Duration = Duration::from_secs(1);
const CRLS_EVERY: Duration = Duration::from_secs(1);
const ANSWERS_EVERY: Duration = Duration::from_secs(2);
/// Another server on the same database may have made a tenant.
const TRUST_EVERY: Duration = Duration::from_secs(10);
const ISSUERS_EVERY: Duration = Duration::from_secs(10);
const AUTHORITIES_EVERY: Duration = Duration::from_secs(30);
const HELD_DELTAS_EVERY: Duration = Duration::from_secs(1);
/// A shadow that changes a thousand times a second has grown by so much until its history is thinned out.
const HISTORIES_EVERY: Duration = Duration::from_secs(1);
const SHADOWS_EVERY: Duration = Duration::from_secs(10);

/// Wakes reconcilers before their time, and remembers what fails.
#[derive(Debug, Default)]
pub struct Signals {
    rollouts: Notify,
    commands: Notify,
    groups: Notify,
    revocations: Notify,
    jobs: Notify,
    /// Jobs of which an execution ended: worth a look before their time.
    jobs_waiting: Mutex<BTreeSet<(TenantId, JobId)>>,
    /// What could not be worked on when it was last tried; the installation's own has no tenant.
    failing: Mutex<HashSet<(&'static str, Option<TenantId>)>>,
}

impl Signals {
    pub(crate) fn note_job(&self, tenant: &TenantId, id: &JobId) {
        self.jobs_waiting.lock().insert((tenant.clone(), id.clone()));
    }

    pub(crate) fn take_jobs(&self) -> BTreeSet<(TenantId, JobId)> {
        std::mem::take(&mut *self.jobs_waiting.lock())
    }
}

/// What became of one tenant's part in the turn of a reconciler. One that failed is told of, once until it works again, and
/// counts as nothing done: it does not keep the others waiting, and the next turn finds it.
pub(crate) fn or_later<T: Default>(app: &App, what: &'static str, tenant: Option<&TenantId>, outcome: Result<T>) -> T {
    let key = (what, tenant.cloned());
    match outcome {
        Ok(done) => {
            app.signals().failing.lock().remove(&key);
            done
        }
        Err(error) => {
            if app.signals().failing.lock().insert(key) {
                let tenant = tenant.map(tracing::field::display);
                tracing::warn!(reconciler = what, tenant, %error, "a tenant could not be worked on; it is tried again");
            }
            T::default()
        }
    }
}

/// Does `work` in every tenant, page after page; the sum of what was done. See [`or_later`] for those that fail.
///
/// # Errors
/// Where the store does not say which tenants there are.
pub(crate) async fn for_each_tenant<F, W>(app: &App, what: &'static str, work: F) -> Result<u64>
where
    F: Fn(App, TenantId) -> W + Send,
    W: Future<Output = Result<u64>> + Send,
{
    let (mut done, mut after) = (0, None::<TenantId>);
    loop {
        let from = after.take();
        let tenants = app
            .store()
            .system_read("tenants", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.tenants(from.as_ref(), limits::PAGE_ROWS).await?) })
            })
            .await?;
        let Some(last) = tenants.last() else { return Ok(done) };
        after = Some(last.id.clone());
        for tenant in tenants {
            let worked = work(app.clone(), tenant.id.clone()).await;
            done += or_later(app, what, Some(&tenant.id), worked);
        }
    }
}

/// Which of them wakes a reconciler.
type Wakes = fn(&Signals) -> &Notify;

impl App {
    /// Something happened that a rollout may go on from.
    pub(crate) fn wake_rollouts(&self) {
        self.signals().rollouts.notify_one();
    }

    /// Commands were queued for many, or taken back from them.
    pub(crate) fn wake_commands(&self) {
        self.signals().commands.notify_one();
    }

    /// A dynamic group was made, or asks something else.
    pub(crate) fn wake_groups(&self) {
        self.signals().groups.notify_one();
    }

    /// A job was made or changed.
    pub(crate) fn wake_jobs(&self) {
        self.signals().jobs.notify_one();
    }

    /// An execution of this job ended.
    pub(crate) fn wake_job(&self, tenant: &TenantId, id: &JobId) {
        self.signals().note_job(tenant, id);
        self.wake_jobs();
    }

    /// A revocation of many was committed.
    pub(crate) fn wake_revocations(&self) {
        self.signals().revocations.notify_one();
    }
}

/// Starts all reconcilers. They end when `stop` is cancelled, each after the piece of work that it is at.
pub fn spawn(app: &App, tasks: &TaskTracker, stop: &CancellationToken) {
    let loading = app.clone();
    let (app, stop, tracker) = (app.clone(), stop.clone(), tasks.clone());
    tasks.spawn(async move {
        if let Err(error) = presence::load(&loading).await {
            tracing::error!(%error, "presence from before the start could not be read");
        }
        every(&tracker, &stop, &app, "rollouts", ROLLOUTS_EVERY, Some(|signals| &signals.rollouts), |app| async move {
            rollouts::tick(&app).await.map(|status| status.is_worth_a_line().then(|| format!("{status:?}")))
        });
        every(&tracker, &stop, &app, "commands", COMMANDS_EVERY, Some(|signals| &signals.commands), |app| async move {
            commands::tick(&app).await.map(|changed| (changed > 0).then(|| format!("{changed} changed")))
        });
        every(&tracker, &stop, &app, "jobs", JOBS_EVERY, Some(|signals| &signals.jobs), |app| async move {
            let status = jobs::tick(&app).await?;
            Ok((status != jobs::JobsStatus::default()).then(|| format!("{status:?}")))
        });
        every(
            &tracker,
            &stop,
            &app,
            "seals",
            SEALS_EVERY,
            None,
            |app| async move { seals::seal(&app).await.map(|_| None) },
        );
        every(&tracker, &stop, &app, "transitions", TRANSITIONS_EVERY, None, |app| async move {
            presence::flush_transitions(&app).await.map(|_| None)
        });
        every(&tracker, &stop, &app, "last seen", LAST_SEEN_EVERY, None, |app| async move {
            presence::flush(&app).await.map(|_| None)
        });
        every(&tracker, &stop, &app, "heartbeats", HEARTBEATS_EVERY, None, |app| async move {
            let status = presence::look_at_heartbeats(&app).await?;
            Ok((status != presence::HeartbeatStatus::default()).then(|| format!("{status:?}")))
        });
        look_after_identities(&app, &tracker, &stop);
    });
}

/// What keeps authorities, keys and certificates as they should be.
fn look_after_identities(app: &App, tasks: &TaskTracker, stop: &CancellationToken) {
    every(tasks, stop, app, "trust", TRUST_EVERY, None, |app| async move {
        identity_policy::forget_policies(&app);
        authority::refresh_trust(&app).await.map(|()| None)
    });
    every(tasks, stop, app, "vault", VAULT_EVERY, None, |app| async move {
        vault::refresh(&app).await?;
        vault::tell_refused(&app).await.map(|_| None)
    });
    every(tasks, stop, app, "rewrap", REWRAP_EVERY, None, |app| async move {
        let status = vault::rewrap(&app).await?;
        Ok((status != vault::RewrapStatus::default()).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "campaigns", CAMPAIGNS_EVERY, None, |app| async move {
        campaigns::tick(&app).await.map(|status| status.is_worth_a_line().then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "rotation", ROTATION_EVERY, None, |app| async move {
        let status = rotation::tick(&app).await?;
        Ok((status != rotation::RotationTickStatus::default()).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "authorities", AUTHORITIES_EVERY, None, |app| async move {
        authority::renew_server(&app).await?;
        let status = authorities::tick(&app).await?;
        Ok((status != authorities::AuthoritiesStatus::default()).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "issuers", ISSUERS_EVERY, None, |app| async move {
        issuers::tell(&app).await.map(|told| (told > 0).then(|| format!("{told} revocations told")))
    });
    every(tasks, stop, app, "attestation", ATTESTATION_EVERY, None, |app| async move {
        let overdue = attestation::look_at_overdue(&app).await?;
        Ok((overdue > 0).then(|| format!("{overdue} overdue")))
    });
    every(tasks, stop, app, "auth failures", AUTH_FAILURES_EVERY, None, |app| async move {
        detection::forget_stale(&app, app.now());
        detection::flush_failures(&app).await.map(|_| None)
    });
    look_after_ends(app, tasks, stop);
    look_after_state(app, tasks, stop);
}

/// What keeps the state of devices bounded, and told as it is, and them in their groups.
fn look_after_state(app: &App, tasks: &TaskTracker, stop: &CancellationToken) {
    let said =
        |status: shadows::ShadowsStatus| (status != shadows::ShadowsStatus::default()).then(|| format!("{status:?}"));
    every(tasks, stop, app, "held deltas", HELD_DELTAS_EVERY, None, |app| async move {
        let told = grace::tell_due(&app).await?;
        Ok((told > 0).then(|| format!("{told} told")))
    });
    every(tasks, stop, app, "groups", GROUPS_EVERY, Some(|signals| &signals.groups), |app| async move {
        let status = groups::tick(&app).await?;
        Ok((status.moved > 0).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "histories", HISTORIES_EVERY, None, move |app| async move {
        shadows::thin_out(&app).await.map(said)
    });
    every(tasks, stop, app, "events", EVENTS_EVERY, None, |app| async move { events::tick(&app).await.map(|_| None) });
    every(tasks, stop, app, "retention", RETENTION_EVERY, None, |app| async move {
        retention::tick(&app).await.map(|gone| (gone > 0).then(|| format!("{gone} forgotten")))
    });
    every(
        tasks,
        stop,
        app,
        "shadows",
        SHADOWS_EVERY,
        None,
        move |app| async move { shadows::walk(&app).await.map(said) },
    );
}

/// What makes ends known: of sessions, certificates, transfers, and of what is over.
fn look_after_ends(app: &App, tasks: &TaskTracker, stop: &CancellationToken) {
    every(tasks, stop, app, "ends", ENDS_EVERY, None, |app| async move { ends::tick(&app).await.map(|_| None) });
    every(tasks, stop, app, "token issuers", TOKEN_ISSUERS_EVERY, None, |app| async move {
        token_issuers::tick(&app).await.map(|_| None)
    });
    every(tasks, stop, app, "topic policies", TOPIC_POLICIES_EVERY, None, |app| async move {
        topic_policies::tick(&app).await.map(|_| None)
    });
    every(tasks, stop, app, "servers", SERVERS_EVERY, None, |app| async move {
        let taken = servers::tick(&app).await?;
        Ok((taken > 0).then(|| format!("{taken} wills taken over")))
    });
    every(tasks, stop, app, "revocations", REVOCATIONS_EVERY, Some(|signals| &signals.revocations), |app| async move {
        let status = revocations::tick(&app).await?;
        Ok((status != revocations::RevocationStatus::default()).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "transparency", LOG_EVERY, None, |app| async move {
        transparency::tick(&app).await.map(|_| None)
    });
    every(tasks, stop, app, "lists", CRLS_EVERY, None, |app| async move {
        let status = crls::tick(&app).await?;
        Ok((status != crls::CrlStatus::default()).then(|| format!("{status:?}")))
    });
    every(tasks, stop, app, "answers", ANSWERS_EVERY, None, |app| async move {
        let signed = publication::ocsp::sign_ahead(&app).await?;
        Ok((signed > 0).then(|| format!("{signed} signed ahead")))
    });
    every(tasks, stop, app, "transfers", TRANSFERS_EVERY, None, |app| async move {
        let status = transfers::tick(&app).await?;
        Ok((status != transfers::TransfersStatus::default()).then(|| format!("{status:?}")))
    });
    every(
        tasks,
        stop,
        app,
        "expiry",
        EXPIRY_EVERY,
        None,
        |app| async move { expiry::expire(&app).await.map(|_| None) },
    );
}

/// Ends when the reconciler is woken; without a signal never.
async fn woken(app: &App, wakes: Option<Wakes>) {
    match wakes {
        Some(signal) => signal(app.signals()).notified().await,
        None => std::future::pending().await,
    }
}

/// Runs `work` again and again. What it says is logged; so is what fails, once until it works again.
fn every<F, W>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    app: &App,
    name: &'static str,
    period: Duration,
    wakes: Option<Wakes>,
    work: F,
) where
    F: Fn(App) -> W + Send + 'static,
    W: Future<Output = Result<Option<String>>> + Send,
{
    let (app, stop) = (app.clone(), stop.clone());
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(period);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // However often it is woken: what comes together is worked on together.
        let mut gap = tokio::time::interval(GAP);
        gap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
                () = woken(&app, wakes) => {}
            }
            gap.tick().await;
            match work(app.clone()).await {
                Ok(said) => {
                    failing = false;
                    if let Some(said) = said {
                        tracing::debug!(reconciler = name, "{said}");
                    }
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(reconciler = name, %error, "failed; it is tried again");
                }
                Err(_) => {}
            }
        }
    });
}
