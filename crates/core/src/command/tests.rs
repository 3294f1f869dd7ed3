use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The device listens to every media type.
const ALL: &dyn Fn(&str) -> bool = &|_| true;

const SECOND: Duration = Duration::from_secs(1);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// Queued at 0, and good until 100.
fn command(seq: u64, lane: &str) -> Command {
    Command {
        id: format!("c{seq}").parse().expect("an id"),
        device: "gw-1".parse().expect("a name"),
        seq,
        op: "restart".to_owned(),
        content_type: "application/json".to_owned(),
        lane: lane.to_owned(),
        dedupe: None,
        not_before: None,
        expires_at: at(100),
        ack_timeout: SECOND * 10,
        run_timeout: SECOND * 30,
        max_attempts: 2,
        on_expiry: OnExpiry::Continue,
        status: Status::Queued,
        attempts: 0,
        reason: None,
        result: None,
        version: 1,
        created_by: "test".to_owned(),
        created_at: at(0),
        sent_at: None,
        started_at: None,
        updated_at: at(0),
        finished_at: None,
    }
}

fn says(status: Status) -> Answer {
    Answer { status, reason: None, result: None, expected_version: None }
}

fn stands(status: Status) -> Command {
    let attempts = u32::from(!matches!(status, Status::Queued | Status::Expired | Status::Superseded));
    let finished_at = (!status.is_open() && status != Status::TimedOut).then(|| at(5));
    Command { status, attempts, sent_at: Some(at(1)), finished_at, ..command(1, "default") }
}

#[test]
fn what_a_device_may_say() {
    use Status as S;
    let ends = [S::Succeeded, S::Failed, S::Rejected, S::TimedOut];
    for &from in S::ALL {
        for &to in S::ALL {
            let changed = match from {
                S::Sent => to == S::Running || ends.contains(&to),
                S::Running | S::TimedOut => ends.contains(&to),
                _ => false,
            };
            let outcome = apply(&stands(from), &says(to), at(9));
            let repeated = from == to && matches!(from, S::Running | S::Succeeded | S::Failed | S::Rejected);
            match outcome {
                Ok(Applied::Changed(next)) => {
                    assert!(changed, "{from} {to}");
                    assert_eq!((next.status, next.version, next.finished_at.is_some()), (to, 2, to != S::Running));
                }
                Ok(Applied::Repeated) => assert!(repeated, "{from} {to}"),
                Err(_) => assert!(!changed && !repeated, "{from} {to}"),
            }
        }
    }
    let again = Command { status: S::Queued, attempts: 1, ..command(1, "default") };
    assert!(matches!(apply(&again, &says(S::Succeeded), at(9)), Ok(Applied::Changed(_))), "it was sent once");
    assert_eq!(apply(&stands(S::Canceled), &says(S::Failed), at(9)), Err(Refused::Terminal(S::Canceled)));
}

#[test]
fn late_words_and_double_words() {
    let Ok(Applied::Changed(given_up)) = plan_one(&stands(Status::Sent), at(200)).ok_or(()).map(Applied::Changed)
    else {
        panic!("it is given up on")
    };
    assert_eq!((given_up.status, given_up.is_terminal()), (Status::TimedOut, false));
    let Ok(Applied::Changed(late)) = apply(&given_up, &says(Status::Succeeded), at(300)) else { panic!("a late word") };
    assert_eq!((late.status, late.reason.is_none(), late.finished_at), (Status::Succeeded, true, Some(at(300))));
    let mut twice = says(Status::Succeeded);
    assert_eq!(apply(&late, &twice, at(301)), Ok(Applied::Repeated));
    twice.expected_version = Some(late.version - 1);
    assert_eq!(apply(&late, &twice, at(301)), Ok(Applied::Repeated));
    twice.result = Some("{}".to_owned());
    assert!(matches!(apply(&late, &twice, at(301)), Err(Refused::VersionMismatch { .. })));
    // Two at once: both saw the same version, one is second.
    let running = stands(Status::Running);
    let first = Answer { expected_version: Some(1), ..says(Status::Succeeded) };
    let Ok(Applied::Changed(done)) = apply(&running, &first, at(9)) else { panic!("the first") };
    let second = Answer { expected_version: Some(1), ..says(Status::Failed) };
    assert_eq!(apply(&done, &second, at(9)), Err(Refused::VersionMismatch { expected: 1, found: 2 }));
}

fn plan_one(command: &Command, now: Timestamp) -> Option<Command> {
    plan(std::slice::from_ref(command), now, Contact::None, ALL).pop().map(|planned| planned.command)
}

#[test]
fn reasons_and_results_have_their_bounds() {
    let with = |code: &str, text: Option<&str>, result: usize| Answer {
        reason: Some(Reason { code: code.to_owned(), text: text.map(str::to_owned) }),
        result: Some("x".repeat(result)),
        ..says(Status::Failed)
    };
    let check = |answer: &Answer| apply(&stands(Status::Running), answer, at(9)).map(drop);
    assert_eq!(check(&with("NO_DISK-1", Some("the disk is full"), limits::COMMAND_RESULT_BYTES)), Ok(()));
    assert_eq!(check(&with("A", None, limits::COMMAND_RESULT_BYTES + 1)), Err(Refused::LongResult));
    for bad in ["", "no", "A B", &"A".repeat(65)] {
        assert_eq!(check(&with(bad, None, 0)), Err(Refused::BadReason), "{bad}");
    }
    assert_eq!(check(&with("A", Some("a\nb"), 0)), Err(Refused::BadReason));
}

#[test]
fn what_can_be_taken_back() {
    let check = |status, force| cancel(&stands(status), force, at(9)).map(|next| next.map(|next| next.status));
    assert_eq!(check(Status::Queued, false), Ok(Some(Status::Canceled)));
    assert_eq!(check(Status::Canceled, false), Ok(None));
    assert_eq!(check(Status::Sent, false), Err(Refused::InFlight(Status::Sent)));
    assert_eq!(check(Status::Running, true), Ok(Some(Status::Canceled)));
    assert_eq!(check(Status::TimedOut, true), Ok(Some(Status::Canceled)));
    assert_eq!(check(Status::Succeeded, true), Err(Refused::Terminal(Status::Succeeded)));
    let again = Command { status: Status::Queued, attempts: 1, ..command(1, "default") };
    assert_eq!(cancel(&again, false, at(9)), Err(Refused::InFlight(Status::Queued)), "the device may have it");
}

#[test]
fn only_what_waits_is_superseded() {
    let keyed = |seq, op: &str, key: Option<&str>| Command {
        op: op.to_owned(),
        dedupe: key.map(str::to_owned),
        ..command(seq, "default")
    };
    let newer = keyed(2, "set", Some("led"));
    let check = |older: &Command| supersede(older, &newer, at(9)).map(|older| older.status);
    assert_eq!(check(&keyed(1, "set", Some("led"))), Some(Status::Superseded));
    assert_eq!(check(&keyed(1, "set", Some("fan"))), None);
    assert_eq!(check(&keyed(1, "get", Some("led"))), None);
    assert_eq!(check(&keyed(1, "set", None)), None);
    assert_eq!(check(&keyed(2, "set", Some("led"))), None, "itself");
    for &status in Status::ALL {
        let older = Command { op: "set".to_owned(), dedupe: Some("led".to_owned()), ..stands(status) };
        let older = Command { id: "older".parse().expect("an id"), ..older };
        assert_eq!(check(&older).is_some(), status == Status::Queued, "{status}");
    }
    assert_eq!(supersede(&keyed(1, "set", None), &keyed(2, "set", None), at(9)), None, "no key, no rule");
}

#[test]
fn lanes() {
    let open = [command(1, "default"), command(2, "default"), command(3, "fast"), command(4, "fast")];
    let sent = |open: &[Command], now, contact| -> Vec<u64> {
        plan(open, now, contact, ALL).iter().filter(|it| it.send).map(|it| it.command.seq).collect()
    };
    const NEW: Contact = Contact::Since(Timestamp::from_secs(1000));
    assert_eq!(sent(&open, at(1), Contact::Since(at(0))), [1, 3]);
    assert!(sent(&open, at(1), Contact::None).is_empty());
    assert!(sent(&open, at(100), NEW).is_empty(), "their time is over");
    let mut later = open.clone();
    later[0].not_before = Some(at(50));
    assert_eq!(sent(&later, at(49), NEW), [3], "the head holds its lane");
    assert_eq!(sent(&later, at(50), NEW), [1, 3]);
}

#[test]
fn timers() {
    let becomes = |command: &Command, now| plan_one(command, now).map(|next| (next.status, next.version));
    let sent = stands(Status::Sent);
    assert_eq!(becomes(&sent, at(10)), None);
    assert_eq!(becomes(&sent, at(11)), Some((Status::Queued, 2)), "not answered: once more");
    let last = Command { attempts: 2, ..sent.clone() };
    assert_eq!(becomes(&last, at(11)), Some((Status::TimedOut, 2)));
    assert_eq!(becomes(&sent, at(100)), Some((Status::TimedOut, 2)), "it may have arrived");
    let running = Command { started_at: Some(at(90)), ..stands(Status::Running) };
    assert_eq!(becomes(&running, at(119)), None, "what runs does not expire");
    assert_eq!(becomes(&running, at(120)), Some((Status::TimedOut, 2)));
    assert_eq!(becomes(&command(1, "a"), at(100)), Some((Status::Expired, 2)));
    // On a new contact what was sent goes again, as often as it may.
    let again = plan(std::slice::from_ref(&sent), at(5), Contact::Since(at(5)), ALL);
    assert_eq!(again.iter().map(|it| (it.send, it.command.attempts)).collect::<Vec<_>>(), [(true, 2)]);
    assert!(plan(&[last], at(5), Contact::Since(at(5)), ALL).is_empty());
    assert!(plan(&[sent], at(5), Contact::Since(at(1)), ALL).is_empty(), "it was sent on this contact");
}

#[test]
fn a_lane_that_makes_no_sense_any_more() {
    let mut open = [command(1, "a"), command(2, "a"), command(3, "b")];
    open[0].expires_at = at(10);
    open[0].on_expiry = OnExpiry::CancelLane;
    let ends: Vec<_> = plan(&open, at(10), Contact::Since(at(9)), ALL)
        .into_iter()
        .map(|it| (it.command.seq, it.command.status))
        .collect();
    assert_eq!(ends, [(1, Status::Expired), (2, Status::Canceled), (3, Status::Sent)]);
}

#[test]
fn names_and_media_types() {
    assert!(is_name("restart-app_1.2") && is_name(&"x".repeat(64)));
    assert!(!is_name("") && !is_name(".x") && !is_name("a/b") && !is_name("a b") && !is_name(&"x".repeat(65)));
    assert!(is_content_type("application/json") && is_content_type("text/plain; charset=utf-8"));
    assert!(!is_content_type("json") && !is_content_type("/json") && !is_content_type("a/\n"));
}

/// A thing that happens to a queue.
#[derive(Clone, Debug)]
enum Happens {
    Queue {
        lane: u8,
        key: Option<bool>,
        life: u8,
        wait: u8,
        breaks: bool,
    },
    Passes(u8),
    /// On a contact that began so many seconds ago.
    Look(Option<u8>),
    Says(u8, Status),
    Cancel(u8, bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    let statuses = prop::sample::select(Status::ALL.to_vec());
    prop_oneof![
        3 => (0..3_u8, any::<Option<bool>>(), 1..60_u8, 0..20_u8, any::<bool>())
            .prop_map(|(lane, key, life, wait, breaks)| Happens::Queue { lane, key, life, wait, breaks }),
        2 => (0..20_u8).prop_map(Happens::Passes),
        4 => prop::option::of(0..20_u8).prop_map(Happens::Look),
        4 => (any::<u8>(), statuses).prop_map(|(which, status)| Happens::Says(which, status)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, force)| Happens::Cancel(which, force)),
    ]
}

/// The queue of one device, and what reached it.
#[derive(Default)]
struct Queue {
    now: i64,
    all: Vec<Command>,
}

impl Queue {
    fn queue(&mut self, lane: u8, key: Option<bool>, life: u8, wait: u8, breaks: bool) {
        let seq = self.all.len() as u64 + 1;
        let now = at(self.now);
        let mut new = command(seq, ["default", "a", "b"][usize::from(lane)]);
        new.dedupe = key.map(|key| key.to_string());
        new.expires_at = now.plus(SECOND * u32::from(life));
        new.not_before = (wait > 10).then(|| now.plus(SECOND * u32::from(wait)));
        new.on_expiry = if breaks { OnExpiry::CancelLane } else { OnExpiry::Continue };
        for older in &mut self.all {
            if let Some(gone) = supersede(older, &new, now) {
                assert_eq!((older.status, older.attempts), (Status::Queued, 0), "only what waits is replaced");
                *older = gone;
            }
        }
        self.all.push(new);
    }

    fn look(&mut self, contact: Contact) {
        let now = at(self.now);
        let open: Vec<Command> = self.all.iter().filter(|it| it.status.is_open()).cloned().collect();
        for planned in plan(&open, now, contact, ALL) {
            let place = self.all.iter_mut().find(|it| it.seq == planned.command.seq).expect("one of them");
            assert_eq!(planned.command.version, place.version + 1);
            if planned.send {
                assert!(now < planned.command.expires_at, "sent after its time");
                assert!(planned.command.not_before.is_none_or(|hour| hour <= now), "sent before its hour");
                assert!(planned.command.attempts <= planned.command.max_attempts, "sent too often");
                assert_ne!(contact, Contact::None);
            }
            *place = planned.command;
        }
        self.hold_invariants();
        assert!(plan(&self.open(), now, Contact::None, ALL).is_empty(), "nothing is left over");
        for command in self.open() {
            assert!(due(&command, now).is_some_and(|due| due > now), "it would be looked at for ever");
        }
    }

    fn open(&self) -> Vec<Command> {
        self.all.iter().filter(|it| it.status.is_open()).cloned().collect()
    }

    fn hold_invariants(&self) {
        let mut in_flight: BTreeMap<&str, u32> = BTreeMap::new();
        for command in &self.all {
            *in_flight.entry(&command.lane).or_default() += u32::from(command.status.is_in_flight());
            assert!(!(command.status.is_open() && command.is_terminal()));
        }
        assert!(in_flight.values().all(|count| *count <= 1), "two under way in one lane");
        // In order: whatever was ever sent has nothing untouched before it in its lane.
        for (index, later) in self.all.iter().enumerate().filter(|(_, it)| it.attempts > 0) {
            let waits = |it: &&Command| it.lane == later.lane && it.is_untouched();
            assert!(!self.all[..index].iter().any(|it| waits(&it)), "overtaken within its lane");
        }
    }
}

proptest! {
    #[test]
    fn queues_keep_their_promises(story in prop::collection::vec(happens(), 1..60)) {
        let mut queue = Queue::default();
        for event in story {
            match event {
                Happens::Queue { lane, key, life, wait, breaks } => queue.queue(lane, key, life, wait, breaks),
                Happens::Passes(secs) => queue.now += i64::from(secs),
                Happens::Look(ago) => {
                    let since = |ago| Contact::Since(at(queue.now - i64::from(ago)));
                    queue.look(ago.map_or(Contact::None, since));
                }
                Happens::Says(which, status) => {
                    let (count, now) = (queue.all.len().max(1), at(queue.now));
                    if let Some(place) = queue.all.get_mut(usize::from(which) % count)
                        && let Ok(Applied::Changed(next)) = apply(place, &says(status), now)
                    {
                        prop_assert!(!place.is_terminal() && place.attempts > 0);
                        *place = next;
                    }
                    queue.hold_invariants();
                }
                Happens::Cancel(which, force) => {
                    let (count, now) = (queue.all.len().max(1), at(queue.now));
                    if let Some(place) = queue.all.get_mut(usize::from(which) % count)
                        && let Ok(Some(next)) = cancel(place, force, now)
                    {
                        prop_assert!(force || place.is_untouched());
                        *place = next;
                    }
                }
            }
        }
    }
}

#[test]
fn what_the_device_would_not_hear_waits_and_says_so() {
    let cbor = |seq| Command { content_type: "application/cbor".to_owned(), ..command(seq, "a") };
    let (one, other) = (cbor(1), command(2, "b"));
    let json: &dyn Fn(&str) -> bool = &|media| media == "application/json";
    let planned = plan(&[one.clone(), other], at(5), Contact::Since(at(5)), json);
    let shown: Vec<_> = planned.iter().map(|it| (it.command.seq, it.command.status, it.send)).collect();
    assert_eq!(shown, [(1, Status::Queued, false), (2, Status::Sent, true)]);
    let waits = planned[0].command.clone();
    assert_eq!(waits.reason.as_ref().map(|reason| reason.code.as_str()), Some(NOT_HEARD));
    assert_eq!((waits.version, waits.attempts), (one.version + 1, 0));
    assert!(plan(std::slice::from_ref(&waits), at(6), Contact::Since(at(6)), json).is_empty(), "it is said once");
    let sent = plan(std::slice::from_ref(&waits), at(7), Contact::Since(at(6)), ALL);
    assert_eq!((sent[0].send, &sent[0].command.reason), (true, &None), "now it listens");
    let expired = plan(&[waits], at(1_000_000), Contact::None, ALL);
    assert_eq!(expired[0].command.status, Status::Expired);
    assert_eq!(expired[0].command.reason.as_ref().map(|reason| reason.code.as_str()), Some(NOT_HEARD), "that is why");
}
