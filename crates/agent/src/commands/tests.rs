use super::*;
use crate::disk::sim::SimDisk;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn request(id: &str) -> Message {
    let user = [
        ("op", "restart".to_owned()),
        ("now", NOW.millis().to_string()),
        ("expires-at", NOW.plus(Duration::from_secs(60)).millis().to_string()),
        ("run-timeout", "30".to_owned()),
    ];
    Message {
        content_type: Some("application/json".to_owned()),
        user: user.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        ..Message::new(format!("$aws/commands/things/gw-1/executions/{id}/request/json"), b"{}".to_vec())
    }
}

pub(super) fn acknowledged(id: &str, end: &str, body: &str) -> Message {
    Message::new(format!("$aws/commands/things/gw-1/executions/{id}/response/{end}/json"), body.as_bytes().to_vec())
}

struct Device {
    disk: SimDisk,
    commands: Commands,
}

impl Device {
    fn new() -> Self {
        let disk = SimDisk::new();
        Self { commands: Commands::open("gw-1", "boot-1".to_owned(), &disk).unwrap(), disk }
    }

    /// The agent dies and begins anew.
    fn again(self, boot: &str) -> Self {
        Self { commands: Commands::open("gw-1", boot.to_owned(), &self.disk).unwrap(), disk: self.disk }
    }

    fn arrives(&mut self, id: &str, policy: Option<Policy>, now: Timestamp) -> Arrived {
        let request = Request::of(&request(id), "gw-1").expect("a request");
        self.commands.arrived(request, policy, now, &self.disk).unwrap()
    }

    fn session(&mut self, policy: Policy) -> Vec<Arrived> {
        self.commands.session_began(|_| Some(policy), &self.disk).unwrap()
    }

    fn hears(&mut self, end: &str, body: &str) {
        self.commands.hear(&acknowledged("c1", end, body), &self.disk).unwrap();
    }
}

/// Status and reason of an answer.
fn said(arrived: &Arrived) -> (Status, Option<String>) {
    let Arrived::Answer(message) = arrived else { panic!("{arrived:?}") };
    let response = Response::parse(Format::Json, &message.payload).expect("an answer");
    (response.status, response.status_reason.map(|reason| reason.reason_code))
}

fn because(status: Status, reason: &str) -> (Status, Option<String>) {
    (status, Some(reason.to_owned()))
}

#[test]
fn requests_of_others_are_none_of_ours() {
    let message = request("c1");
    let read = Request::of(&message, "gw-1").expect("ours");
    assert_eq!((read.op.as_str(), read.run_timeout), ("restart", Some(Duration::from_secs(30))));
    assert_eq!(read.sent_at, Some(NOW));
    assert_eq!(Request::of(&message, "gw-2"), None);
    assert_eq!(Request::of(&acknowledged("c1", "accepted", "{}"), "gw-1"), None);
    let bare = Message::new(message.topic, Vec::new());
    assert_eq!(Request::of(&bare, "gw-1").map(|it| (it.op, it.expires_at)), Some((String::new(), None)));
}

#[test]
fn what_ran_is_answered_again_and_not_run_again() {
    let mut device = Device::new();
    let Arrived::Run(run) = device.arrives("c1", Some(Policy::default()), NOW) else { panic!("it runs") };
    assert!(!run.resumes && run.request.payload == b"{}");
    assert_eq!(said(&device.arrives("c1", Some(Policy::default()), NOW)).0, Status::InProgress, "it runs already");
    let end = Ended::succeeded("done\n at last");
    let answer = device.commands.ended("c1", end, &device.disk).unwrap().expect("an answer");
    let response = Response::parse(Format::Json, &answer.payload).expect("an answer");
    assert_eq!(response.result.unwrap()["output"], ResultValue::Text("done  at last".to_owned()));
    assert_eq!(device.commands.ended("c1", Ended::failed("x"), &device.disk).unwrap(), None, "one end");
    assert_eq!(said(&device.arrives("c1", Some(Policy::default()), NOW)).0, Status::Succeeded);
    let mut device = device.again("boot-1");
    assert_eq!(said(&device.arrives("c1", Some(Policy::default()), NOW)).0, Status::Succeeded, "also in the next life");
}

#[test]
fn what_was_cut_off_goes_by_its_policy() {
    for (policy, boot, expected) in [
        (Policy::ReportUnknown, "boot-1", Some(because(Status::Failed, "OUTCOME_UNKNOWN"))),
        (Policy::ReportUnknown, "boot-2", Some(because(Status::Failed, "OUTCOME_UNKNOWN"))),
        (Policy::Reboots, "boot-1", Some(because(Status::Failed, "OUTCOME_UNKNOWN"))),
        (Policy::Reboots, "boot-2", Some((Status::Succeeded, None))),
        (Policy::Resume, "boot-1", None),
        (Policy::RerunIfIdempotent, "boot-2", None),
    ] {
        // Without being asked, when the session stands; and when it is asked again.
        for asked in [false, true] {
            let mut device = Device::new();
            assert!(matches!(device.arrives("c1", Some(policy), NOW), Arrived::Run(_)));
            let mut device = device.again(boot);
            // Its time is over by now: what was begun is gone on with all the same.
            let late = NOW.plus(Duration::from_secs(3600));
            let found = if asked { vec![device.arrives("c1", Some(policy), late)] } else { device.session(policy) };
            match (&expected, found.as_slice()) {
                (Some(expected), [answer]) => assert_eq!(said(answer), *expected, "{policy:?}"),
                (None, [Arrived::Run(run)]) => {
                    assert!(run.resumes && run.request.payload == b"{}" && run.request.op == "restart");
                    assert_eq!(run.request.run_timeout, Some(Duration::from_secs(30)));
                }
                other => panic!("{policy:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_run_is_said() {
    let mut device = Device::new();
    assert_eq!(said(&device.arrives("c1", None, NOW)), because(Status::Rejected, "UNKNOWN_OPERATION"));
    let late = NOW.plus(Duration::from_secs(60));
    assert_eq!(said(&device.arrives("c2", Some(Policy::default()), late)), because(Status::TimedOut, "EXPIRED"));
    let early = Timestamp::from_secs(0);
    assert!(matches!(device.arrives("c3", Some(Policy::default()), early), Arrived::Run(_)), "a clock that is behind");
    for number in 1..RUNNING {
        assert!(matches!(device.arrives(&format!("r{number}"), Some(Policy::default()), NOW), Arrived::Run(_)));
    }
    assert_eq!(said(&device.arrives("more", Some(Policy::default()), NOW)), because(Status::Rejected, "BUSY"));
}

#[test]
fn answers_are_given_until_they_are_heard() {
    let mut device = Device::new();
    let Arrived::Run(run) = device.arrives("c1", Some(Policy::default()), NOW) else { panic!("it runs") };
    device.commands.began(&run);
    device.commands.ended("c1", Ended::succeeded(""), &device.disk).unwrap().expect("an answer");
    // The first acknowledgement is of the beginning.
    device.hears("accepted", "{}");
    assert_eq!(device.session(Policy::default()).len(), 1, "the end may be lost");
    device.hears("rejected", r#"{"error":"RequestThrottled","errorMessage":"","executionId":"c1"}"#);
    assert_eq!(device.commands.tick().len(), 1, "a fault of the moment");
    assert!(device.commands.tick().is_empty(), "it is on its way");
    assert_eq!(device.session(Policy::default()).len(), 1);
    device.hears("rejected", r#"{"error":"TerminalStateReached","errorMessage":"","executionId":"c1"}"#);
    assert!(device.session(Policy::default()).is_empty(), "the server wants none");
    let mut device = device.again("boot-1");
    assert!(device.session(Policy::default()).is_empty(), "and that is on the disk");
    assert_eq!(said(&device.arrives("c1", Some(Policy::default()), NOW)).0, Status::Succeeded, "unless it asks");
}

#[test]
fn the_journal_has_its_end() {
    let mut device = Device::new();
    device.arrives("open", Some(Policy::default()), NOW);
    for number in 0..KEPT + 10 {
        device.arrives(&format!("c{number}"), None, NOW);
    }
    assert_eq!(device.commands.journal.entries.len(), KEPT);
    assert!(device.commands.journal.get("open").is_some(), "what is under way is not forgotten");
    assert!(device.commands.journal.get("c0").is_none());
}

#[test]
fn policies_are_words() {
    assert_eq!(Policy::parse("resume\n"), Some(Policy::Resume));
    assert_eq!(Policy::parse("reboots"), Some(Policy::Reboots));
    assert_eq!(Policy::parse("maybe"), None);
}
