//! Dynamic groups: whom a question meets comes in, whom it meets no more goes, and jobs follow.

use std::time::Duration;

use fleetward_app::device_groups::{
    self as groups, DeviceGroup, GroupFields, amend_device_group, create_device_group, move_device, remove_device_group,
};
use fleetward_app::jobs::{NewJob, create_job, pending_of};
use fleetward_app::journal::{JournalFilter, events};
use fleetward_app::reconcile;
use fleetward_app::registry::{self, amend_device};
use fleetward_app::{Ctx, Error};
use fleetward_base::{TenantId, limits};
use fleetward_core::job::Selection;
use fleetward_core::registry::{DeviceFields, Patch};
use fleetward_core::selector::Selector;

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::add_device;

struct Stage {
    fixture: Fixture,
    acme: TenantId,
    ops: Ctx,
}

fn asks(query: &str) -> GroupFields {
    GroupFields { query: Some(query.to_owned()), ..GroupFields::default() }
}

impl Stage {
    async fn set(devices: usize) -> Self {
        let fixture = Fixture::new().await;
        let acme = tenant("acme");
        for n in 0..devices {
            add_device(&fixture.app, &acme, &format!("d{n:04}"), "rev-a").await;
        }
        let ops = fixture.operator("acme", "operator").await;
        Self { fixture, acme, ops }
    }

    async fn create(&self, name: &str, fields: GroupFields) -> Result<DeviceGroup, Error> {
        create_device_group(&self.fixture.app, &self.ops, &self.acme, name, None, fields).await
    }

    async fn tick(&self) -> usize {
        self.fixture.clock.advance(Duration::from_secs(1));
        reconcile::groups::tick(&self.fixture.app).await.expect("a turn").moved
    }

    async fn amend(&self, name: &str, fields: DeviceFields) {
        let app = &self.fixture.app;
        let seen = registry::device(app, &self.ops, &self.acme, &device(name)).await.expect("there").device.revision;
        amend_device(app, &self.ops, &self.acme, &device(name), seen, fields).await.expect("amended");
    }

    async fn site(&self, name: &str, site: &str) {
        self.amend(name, DeviceFields { site: Patch::Set(site.to_owned()), ..DeviceFields::default() }).await;
    }

    async fn tags(&self, name: &str) -> Vec<String> {
        let found = registry::device(&self.fixture.app, &self.ops, &self.acme, &device(name)).await.expect("there");
        found.device.tags.into_iter().collect()
    }

    async fn group(&self, name: &str) -> DeviceGroup {
        groups::device_group(&self.fixture.app, &self.ops, &self.acme, name).await.expect("there").0
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result.expect_err("refused") {
        Error::Conflict { code, .. } => code,
        Error::Invalid { .. } => "invalid",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn members_come_and_go_with_what_they_are() {
    let stage = Stage::set(3).await;
    stage.site("d0001", "berlin").await;
    let made = stage.create("berlin", asks("site:berlin")).await.expect("made");
    assert!(!made.settled);
    assert_eq!(stage.tick().await, 1);
    assert_eq!((stage.tags("d0001").await, stage.tags("d0000").await), (vec!["berlin".to_owned()], vec![]));
    assert!(stage.group("berlin").await.settled);
    // It stays as it is where nothing changes.
    assert_eq!(stage.tick().await, 0);

    stage.site("d0000", "berlin").await;
    stage.site("d0001", "rome").await;
    assert_eq!(stage.tick().await, 2);
    assert_eq!((stage.tags("d0000").await, stage.tags("d0001").await), (vec!["berlin".to_owned()], vec![]));
    let filter = JournalFilter { device: Some(device("d0000")), ..JournalFilter::default() };
    let told = events(&stage.fixture.app, &stage.ops, &stage.acme, filter, None, 1).await.expect("events");
    assert_eq!(told[0].entry.actor.name, "groups", "the journal says who moved it");

    // Another question, and everybody is asked again.
    let amended =
        amend_device_group(&stage.fixture.app, &stage.ops, &stage.acme, "berlin", None, asks("site:rome")).await;
    assert!(!amended.expect("amended").settled);
    assert_eq!(stage.tick().await, 2);
    assert_eq!((stage.tags("d0000").await, stage.tags("d0001").await), (vec![], vec!["berlin".to_owned()]));
}

#[tokio::test]
async fn nobody_else_says_who_is_in() {
    let stage = Stage::set(2).await;
    stage.site("d0000", "berlin").await;
    stage.create("berlin", asks("site:berlin")).await.expect("made");
    stage.tick().await;
    let app = &stage.fixture.app;
    for (name, member) in [("d0001", true), ("d0000", false)] {
        let moved = move_device(app, &stage.ops, &stage.acme, &device(name), "berlin", member).await;
        assert_eq!(code(moved), "group-dynamic");
    }
    // By hand a tag can be written; it does not stay.
    let tags = |tags: &[&str]| DeviceFields {
        tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
        ..DeviceFields::default()
    };
    stage.amend("d0001", tags(&["berlin", "own"])).await;
    stage.amend("d0000", tags(&[])).await;
    assert_eq!(stage.tick().await, 2);
    assert_eq!(
        (stage.tags("d0001").await, stage.tags("d0000").await),
        (vec!["own".to_owned()], vec!["berlin".to_owned()])
    );

    assert_eq!(code(stage.create("own", asks("site:x")).await), "tag-in-use");
    assert_eq!(code(stage.create("x", asks("online:true")).await), "invalid");
    assert_eq!(code(stage.create("x", asks("(")).await), "invalid");
    stage.create("plain", GroupFields::default()).await.expect("made");
    assert_eq!(
        code(amend_device_group(app, &stage.ops, &stage.acme, "plain", None, asks("site:x")).await),
        "group-static"
    );
    let inside = create_device_group(app, &stage.ops, &stage.acme, "y", Some("berlin".into()), GroupFields::default());
    assert_eq!(code(inside.await), "invalid");
    let within = create_device_group(app, &stage.ops, &stage.acme, "y", Some("plain".into()), asks("site:x"));
    assert_eq!(code(within.await), "invalid");
    let viewer = stage.fixture.operator("acme", "viewer").await;
    let denied = create_device_group(app, &viewer, &stage.acme, "z", None, asks("site:x")).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
    let beta = stage.fixture.operator("beta", "owner").await;
    let hidden = amend_device_group(app, &beta, &stage.acme, "berlin", None, asks("site:x")).await;
    assert!(matches!(hidden, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn who_has_too_many_tags_to_come_in_still_goes() {
    let stage = Stage::set(1).await;
    stage.site("d0000", "berlin").await;
    stage.create("berlin", asks("site:berlin")).await.expect("made");
    stage.tick().await;
    for group in ["rome", "italy"] {
        stage.create(group, asks("site:rome")).await.expect("made");
    }
    // One place is free when it leaves berlin, and two groups want it.
    let own = (1..limits::DEVICE_TAGS).map(|n| format!("t{n}")).chain(["berlin".to_owned()]).collect();
    let site = Patch::Set("rome".to_owned());
    stage.amend("d0000", DeviceFields { tags: Some(own), site, ..DeviceFields::default() }).await;
    assert_eq!(stage.tick().await, 1);
    let tags = stage.tags("d0000").await;
    assert_eq!((tags.len(), tags.contains(&"berlin".to_owned())), (limits::DEVICE_TAGS - 1, false));
    assert_eq!(stage.tick().await, 0);
}

#[tokio::test]
async fn a_group_that_goes_leaves_no_tag() {
    let stage = Stage::set(2).await;
    stage.create("all", asks("*")).await.expect("made");
    assert_eq!(stage.tick().await, 2);
    remove_device_group(&stage.fixture.app, &stage.ops, &stage.acme, "all", None).await.expect("removed");
    assert_eq!(stage.tick().await, 0);
    assert!(stage.tags("d0000").await.is_empty() && stage.tags("d0001").await.is_empty());
}

#[tokio::test]
async fn everybody_is_asked_page_after_page() {
    let most = usize::try_from(limits::DYNAMIC_GROUP_DEVICES_PER_BATCH).expect("small");
    let stage = Stage::set(most + 1).await;
    stage.create("all", asks("hardware:rev-a")).await.expect("made");
    assert_eq!(stage.tick().await, most + 1);
    assert_eq!(stage.tags(&format!("d{most:04}")).await, ["all"]);
    // Those that come later are found by when they came, however many came in that moment.
    for n in 0..=most {
        add_device(&stage.fixture.app, &stage.acme, &format!("e{n:04}"), "rev-a").await;
    }
    assert_eq!(stage.tick().await, most + 1);
    assert_eq!(stage.tags(&format!("e{most:04}")).await, ["all"]);
}

#[tokio::test]
async fn a_continuous_job_follows_its_members() {
    let stage = Stage::set(2).await;
    stage.site("d0000", "berlin").await;
    stage.create("berlin", asks("site:berlin")).await.expect("made");
    stage.tick().await;
    let app = &stage.fixture.app;
    let target = Selector { tags: ["berlin".to_owned()].into(), ..Selector::default() };
    let new = NewJob {
        id: "j".parse().expect("an id"),
        document: "{}".to_owned(),
        description: None,
        targets: vec![target],
        selection: Selection::Continuous,
        policy: serde_json::from_str("{}").expect("a policy"),
    };
    create_job(app, &stage.ops, &stage.acme, new).await.expect("made");
    let pending =
        async |name: &str| pending_of(app, &stage.ops, &stage.acme, &device(name)).await.expect("there").len();
    reconcile::jobs::tick(app).await.expect("a turn");
    assert_eq!((pending("d0000").await, pending("d0001").await), (1, 0));
    stage.site("d0000", "rome").await;
    stage.site("d0001", "berlin").await;
    assert_eq!(stage.tick().await, 2);
    for _ in 0..3 {
        stage.fixture.clock.advance(Duration::from_secs(60));
        reconcile::jobs::tick(app).await.expect("a turn");
    }
    assert_eq!((pending("d0000").await, pending("d0001").await), (0, 1), "who left has it no more, who came has it");
}
