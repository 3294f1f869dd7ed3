//! Drills: what they say is what the command then does, and they do nothing.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_app::deployments;
use fleetward_app::drills::{NewDrill, Report, drill};
use fleetward_app::presence::{self, Arrival};
use fleetward_app::reconcile::{crls, revocations, rollouts as rollout_tick};
use fleetward_app::revocation::{self, NewRevocation};
use fleetward_app::rollouts::{self, NewRollout};
use fleetward_app::{Error, publication};
use fleetward_base::{DeviceId, Rng, RolloutId, SeededRng, TenantId};
use fleetward_core::deployment::{Report as Said, Status};
use fleetward_core::drill::{Scenario, Why};
use fleetward_core::journal::Action;
use fleetward_core::revocation::Target;
use fleetward_core::selector::Selector;
use fleetward_store::CertificateRow;

use crate::enroll::{Device, admit, enrolled, events};
use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, add_release, as_device};

const DAY: Duration = Duration::from_secs(24 * 3600);
const STATUSES: [&str; 6] = ["active", "quarantined", "suspended", "lost", "claimed", "decommissioned"];
const STANDINGS: [&str; 6] = ["issued", "active", "superseded", "retired", "revoked", "proven"];

async fn rehearse(fixture: &Fixture, scenario: Scenario) -> Report {
    let new = NewDrill { scenario, silent_after: 7 * DAY };
    drill(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("a drill")
}

fn below(rng: &SeededRng, bound: usize) -> usize {
    let mut bytes = [0; 4];
    rng.fill(&mut bytes);
    usize::try_from(u32::from_le_bytes(bytes)).expect("fits") % bound
}

/// The certificates of the tenant's devices, with how they stand.
async fn standing(fixture: &Fixture, names: &[DeviceId]) -> BTreeMap<String, String> {
    let (names, acme) = (names.to_vec(), tenant("acme"));
    let rows = fixture.app.read(&acme, "test", move |tx| Box::pin(async move { Ok(tx.prospects_of(&names).await?) }));
    rows.await.expect("rows").into_iter().map(|row| (row.serial, row.status)).collect()
}

/// Which lists there are, with their numbers.
async fn lists(fixture: &Fixture) -> BTreeMap<(String, String), u64> {
    assert_eq!(crls::tick(&fixture.app).await.expect("a turn").failed, 0);
    let found = publication::lists(&fixture.app, &fixture.admin, &tenant("acme")).await.expect("lists");
    found.into_iter().map(|list| ((list.authority, list.shard), list.number)).collect()
}

struct Fleet {
    fixture: Fixture,
    told: std::sync::Arc<Told>,
    names: Vec<DeviceId>,
    serials: Vec<String>,
    authority: String,
}

impl Fleet {
    /// A dozen devices that chance has put together.
    async fn set(seed: u64) -> Self {
        let (fixture, rng) = (Fixture::new().await, SeededRng::new(seed));
        let (app, acme) = (&fixture.app, tenant("acme"));
        let told = Told::listen(app);
        let authority = app
            .read(&acme, "test", |tx| Box::pin(async move { Ok(tx.authorities().await?.remove(0).fingerprint) }))
            .await
            .expect("an authority");
        let (mut names, mut serials) = (Vec::new(), Vec::new());
        for n in 0..12_usize {
            let name = device(&format!("gw-{n:02}"));
            add_device(app, &acme, name.as_str(), if n % 2 == 0 { "rev-a" } else { "rev-b" }).await;
            let status = STATUSES[below(&rng, STATUSES.len())].to_owned();
            let mut rows = Vec::new();
            for k in 0..below(&rng, 4) {
                let standing = STANDINGS[below(&rng, STANDINGS.len())];
                let of = if below(&rng, 4) == 0 { "ff".repeat(32) } else { authority.clone() };
                let life = DAY * u32::try_from(below(&rng, 60)).expect("small");
                rows.push(CertificateRow {
                    serial: format!("{:02x}{n:02x}{k:02x}", below(&rng, 256)),
                    device: name.clone(),
                    authority: of,
                    fingerprint: format!("{seed}-{n}-{k}"),
                    request: vec![u8::try_from(n).expect("small"), u8::try_from(k).expect("small")],
                    not_before: app.now().minus(30 * DAY),
                    not_after: app.now().plus(life).minus(10 * DAY),
                    der: vec![1],
                    status: standing.to_owned(),
                    issued_at: app.now().minus(30 * DAY),
                    proven_at: None,
                    revoked_at: matches!(standing, "revoked" | "retired").then(|| app.now().minus(DAY)),
                    reason: None,
                    way: "token".to_owned(),
                    source: Some(format!("line-{}", below(&rng, 2))),
                });
            }
            if let Some(row) = rows.last().filter(|_| below(&rng, 2) == 0) {
                told.connect(&name, &row.serial);
            }
            serials.extend(rows.iter().map(|row| row.serial.clone()));
            let put = name.clone();
            app.write(&acme, "test", move |tx| {
                Box::pin(async move {
                    let before = tx.device_for_update(&put).await?.expect("there");
                    let revision = before.revision;
                    tx.update_device(
                        &fleetward_store::DeviceRow { status, revision: revision + 1, ..before },
                        revision,
                    )
                    .await?;
                    for row in &rows {
                        tx.insert_certificate(row).await?;
                    }
                    Ok(())
                })
            })
            .await
            .expect("kept");
            names.push(name);
        }
        let gone = device("gone");
        let orphan = CertificateRow {
            serial: "ee00".to_owned(),
            device: gone.clone(),
            authority: authority.clone(),
            fingerprint: format!("{seed}-gone"),
            request: vec![9],
            not_before: app.now(),
            not_after: app.now().plus(DAY),
            der: vec![1],
            status: "active".to_owned(),
            issued_at: app.now(),
            proven_at: None,
            revoked_at: None,
            reason: None,
            way: "token".to_owned(),
            source: None,
        };
        serials.push(orphan.serial.clone());
        app.write(&acme, "test", move |tx| Box::pin(async move { Ok(tx.insert_certificate(&orphan).await?) }))
            .await
            .expect("kept");
        names.push(gone);
        Self { fixture, told, names, serials, authority }
    }

    fn target(&self, rng: &SeededRng) -> Target {
        let one = |count: usize| below(rng, count.max(1));
        match below(rng, 6) {
            0 => Target::Device { device: self.names[one(self.names.len())].clone() },
            1 if !self.serials.is_empty() => {
                Target::Certificate { serial: self.serials[one(self.serials.len())].clone() }
            }
            2 => {
                let hardware = BTreeSet::from(["rev-a".to_owned()]);
                Target::Group { selector: Selector { hardware, ..Selector::default() } }
            }
            3 => Target::Claim { source: format!("line-{}", one(2)), way: None },
            4 => Target::Authority { fingerprint: self.authority.clone() },
            _ => Target::Tenant,
        }
    }
}

fn set<T: Ord + Clone>(items: &[T]) -> BTreeSet<T> {
    items.iter().cloned().collect()
}

#[tokio::test]
async fn what_a_drill_says_is_what_the_revocation_does() {
    for seed in 0..24 {
        let fleet = Fleet::set(seed).await;
        let fixture = &fleet.fixture;
        let target = fleet.target(&SeededRng::new(1000 + seed));
        let listed = lists(fixture).await;
        let before = standing(fixture, &fleet.names).await;
        let told = events(fixture, "acme", &fixture.admin).await.len();

        let said = rehearse(fixture, Scenario::RevocationCascade { target: target.clone() }).await;
        // It did nothing, and says that it was made.
        assert_eq!(standing(fixture, &fleet.names).await, before, "{target:?}");
        assert!(fleet.told.take_ended().is_empty());
        let after = events(fixture, "acme", &fixture.admin).await;
        assert_eq!((after.len(), after.last().map(|it| it.entry.action)), (told + 1, Some(Action::DrillMade)));

        let new = NewRevocation { target: target.clone(), reason: "key_compromise".to_owned(), replace_by: None };
        let begun = revocation::begin(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("it begins");
        revocations::tick(&fixture.app).await.expect("a turn");
        let done = standing(fixture, &fleet.names).await;
        let ended: BTreeSet<String> =
            done.iter().filter(|it| before.get(it.0) != Some(it.1)).map(|it| it.0.clone()).collect();
        assert_eq!(set(&said.certificates.first), ended, "{seed} {target:?}");
        let sessions: BTreeSet<String> = fleet.told.take_ended().iter().map(ToString::to_string).collect();
        assert_eq!(set(&said.sessions.first), sessions, "{seed} {target:?}");
        let touched: BTreeSet<String> = events(fixture, "acme", &fixture.admin)
            .await
            .iter()
            .filter(|it| matches!(it.entry.action, Action::DeviceRevoked | Action::CertificateRevoked))
            .filter_map(|it| it.entry.device.as_ref().map(ToString::to_string))
            .collect();
        assert_eq!(set(&said.devices.first), touched, "{seed} {target:?}");
        // The first list of an authority that took the place of a revoked one is nobody's that there was.
        let new = |list: &(String, String)| !listed.keys().any(|known| known.0 == list.0);
        let changed = lists(fixture).await.into_iter().filter(|it| listed.get(&it.0) != Some(&it.1));
        let renewed: BTreeSet<(String, String)> = changed.map(|it| it.0).filter(|list| !new(list)).collect();
        let expected: BTreeSet<_> = said.lists.iter().map(|it| (it.authority.clone(), it.shard.clone())).collect();
        assert_eq!(expected, renewed, "{seed} {target:?}");
        assert_eq!(said.devices.count, said.fates.values().sum::<u64>(), "everybody has one fate");
        // Asked again, nothing is left to do.
        let again = rehearse(fixture, Scenario::RevocationCascade { target }).await;
        assert_eq!((again.devices.count, again.certificates.count), (0, 0), "{seed} {begun:?}");
    }
}

#[tokio::test]
async fn a_replacement_asks_whom_the_drill_names() {
    for seed in 100..112 {
        let fleet = Fleet::set(seed).await;
        let (fixture, acme) = (&fleet.fixture, tenant("acme"));
        let target = Target::Claim { source: "line-0".to_owned(), way: None };
        let scenario = Scenario::KeyCompromise { target: target.clone(), replace_within_s: Some(3600) };
        let said = rehearse(fixture, scenario).await;
        let due = fixture.app.now().plus(Duration::from_secs(3600));
        assert_eq!((said.due_at, said.sessions.count, said.lists.len()), (Some(due), 0, 0));
        let new = NewRevocation { target, reason: "key_compromise".to_owned(), replace_by: Some(due) };
        let begun = revocation::begin(&fixture.app, &fixture.admin, &acme, new).await.expect("it begins");
        revocations::tick(&fixture.app).await.expect("a turn");
        let view = revocation::revocation(&fixture.app, &fixture.admin, &acme, begun.id).await.expect("there");
        assert_eq!(
            (said.certificates.count, said.devices.count),
            (view.certificates, view.left.unwrap_or(0)),
            "{seed}"
        );
    }
}

#[tokio::test]
async fn who_is_stranded_and_who_comes_back() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    admit(&fixture, &held).await.expect("in");
    let at_once = Scenario::KeyCompromise { target: Target::Device { device: device("gw-1") }, replace_within_s: None };
    let said = rehearse(&fixture, at_once).await;
    assert_eq!(
        (said.stranded.count, said.stranded.first[0].why),
        (1, Why::NoWay),
        "it came by a token that is used up"
    );
    assert!(said.permitted && said.takes.is_none());

    // It was not heard of, so that it is not counted on; then it is there.
    let in_time =
        || Scenario::KeyCompromise { target: Target::Device { device: device("gw-1") }, replace_within_s: Some(3600) };
    assert_eq!(rehearse(&fixture, in_time()).await.stranded.first[0].why, Why::Silent);
    app.presence().connected(
        &acme,
        &device("gw-1"),
        app.now(),
        Arrival { epoch: 1, address: None, protocol: "mqtt-5" },
    );
    presence::flush_transitions(app).await.expect("written");
    let said = rehearse(&fixture, in_time()).await;
    assert_eq!((said.stranded.count, said.fates.get("renews")), (0, Some(&1)));

    // Its certificate alone: a token that waits lets it in again.
    let certificate = || Scenario::KeyCompromise {
        target: Target::Certificate { serial: held.serial.clone() },
        replace_within_s: None,
    };
    assert_eq!(rehearse(&fixture, certificate()).await.stranded.count, 1);
    crate::enroll::token(&fixture, "acme", "gw-1").await;
    assert_eq!(rehearse(&fixture, certificate()).await.fates.get("returns:token"), Some(&1));

    let authority = app
        .read(&acme, "test", |tx| Box::pin(async move { Ok(tx.authorities().await?.remove(0).fingerprint) }))
        .await
        .expect("an authority");
    let cascade = Scenario::RevocationCascade { target: Target::Authority { fingerprint: authority.clone() } };
    let said = rehearse(&fixture, cascade).await;
    assert_eq!(said.authorities.len(), 1);
    assert!(said.authorities[0].signs && said.authorities[0].successors.is_empty());
    assert!(said.groups.contains(&("class", "endpoint".to_owned(), 1)));

    // One revocation was finished: there is a pace.
    let new = NewRevocation { target: Target::Device { device: device("gw-1") }, reason: "x".into(), replace_by: None };
    revocation::begin(app, &fixture.admin, &acme, new).await.expect("it begins");
    fixture.clock.advance(Duration::from_secs(1));
    revocations::tick(app).await.expect("a turn");
    assert_eq!(
        rehearse(&fixture, Scenario::RevocationCascade { target: Target::Tenant }).await.takes,
        Some(Duration::from_secs(1))
    );
}

#[tokio::test]
async fn who_may_rehearse_what() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let new = |target| NewDrill { scenario: Scenario::RevocationCascade { target }, silent_after: DAY };
    let operator = fixture.operator("acme", "operator").await;
    let said = drill(app, &operator, &acme, new(Target::Tenant)).await.expect("to rehearse is no harm");
    assert!(!said.permitted, "the command needs an owner");
    let viewer = fixture.operator("acme", "viewer").await;
    assert!(matches!(drill(app, &viewer, &acme, new(Target::Tenant)).await, Err(Error::Denied { .. })));
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(drill(app, &foreign, &acme, new(Target::Tenant)).await, Err(Error::NotFound { .. })));
    for (target, nothing) in [
        (Target::Device { device: device("gw-9") }, true),
        (Target::Certificate { serial: "aa".to_owned() }, true),
        (Target::Authority { fingerprint: "0".repeat(64) }, true),
        (Target::Group { selector: Selector::default() }, false),
    ] {
        let found = drill(app, &operator, &acme, new(target)).await;
        assert_eq!(matches!(found, Err(Error::NotFound { .. })), nothing, "{found:?}");
        assert!(nothing || matches!(found, Err(Error::Invalid { .. })), "{found:?}");
    }
    let short = NewDrill { silent_after: Duration::ZERO, ..new(Target::Tenant) };
    assert!(
        matches!(drill(app, &operator, &acme, short).await, Err(Error::Invalid { field, .. }) if field == "silent_after_s")
    );
}

/// Eight devices and a rollout that some of them are through with.
struct Update {
    fixture: Fixture,
    acme: TenantId,
    id: RolloutId,
}

const ALL_AT_ONCE: &str = r#"{"phases":[{"target":{"percent":100}}],"timeout_s":6000}"#;

impl Update {
    async fn set() -> Self {
        let fixture = Fixture::new().await;
        let (app, acme) = (&fixture.app, tenant("acme"));
        for n in 0..8_usize {
            add_device(app, &acme, &format!("d{n}"), "rev-a").await;
        }
        let release = add_release(app, &acme, "2.0", &["rev-a"]).await;
        let id = begin(&fixture, release).await;
        Self { fixture, acme, id }
    }

    async fn tick(&self) {
        rollout_tick::tick(&self.fixture.app).await.expect("a tick");
    }

    async fn work(&self, name: &str, end: Option<Status>) {
        work(&self.fixture, name, end).await;
    }

    /// Devices that have a way back of this rollout, and those whose update was canceled.
    async fn outcome(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (app, admin) = (&self.fixture.app, &self.fixture.admin);
        let all = rollouts::deployments(app, admin, &self.acme, self.id, None, None, 1000).await.expect("deployments");
        let some = |kind: &str, status: Option<Status>| {
            all.iter()
                .filter(|it| it.kind.as_str() == kind && status.is_none_or(|status| it.status == status))
                .map(|it| it.device.to_string())
                .collect()
        };
        (some("rollback", None), some("update", Some(Status::Canceled)))
    }
}

async fn begin(fixture: &Fixture, release: fleetward_base::ReleaseId) -> RolloutId {
    let policy = serde_json::from_str(ALL_AT_ONCE).expect("a policy");
    let new = NewRollout { name: None, release, selector: Selector::default(), policy };
    let made = rollouts::create_rollout(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("made");
    rollout_tick::tick(&fixture.app).await.expect("a tick");
    made.rollout.id
}

async fn work(fixture: &Fixture, name: &str, end: Option<Status>) {
    let ctx = as_device(&fixture.app, &tenant("acme"), name);
    let job = deployments::start_next(&fixture.app, &ctx, None).await.expect("asked").expect("there is one");
    fixture.clock.advance(Duration::from_secs(10));
    if let Some(status) = end {
        let said = Said { status, detail: None, expected_version: Some(job.deployment.version) };
        deployments::report(&fixture.app, &ctx, job.deployment.id(), said).await.expect("taken");
    }
}

#[tokio::test]
async fn what_a_drill_says_is_what_the_rollback_does() {
    let update = Update::set().await;
    let (app, admin) = (&update.fixture.app, &update.fixture.admin);
    for name in ["d0", "d1", "d2"] {
        update.work(name, Some(Status::Succeeded)).await;
    }
    update.work("d3", Some(Status::Failed)).await;
    update.work("d4", None).await;
    let said = rehearse(&update.fixture, Scenario::MassRollback { rollouts: BTreeSet::from([update.id]) }).await;
    let of = &said.rollouts[0];
    assert_eq!((of.devices, of.other_slot, of.full_image, of.canceled, of.under_way), (3, 3, 0, 3, 1));
    assert_eq!((of.mean, of.takes), (Some(Duration::from_secs(10)), Some(Duration::from_secs(11))));
    // They were never heard of: nobody can say that they will hear.
    assert_eq!((said.stranded.count, said.stranded.first[0].why), (3, Why::Silent));
    // Of all rollouts it is the one.
    let all = rehearse(&update.fixture, Scenario::MassRollback { rollouts: BTreeSet::new() }).await;
    assert_eq!(all.devices, said.devices);

    rollouts::roll_back_rollout(app, admin, &update.acme, update.id).await.expect("it goes back");
    update.tick().await;
    let (back, canceled) = update.outcome().await;
    assert_eq!((set(&said.devices.first), set(&said.canceled.first)), (back, canceled));
    // What was under way and succeeds goes back too, as it was said.
    let ctx = as_device(app, &update.acme, "d4");
    let pending = deployments::pending(app, &ctx).await.expect("asked").expect("its own until it ends");
    let done = Said { status: Status::Succeeded, detail: None, expected_version: Some(pending.version) };
    deployments::report(app, &ctx, pending.id(), done).await.expect("taken");
    update.tick().await;
    let again = rehearse(&update.fixture, Scenario::MassRollback { rollouts: BTreeSet::from([update.id]) }).await;
    assert!(again.rollouts[0].already);
    assert_eq!(update.outcome().await.0.len(), 4);
}

#[tokio::test]
async fn a_slot_that_was_written_over_needs_an_image() {
    let update = Update::set().await;
    let (fixture, app, acme) = (&update.fixture, &update.fixture.app, &update.acme);
    for n in 0..8 {
        update.work(&format!("d{n}"), Some(Status::Succeeded)).await;
    }
    update.tick().await;
    // Another update began on two of them and failed: the other slot no longer has 1.0.
    let next = add_release(app, acme, "3.0", &["rev-a"]).await;
    begin(fixture, next).await;
    work(fixture, "d0", Some(Status::Failed)).await;
    work(fixture, "d1", Some(Status::Failed)).await;
    let scenario = || Scenario::MassRollback { rollouts: BTreeSet::from([update.id]) };
    let of = rehearse(fixture, scenario()).await;
    assert_eq!((of.rollouts[0].other_slot, of.rollouts[0].full_image), (6, 0));
    let lacking: Vec<_> =
        of.stranded.first.iter().filter(|it| it.why == Why::NoImage).map(|it| it.device.as_str()).collect();
    assert_eq!(lacking, ["d0", "d1"], "nobody has a release of 1.0");
    add_release(app, acme, "1.0", &["rev-a"]).await;
    assert_eq!(rehearse(fixture, scenario()).await.rollouts[0].full_image, 2);
    let nobody = Scenario::MassRollback { rollouts: BTreeSet::from([nothing()]) };
    let new = NewDrill { scenario: nobody, silent_after: DAY };
    assert!(matches!(drill(app, &fixture.admin, acme, new).await, Err(Error::NotFound { .. })));
}

fn nothing() -> RolloutId {
    "01890000-0000-7000-8000-000000000000".parse().expect("an id")
}
