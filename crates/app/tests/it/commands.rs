//! Commands: queued for whoever is away, sent in order, answered, given up on, and taken back.

use std::time::Duration;

use fleetward_app::commands::{
    AnswerError, NewCommand, answer, cancel_command, cancel_everywhere, command, commands, deliver, device_commands,
    poll, send_command,
};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::presence::Arrival;
use fleetward_app::reconcile::commands::tick;
use fleetward_app::{App, Ctx, Error, Idempotency, Principal};
use fleetward_base::{CommandId, DeviceId, limits};
use fleetward_core::access::DeviceRights;
use fleetward_core::command::{Answer, Command, OnExpiry, Reason, Refused, Status};
use fleetward_core::journal::Action;
use fleetward_core::lifecycle::Transition;
use fleetward_core::selector::Selector;
use fleetward_store::CommandFilter;

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, as_device, hang_up};

const SECOND: Duration = Duration::from_secs(1);

fn to(names: &[&str]) -> Selector {
    Selector { devices: names.iter().map(|name| device(name)).collect(), ..Selector::default() }
}

fn id(text: &str) -> CommandId {
    text.parse().expect("a command id")
}

fn new(name: &str) -> NewCommand {
    NewCommand { id: Some(id(name)), op: "restart".to_owned(), payload: b"{}".to_vec(), ..NewCommand::default() }
}

fn says(status: Status) -> Answer {
    Answer { status, reason: None, result: None, expected_version: None }
}

/// `gw-1` and `gw-2` of acme, and who runs them.
struct House {
    fixture: Fixture,
    told: std::sync::Arc<Told>,
    ops: Ctx,
}

impl House {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let told = Told::listen(&fixture.app);
        for name in ["gw-1", "gw-2"] {
            add_device(&fixture.app, &tenant("acme"), name, "rev-a").await;
        }
        let ops = fixture.operator("acme", "operator").await;
        Self { fixture, told, ops }
    }

    fn app(&self) -> &App {
        &self.fixture.app
    }

    async fn send(&self, names: &[&str], new: NewCommand) -> Result<Vec<Command>, Error> {
        send_command(self.app(), &self.ops, &tenant("acme"), to(names), new).await
    }

    /// A session of the device begins, and it subscribes.
    async fn connect(&self, name: &str) {
        let arrival = Arrival { epoch: 1, address: None, protocol: "mqtt-5" };
        self.app().presence().connected(&tenant("acme"), &device(name), self.app().now(), arrival);
        self.told.listens(&device(name), true);
        deliver(self.app(), &tenant("acme"), &device(name)).await;
    }

    fn sent(&self) -> Vec<String> {
        self.told.take_commands().iter().map(|it| format!("{}#{}", it.id, it.attempt)).collect()
    }

    async fn answers(&self, name: &str, command: &str, status: Status) -> Result<Status, AnswerError> {
        let ctx = as_device(self.app(), &tenant("acme"), name);
        answer(self.app(), &ctx, &id(command), says(status)).await.map(|it| it.command.status)
    }

    async fn stands(&self, name: &str, of: &str) -> Status {
        let found = command(self.app(), &self.ops, &tenant("acme"), &device(name), &id(of)).await;
        found.expect("it is there").command.status
    }

    fn passes(&self, secs: u32) {
        self.fixture.clock.advance(SECOND * secs);
    }
}

#[tokio::test]
async fn what_waits_is_sent_in_order_when_the_device_comes() {
    let house = House::new().await;
    for name in ["c1", "c2"] {
        house.send(&["gw-1"], new(name)).await.expect("queued");
    }
    house.send(&["gw-1"], NewCommand { lane: Some("fast".into()), ..new("c3") }).await.expect("queued");
    assert!(house.sent().is_empty(), "nobody is there");
    house.connect("gw-1").await;
    let outgoing = house.told.take_commands();
    let shown: Vec<_> = outgoing.iter().map(|it| (it.id.as_str(), it.attempt, it.op.as_str(), &*it.payload)).collect();
    assert_eq!(shown, [("c1", 1, "restart", b"{}".as_slice()), ("c3", 1, "restart", b"{}")], "one for each lane");
    assert_eq!(outgoing[0].expires_at, house.app().now().plus(SECOND * 24 * 3600));
    assert_eq!(house.answers("gw-1", "c1", Status::Running).await.expect("taken"), Status::Running);
    assert!(house.sent().is_empty(), "the lane is held");
    let ctx = as_device(house.app(), &tenant("acme"), "gw-1");
    let reason = Some(Reason { code: "NO_DISK".into(), text: Some("the disk is full".into()) });
    let end = Answer { reason: reason.clone(), result: Some(r#"{"free":{"s":"0"}}"#.into()), ..says(Status::Failed) };
    assert!(answer(house.app(), &ctx, &id("c1"), end.clone()).await.expect("taken").changed);
    assert_eq!(house.sent(), ["c2#1"], "its end lets the next one go");
    assert!(!answer(house.app(), &ctx, &id("c1"), end).await.expect("taken again").changed);
    let kept = command(house.app(), &house.ops, &tenant("acme"), &device("gw-1"), &id("c1")).await.expect("kept");
    assert_eq!((kept.command.reason, kept.command.result.as_deref()), (reason, Some(r#"{"free":{"s":"0"}}"#)));
    assert_eq!((kept.command.finished_at, kept.payload), (Some(house.app().now()), b"{}".to_vec()));

    let filter = JournalFilter { device: Some(device("gw-1")), ..JournalFilter::default() };
    let events = journal::events(house.app(), &house.ops, &tenant("acme"), filter, None, 50).await.expect("events");
    let of_c1: Vec<_> = events.iter().filter(|it| it.entry.subject.as_deref() == Some("c1")).collect();
    let mut actions: Vec<Action> = of_c1.iter().map(|it| it.entry.action).collect();
    actions.sort();
    let mut expected = [Action::CommandQueued, Action::CommandSent, Action::CommandStarted, Action::CommandFailed];
    expected.sort();
    assert_eq!(actions, expected, "one row for each step");
    assert!(of_c1.iter().all(|it| !it.entry.detail.to_string().contains("full")), "no words of the device's");
}

#[tokio::test]
async fn sending_again_does_nothing_twice() {
    let house = House::new().await;
    let first = house.send(&["gw-1"], new("c1")).await.expect("queued");
    house.passes(5);
    assert_eq!(house.send(&["gw-1"], new("c1")).await.expect("the same"), first);
    let other = NewCommand { payload: b"[]".to_vec(), ..new("c1") };
    let clash = house.send(&["gw-1"], other).await.expect_err("another");
    assert!(matches!(clash, Error::Conflict { code: "command-exists", .. }), "{clash}");
    // Without an id of its own, a request is known by its key.
    let mut ctx = house.ops.clone();
    ctx.idempotency = Some(Idempotency { key: "k".into(), request_hash: [7; 32] });
    let acme = tenant("acme");
    let send = || {
        let nameless = NewCommand { id: None, ..new("x") };
        send_command(house.app(), &ctx, &acme, to(&["gw-1", "gw-2"]), nameless)
    };
    let made = send().await.expect("queued");
    assert_eq!((made.len(), &made[0].id), (2, &made[1].id), "one id, two devices");
    assert_eq!(send().await.expect("the same"), made);
    let all =
        commands(house.app(), &house.ops, &tenant("acme"), CommandFilter::default(), None, 10).await.expect("list");
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn nothing_is_sent_after_its_time_and_what_comes_behind_knows() {
    let house = House::new().await;
    let short = |name| NewCommand { life: Some(SECOND * 10), ..new(name) };
    house.send(&["gw-1"], NewCommand { on_expiry: Some(OnExpiry::CancelLane), ..short("c1") }).await.expect("queued");
    house.send(&["gw-1"], new("c2")).await.expect("queued");
    house.send(&["gw-2"], short("c3")).await.expect("queued");
    house.passes(10);
    house.connect("gw-1").await;
    assert!(house.sent().is_empty());
    assert_eq!(house.stands("gw-1", "c1").await, Status::Expired);
    assert_eq!(house.stands("gw-1", "c2").await, Status::Canceled, "it makes no sense without the other");
    assert_eq!(house.stands("gw-2", "c3").await, Status::Queued, "nobody has looked");
    tick(house.app()).await.expect("a tick");
    assert_eq!(house.stands("gw-2", "c3").await, Status::Expired);
    let late = house.answers("gw-2", "c3", Status::Succeeded).await;
    assert!(matches!(late, Err(AnswerError::Refused(Refused::Terminal(Status::Expired)))));
}

#[tokio::test]
async fn what_is_not_answered_is_sent_again_and_given_up_on() {
    let house = House::new().await;
    let new = NewCommand { ack_timeout: Some(SECOND * 5), max_attempts: Some(3), ..new("c1") };
    house.send(&["gw-1"], new).await.expect("queued");
    house.connect("gw-1").await;
    assert_eq!(house.sent(), ["c1#1"]);
    tick(house.app()).await.expect("a tick");
    deliver(house.app(), &tenant("acme"), &device("gw-1")).await;
    assert!(house.sent().is_empty(), "it was sent on this connection");
    house.passes(1);
    house.connect("gw-1").await;
    assert_eq!(house.sent(), ["c1#2"], "what was on its way may be lost");
    // A server that starts anew knows all that from the rows.
    let anew = house.fixture.second();
    let told = Told::listen(&anew);
    told.listens(&device("gw-1"), true);
    anew.presence().connected(
        &tenant("acme"),
        &device("gw-1"),
        anew.now(),
        Arrival { epoch: 2, address: None, protocol: "mqtt-5" },
    );
    house.passes(5);
    tick(&anew).await.expect("a tick");
    assert_eq!(told.take_commands().iter().map(|it| it.attempt).collect::<Vec<_>>(), [3], "the timer is in the row");
    house.passes(5);
    tick(&anew).await.expect("a tick");
    assert_eq!(house.stands("gw-1", "c1").await, Status::TimedOut);
    assert_eq!(house.answers("gw-1", "c1", Status::Succeeded).await.expect("late"), Status::Succeeded);
    assert!(house.sent().is_empty());
}

#[tokio::test]
async fn what_does_not_end_lets_the_next_one_go() {
    let house = House::new().await;
    house.connect("gw-1").await;
    house.send(&["gw-1"], NewCommand { run_timeout: Some(SECOND * 30), ..new("c1") }).await.expect("sent");
    house.send(&["gw-1"], new("c2")).await.expect("queued");
    house.answers("gw-1", "c1", Status::Running).await.expect("taken");
    assert_eq!(house.sent(), ["c1#1"]);
    house.passes(30);
    tick(house.app()).await.expect("a tick");
    assert_eq!(house.sent(), ["c2#1"]);
    assert_eq!(house.stands("gw-1", "c1").await, Status::TimedOut);
    let back = house.answers("gw-1", "c1", Status::Running).await;
    assert!(matches!(back, Err(AnswerError::Refused(Refused::InvalidTransition { .. }))), "its lane is another's");
}

#[tokio::test]
async fn an_hour_to_wait_for() {
    let house = House::new().await;
    house.connect("gw-1").await;
    house.send(&["gw-1"], NewCommand { wait: Some(SECOND * 60), ..new("c1") }).await.expect("queued");
    house.send(&["gw-1"], new("c2")).await.expect("queued");
    house.passes(59);
    tick(house.app()).await.expect("a tick");
    assert!(house.sent().is_empty(), "the head holds its lane");
    house.passes(1);
    tick(house.app()).await.expect("a tick");
    assert_eq!(house.sent(), ["c1#1"]);
}

#[tokio::test]
async fn a_moment_to_wait_for() {
    let house = House::new().await;
    house.connect("gw-1").await;
    let at = |secs: u64| Some(house.app().now().plus(SECOND * u32::try_from(secs).expect("small")));
    let over = NewCommand { not_before: Some(house.app().now().minus(SECOND)), ..new("c1") };
    assert_eq!(house.send(&["gw-1"], over).await.expect("sent")[0].not_before, None, "that is over");
    let later = NewCommand { not_before: at(60), lane: Some("b".into()), ..new("c2") };
    assert_eq!(house.send(&["gw-1"], later).await.expect("queued")[0].not_before, at(60));
    for (field, wrong) in [
        ("not_before", NewCommand { not_before: at(60), wait: Some(SECOND), ..new("c3") }),
        ("not_before", NewCommand { not_before: at(60), life: Some(SECOND * 60), ..new("c3") }),
        ("wait_s", NewCommand { wait: Some(SECOND * 60), life: Some(SECOND * 60), ..new("c3") }),
    ] {
        let refused = house.send(&["gw-1"], wrong).await;
        assert!(matches!(&refused, Err(Error::Invalid { field: said, .. }) if said == field), "{refused:?}");
    }
    house.fixture.clock.advance(SECOND * 60);
    tick(house.app()).await.expect("a tick");
    assert_eq!(house.stands("gw-1", "c2").await, Status::Sent);
}

#[tokio::test]
async fn the_newest_of_a_kind_takes_the_place_of_what_waits() {
    let house = House::new().await;
    let keyed = |name| NewCommand { dedupe: Some("led".into()), ..new(name) };
    house.send(&["gw-1"], keyed("c1")).await.expect("queued");
    house.send(&["gw-1"], keyed("c2")).await.expect("queued");
    house.connect("gw-1").await;
    assert_eq!(house.sent(), ["c2#1"]);
    house.send(&["gw-1"], keyed("c3")).await.expect("queued");
    assert_eq!(house.stands("gw-1", "c1").await, Status::Superseded);
    assert_eq!(house.stands("gw-1", "c2").await, Status::Sent, "the device has it");
}

#[tokio::test]
async fn commands_are_taken_back() {
    let house = House::new().await;
    house.connect("gw-1").await;
    house.send(&["gw-1", "gw-2"], new("c1")).await.expect("queued");
    house.send(&["gw-1"], new("c2")).await.expect("queued");
    assert_eq!(house.sent(), ["c1#1"]);
    let acme = tenant("acme");
    let cancel = |name: &'static str, of: &'static str, force| {
        let (app, ops, acme) = (house.app(), &house.ops, &acme);
        async move { cancel_command(app, ops, acme, &device(name), &id(of), force).await.map(|it| it.status) }
    };
    let held = cancel("gw-1", "c1", false).await.expect_err("the device has it");
    assert!(matches!(held, Error::Conflict { code: "command-in-flight", .. }));
    let status = cancel_everywhere(house.app(), &house.ops, &acme, &id("c1"), false).await.expect("as far as it goes");
    assert_eq!((status.canceled, status.left), (1, 1));
    assert_eq!(cancel("gw-1", "c1", true).await.expect("by force"), Status::Canceled);
    assert_eq!(house.sent(), ["c2#1"], "the lane is free");
    assert_eq!(cancel("gw-1", "c1", false).await.expect("harmless"), Status::Canceled);
    let late = house.answers("gw-1", "c1", Status::Succeeded).await;
    assert!(matches!(late, Err(AnswerError::Refused(Refused::Terminal(Status::Canceled)))));
    house.answers("gw-1", "c2", Status::Succeeded).await.expect("taken");
    assert!(matches!(cancel("gw-1", "c2", true).await, Err(Error::Conflict { code: "command-ended", .. })));
    assert!(matches!(cancel("gw-1", "none", true).await, Err(Error::NotFound { .. })));
    let none = cancel_everywhere(house.app(), &house.ops, &acme, &id("none"), true).await;
    assert!(matches!(none, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_device_without_messages_polls() {
    let house = House::new().await;
    house.send(&["gw-1"], new("c1")).await.expect("queued");
    house.send(&["gw-1"], new("c2")).await.expect("queued");
    let gw = as_device(house.app(), &tenant("acme"), "gw-1");
    let polled = |found: Result<Vec<fleetward_app::OutgoingCommand>, Error>| {
        found.expect("polled").iter().map(|it| format!("{}#{}", it.id, it.attempt)).collect::<Vec<_>>()
    };
    assert_eq!(polled(poll(house.app(), &gw).await), ["c1#1"]);
    assert!(polled(poll(house.app(), &gw).await).is_empty(), "its answer is waited for");
    house.passes(60);
    assert_eq!(polled(poll(house.app(), &gw).await), ["c1#2"], "it may have been lost");
    house.answers("gw-1", "c1", Status::Succeeded).await.expect("taken");
    assert_eq!(polled(poll(house.app(), &gw).await), ["c2#1"]);

    let mut held = gw.clone();
    if let Principal::Device { rights, .. } = &mut held.principal {
        *rights = DeviceRights::Restricted;
    }
    assert!(matches!(poll(house.app(), &held).await, Err(Error::NotFound { .. })));
    let word = answer(house.app(), &held, &id("c2"), says(Status::Succeeded)).await;
    assert!(matches!(word, Err(AnswerError::App(Error::NotFound { .. }))));
}

#[tokio::test]
async fn two_words_at_once_have_one_winner() {
    let house = House::new().await;
    house.connect("gw-1").await;
    let sent = house.send(&["gw-1"], new("c1")).await.expect("sent");
    let gw = as_device(house.app(), &tenant("acme"), "gw-1");
    let word = |status| Answer { expected_version: Some(sent[0].version + 1), ..says(status) };
    let command = id("c1");
    let (one, other) = tokio::join!(
        answer(house.app(), &gw, &command, word(Status::Succeeded)),
        answer(house.app(), &gw, &command, word(Status::Failed)),
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let lost = one.err().or(other.err());
    assert!(matches!(lost, Some(AnswerError::Refused(Refused::VersionMismatch { .. }))), "{lost:?}");
}

#[tokio::test]
async fn who_may_and_what_is_good() {
    let house = House::new().await;
    let acme = tenant("acme");
    let viewer = house.fixture.operator("acme", "viewer").await;
    let abroad = house.fixture.operator("zenith", "operator").await;
    let app = house.app();
    assert!(matches!(send_command(app, &viewer, &acme, to(&["gw-1"]), new("c1")).await, Err(Error::Denied { .. })));
    assert!(matches!(send_command(app, &abroad, &acme, to(&["gw-1"]), new("c1")).await, Err(Error::NotFound { .. })));
    house.send(&["gw-1"], new("c1")).await.expect("queued");
    assert!(command(app, &viewer, &acme, &device("gw-1"), &id("c1")).await.is_ok());
    assert!(matches!(command(app, &abroad, &acme, &device("gw-1"), &id("c1")).await, Err(Error::NotFound { .. })));
    let neighbour = as_device(app, &acme, "gw-2");
    let word = answer(app, &neighbour, &id("c1"), says(Status::Succeeded)).await;
    assert!(matches!(word, Err(AnswerError::App(Error::NotFound { .. }))));

    let fields = [
        (NewCommand { op: "a b".into(), ..new("x") }, "op"),
        (NewCommand { lane: Some("a/b".into()), ..new("x") }, "lane"),
        (NewCommand { dedupe: Some(String::new()), ..new("x") }, "dedupe"),
        (NewCommand { content_type: Some("json".into()), ..new("x") }, "content_type"),
        (NewCommand { life: Some(Duration::ZERO), ..new("x") }, "ttl_s"),
        (NewCommand { life: Some(limits::COMMAND_LIFE + SECOND), ..new("x") }, "ttl_s"),
        (NewCommand { max_attempts: Some(0), ..new("x") }, "max_attempts"),
        (NewCommand { wait: Some(SECOND * 24 * 3600), ..new("x") }, "wait_s"),
        (NewCommand { run_timeout: Some(limits::COMMAND_TIMEOUT + SECOND), ..new("x") }, "run_timeout_s"),
    ];
    for (bad, field) in fields {
        let refused = house.send(&["gw-1"], bad).await.expect_err("refused");
        assert!(matches!(&refused, Error::Invalid { field: found, .. } if found == field), "{field}: {refused}");
    }
    let long = NewCommand { payload: vec![0; limits::COMMAND_PAYLOAD_BYTES + 1], ..new("x") };
    assert!(matches!(house.send(&["gw-1"], long).await, Err(Error::TooLarge { .. })));
    assert!(matches!(house.send(&["gw-1", "gw-9"], new("x")).await, Err(Error::NotFound { what: "device" })));
    let nobody = Selector { site: Some("nowhere".into()), ..Selector::default() };
    let none = send_command(app, &house.ops, &acme, nobody, new("x")).await;
    assert!(matches!(none, Err(Error::Conflict { code: "no-devices", .. })));
}

#[tokio::test]
async fn a_queue_has_its_end_and_its_memory_too() {
    let house = House::new().await;
    let acme = tenant("acme");
    for number in 0..limits::COMMANDS_QUEUED {
        house.send(&["gw-1"], new(&format!("c{number:03}"))).await.expect("queued");
    }
    let full = house.send(&["gw-1"], new("more")).await;
    assert!(matches!(full, Err(Error::Conflict { code: "command-queue-full", .. })));
    let page =
        device_commands(house.app(), &house.ops, &acme, &device("gw-1"), None, Some(3), 10).await.expect("a page");
    assert_eq!(page.iter().map(|it| it.command.id.as_str()).collect::<Vec<_>>(), ["c001", "c000"]);
    assert_eq!(page[0].payload_bytes, 2);
    let gone: DeviceId = device("gw-1");
    let gone = fleetward_app::registry::change_status(
        house.app(),
        &house.ops_owner().await,
        &acme,
        &gone,
        Transition::Decommission,
    )
    .await;
    gone.expect("decommissioned");
    assert_eq!(house.stands("gw-1", "c000").await, Status::Canceled);
    let refused = house.send(&["gw-1"], new("late")).await;
    assert!(matches!(refused, Err(Error::Conflict { code: "life-cycle", .. })));
    let days = Duration::from_secs(24 * 3600) * limits::COMMAND_RETENTION_DAYS;
    house.fixture.clock.advance(days + SECOND);
    fleetward_app::reconcile::retention::tick(house.app()).await.expect("forgotten");
    let left = commands(house.app(), &house.ops, &acme, CommandFilter::default(), None, 10).await.expect("list");
    assert!(left.is_empty());
}

impl House {
    async fn ops_owner(&self) -> Ctx {
        self.fixture.operator("acme", "owner").await
    }
}

/// What is queued or free to go after a commit is sent, though whoever brought it about waits for it no longer.
#[tokio::test]
async fn commands_are_sent_though_the_caller_hangs_up() {
    let house = House::new().await;
    house.connect("gw-1").await;
    let stands = async |of: &str, wanted: Status| {
        let found = command(house.app(), &house.ops, &tenant("acme"), &device("gw-1"), &id(of)).await;
        found.is_ok_and(|it| it.command.status == wanted)
    };
    let sent = async |wanted: &str| {
        while !house.sent().contains(&wanted.to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    hang_up(house.app(), house.send(&["gw-1"], new("a")), async |_| {
        stands("a", Status::Queued).await || stands("a", Status::Sent).await
    })
    .await;
    sent("a#1").await;
    house.send(&["gw-1"], new("b")).await.expect("it waits behind the first");
    assert!(house.sent().is_empty());
    let answer = house.answers("gw-1", "a", Status::Succeeded);
    hang_up(house.app(), answer, async |_| stands("a", Status::Succeeded).await).await;
    sent("b#1").await;
    house.send(&["gw-1"], new("c")).await.expect("it waits behind the second");
    let cancel = cancel_command(house.app(), &house.ops, &tenant("acme"), &device("gw-1"), &id("b"), true).await;
    cancel.expect("by force");
    sent("c#1").await;
}
