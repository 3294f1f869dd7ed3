//! A revocation with all that hangs on it: certificates, sessions, lists, answers, and each device's way back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::drill::{Fate, Groups, Manner, Met, Pace, Terms, fate};
use fleetward_core::lifecycle;
use fleetward_core::registry::{Class, HARDWARE_UNKNOWN};
use fleetward_core::revocation::{Kind, Status, Target, suspended};
use fleetward_core::rotation::Standing;
use fleetward_store::{MetRow, ProspectRow, TenantTx};

use super::ways::Ways;
use super::{AuthorityEffect, ListTouched, Report, within_reach};
use crate::authority::{self, standing};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::reconcile::crls;
use crate::revocation::{page_of, total};
use crate::{App, publication};

/// What is aimed at, and how.
pub(super) struct Aim<'a> {
    pub(super) target: &'a Target,
    /// Not at once: by then.
    pub(super) due: Option<Timestamp>,
    pub(super) terms: Terms,
}

impl Aim<'_> {
    fn manner(&self) -> Manner {
        match self.due {
            Some(due) => Manner::Replace(due),
            None if self.target.is_of_certificates() => Manner::Certificates,
            None => Manner::Devices,
        }
    }

    /// Whether the command takes this certificate of a device that it meets.
    fn takes(&self, row: &ProspectRow) -> bool {
        match self.manner() {
            Manner::Replace(_) => row.replaceable,
            Manner::Devices => row.revocable,
            Manner::Certificates => {
                row.revocable
                    && match self.target {
                        Target::Certificate { serial } => row.serial == *serial,
                        Target::Authority { fingerprint } => row.authority == *fingerprint,
                        _ => false,
                    }
            }
        }
    }
}

/// A device that loses something.
struct Loss {
    met: MetRow,
    /// Serial number and authority of what it loses.
    lost: Vec<(String, String)>,
    fate: Fate,
}

/// A page of them, and where it goes on.
struct Page {
    losses: Vec<Loss>,
    ways: Ways,
    seen: HashSet<DeviceId>,
    next: Option<String>,
    looked: [(u64, Duration); 3],
}

pub(super) async fn run(app: &App, tenant: &TenantId, aim: Aim<'_>, mut report: Report) -> Result<Report> {
    let asked = aim.target.clone();
    let reach = app.read(tenant, "drill reach", move |tx| Box::pin(async move { total(tx, &asked).await })).await?;
    within_reach(reach)?;
    let (mut groups, mut touched) = (Groups::default(), BTreeMap::<String, BTreeSet<String>>::new());
    let mut ways = Ways::new(identity_policy(app, tenant).await?, aim.terms.now);
    let (mut cursor, mut seen) = (String::new(), HashSet::new());
    loop {
        let page = look(app, tenant, &aim, cursor, (ways, seen)).await?;
        for (name, (items, took)) in ["devices met", "certificates", "ways back"].into_iter().zip(page.looked) {
            report.step(name, items, took);
        }
        for loss in page.losses {
            add(app, tenant, &aim, loss, &mut report, (&mut groups, &mut touched));
        }
        (ways, seen) = (page.ways, page.seen);
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    report.due_at = aim.due;
    report.close(&groups);
    if aim.due.is_none() {
        lists(app, tenant, touched, &mut report).await?;
    }
    if let Target::Authority { fingerprint } = aim.target {
        report.authorities = vec![authority_effect(app, tenant, fingerprint.clone()).await?];
    }
    pace(app, tenant, reach, &mut report).await?;
    Ok(report)
}

/// One page, all of one moment.
async fn look(
    app: &App,
    tenant: &TenantId,
    aim: &Aim<'_>,
    cursor: String,
    (mut ways, mut seen): (Ways, HashSet<DeviceId>),
) -> Result<Page> {
    let (clock, terms) = (Arc::clone(app.clock()), aim.terms);
    let aim = Owned { target: aim.target.clone(), due: aim.due };
    app.read(tenant, "drill page", move |tx| {
        Box::pin(async move {
            let aim = Aim { target: &aim.target, due: aim.due, terms };
            let started = clock.monotonic();
            let page = page_of(tx, aim.target, &cursor, limits::REVOCATIONS_PER_BATCH).await?;
            let held = page.held.iter().map(|it| &it.device);
            let names: BTreeSet<DeviceId> = page.devices.iter().map(|it| &it.device).chain(held).cloned().collect();
            let names: Vec<DeviceId> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
            let met = with_those_gone(tx.met_devices(&names).await?, &names);
            let selected = clock.monotonic();
            let mut all: BTreeMap<DeviceId, Vec<ProspectRow>> = BTreeMap::new();
            let prospects = tx.prospects_of(&names).await?;
            let certificates = u64::try_from(prospects.len()).unwrap_or(0);
            for row in prospects {
                all.entry(row.device.clone()).or_default().push(row);
            }
            let tokens: HashSet<DeviceId> = tx.with_waiting_token(&names, terms.now).await?.into_iter().collect();
            let listed = clock.monotonic();
            let devices = u64::try_from(met.len()).unwrap_or(0);
            let mut losses = Vec::new();
            for met in met {
                let rows = all.remove(&met.device).unwrap_or_default();
                let token = tokens.contains(&met.device);
                losses.extend(loss(tx, &aim, met, &rows, token, &mut ways).await?);
            }
            let done = clock.monotonic();
            let found = u64::try_from(losses.len()).unwrap_or(0);
            Ok(Page {
                losses,
                ways,
                seen,
                next: page.cursor.filter(|_| page.more),
                looked: [
                    (devices, selected.saturating_sub(started)),
                    (certificates, listed.saturating_sub(selected)),
                    (found, done.saturating_sub(listed)),
                ],
            })
        })
    })
    .await
}

/// A certificate outlives the record of its device, and is revoked all the same.
fn with_those_gone(mut met: Vec<MetRow>, names: &[DeviceId]) -> Vec<MetRow> {
    let known: HashSet<DeviceId> = met.iter().map(|row| row.device.clone()).collect();
    met.extend(names.iter().filter(|name| !known.contains(*name)).map(|name| MetRow {
        device: name.clone(),
        status: lifecycle::Status::Decommissioned.to_string(),
        class: Class::Endpoint.to_string(),
        hardware: HARDWARE_UNKNOWN.to_owned(),
        environment: None,
        site: None,
        online: false,
        last_seen: None,
    }));
    met
}

struct Owned {
    target: Target,
    due: Option<Timestamp>,
}

/// What the device loses and what becomes of it; nothing where it loses nothing.
async fn loss(
    tx: &mut TenantTx,
    aim: &Aim<'_>,
    met: MetRow,
    rows: &[ProspectRow],
    token: bool,
    ways: &mut Ways,
) -> Result<Option<Loss>> {
    let status: lifecycle::Status = met.status.parse().map_err(Error::internal)?;
    let (lost, left): (Vec<&ProspectRow>, Vec<&ProspectRow>) = rows.iter().partition(|row| aim.takes(row));
    let moved = aim.manner() == Manner::Devices && suspended(status).is_some();
    if lost.is_empty() && !moved {
        return Ok(None);
    }
    let other =
        left.iter().any(|row| aim.terms.now <= row.not_after && row.status.parse().is_ok_and(Standing::is_accepted));
    let standing = Met {
        at_end: matches!(status, lifecycle::Status::Lost | lifecycle::Status::Decommissioned),
        other,
        lost_until: lost.iter().map(|row| row.not_after).max(),
        online: met.online,
        last_seen: met.last_seen,
        own_way: ways.own(tx, rows, &lost).await?,
        token,
    };
    let fate = fate(&aim.terms, aim.manner(), &standing);
    let lost = lost.into_iter().map(|row| (row.serial.clone(), row.authority.clone())).collect();
    Ok(Some(Loss { met, lost, fate }))
}

fn add(
    app: &App,
    tenant: &TenantId,
    aim: &Aim<'_>,
    loss: Loss,
    report: &mut Report,
    (groups, touched): (&mut Groups, &mut BTreeMap<String, BTreeSet<String>>),
) {
    let Loss { met, lost, fate } = loss;
    report.devices.push(met.device.as_str());
    report.online += u64::from(met.online);
    *report.fates.entry(fate.words()).or_default() += 1;
    groups.add("class", &met.class);
    groups.add("hardware", &met.hardware);
    for (by, name) in [("environment", &met.environment), ("site", &met.site)] {
        if let Some(name) = name {
            groups.add(by, name);
        }
    }
    let live = app.links().and_then(|links| links.live(tenant, &met.device));
    let ends = live.is_some_and(|serial| match aim.manner() {
        Manner::Devices => true,
        Manner::Certificates => lost.iter().any(|(it, _)| *it == serial),
        Manner::Replace(_) => false,
    });
    if ends {
        report.sessions.push(met.device.as_str());
    }
    for (serial, authority) in lost {
        report.certificates.push(&serial);
        touched.entry(authority).or_default().insert(serial);
    }
    if let Fate::Stranded(why) = fate {
        report.stranded.push(met.device, why, met.last_seen);
    }
}

/// Which lists are signed anew, and how many answers are given no more.
async fn lists(
    app: &App,
    tenant: &TenantId,
    touched: BTreeMap<String, BTreeSet<String>>,
    report: &mut Report,
) -> Result<()> {
    let started = app.clock().monotonic();
    publication::refresh(app).await?;
    let may_shard = app.settings()?.pki_url.is_some();
    let digits =
        app.read(tenant, "drill lists", move |tx| Box::pin(async move { crls::cut(tx, may_shard).await })).await?;
    let published = app.publication().all();
    let own = |fingerprint: &String| {
        published.iter().any(|ca| ca.fingerprint == *fingerprint && ca.tenant.as_ref() == Some(tenant))
    };
    for (authority, serials) in touched.into_iter().filter(|(authority, _)| own(authority)) {
        for shard in crls::lists_with(serials.iter().map(String::as_str), digits) {
            report.lists.push(ListTouched { authority: authority.clone(), shard: shard.to_owned() });
        }
    }
    if report.devices.count > 0 {
        let kept = app.publication().answers.kept(published.into_iter(), tenant);
        report.answers = u64::try_from(kept).unwrap_or(u64::MAX);
    }
    let count = u64::try_from(report.lists.len()).unwrap_or(0);
    report.step("lists and answers", count, app.clock().monotonic().saturating_sub(started));
    Ok(())
}

async fn authority_effect(app: &App, tenant: &TenantId, fingerprint: String) -> Result<AuthorityEffect> {
    app.read(tenant, "drill authority", move |tx| {
        Box::pin(async move {
            let standings = tx.authority_standings().await?;
            let signing = standing::with_standing(tx, authority::ISSUING, standing::CURRENT).await?;
            let next = standing::with_standing(tx, authority::ISSUING, standing::NEXT).await?;
            Ok(AuthorityEffect {
                standing: standing::standing_of(&standings, &fingerprint).to_owned(),
                signs: signing.first().is_some_and(|row| row.fingerprint == fingerprint),
                successors: next.into_iter().map(|row| row.fingerprint).collect(),
                fingerprint,
            })
        })
    })
    .await
}

/// How long it takes, by the revocations that were finished here.
async fn pace(app: &App, tenant: &TenantId, items: u64, report: &mut Report) -> Result<()> {
    let rows = app
        .read(tenant, "drill pace", |tx| {
            Box::pin(async move { Ok(tx.revocations(None, limits::DRILL_SAMPLES).await?) })
        })
        .await?;
    let finished =
        rows.iter().filter(|row| row.status == Status::Finished.as_str() && row.kind == Kind::Revoke.as_str());
    let samples = finished.filter_map(|row| Some((row.done, row.finished_at?.since(row.created_at))));
    if let Some(pace) = Pace::of(samples) {
        report.takes = Some(pace.takes(items));
        report.pace = "the revocations that were finished last";
    }
    Ok(())
}
