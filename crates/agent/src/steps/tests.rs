use fleetward_wire::aws::steps::Run as Runs;
use serde_json::json;

use super::*;
use crate::disk::sim::SimDisk;

pub(super) const USUAL: Duration = Duration::from_secs(60);

/// A document with a handler for each step; those that begin with `may` are allowed to fail.
pub(super) fn document(handlers: &[&str]) -> Document {
    let step = |handler: &&str| {
        json!({"action": {"name": format!("do {handler}"), "type": "runHandler", "input": {"handler": handler},
            "ignoreStepFailure": handler.starts_with("may").to_string()}})
    };
    let steps: Vec<_> = handlers.iter().map(step).collect();
    Document::parse(&json!({"version": "1.0", "includeStdOut": true, "steps": steps})).expect("a document")
}

pub(super) fn key(number: i64) -> Key {
    Key { job: "j".into(), number, queued_at: 1 }
}

/// Handlers that lie here, and their policies by how they begin.
pub(super) fn rules(action: &Action) -> Result<Policy, String> {
    match &action.run {
        Runs::Handler { handler, .. } if handler == "none" => Err("there is no handler none here".into()),
        Runs::Handler { handler, .. } if handler.starts_with("resume") => Ok(Policy::Resume),
        Runs::Handler { handler, .. } if handler.starts_with("reboot") => Ok(Policy::Reboots),
        Runs::Handler { .. } => Ok(Policy::ReportUnknown),
        Runs::Command(_) => Err("not allowed".into()),
    }
}

struct Device {
    disk: SimDisk,
    steps: Steps,
}

impl Device {
    fn new() -> Self {
        let disk = SimDisk::new();
        Self { steps: Steps::open("boot-1".into(), USUAL, &disk).unwrap(), disk }
    }

    /// The agent dies and begins anew.
    fn again(self, boot: &str) -> Self {
        Self { steps: Steps::open(boot.into(), USUAL, &self.disk).unwrap(), disk: self.disk }
    }

    fn handle(&mut self, event: Event) -> Vec<Todo> {
        self.steps.handle(event, &rules, &self.disk).unwrap()
    }

    fn offered(&mut self, number: i64, handlers: &[&str]) -> Vec<Todo> {
        let document = Ok(document(handlers));
        self.handle(Event::Offered(Box::new(Offer { key: key(number), document })))
    }

    fn ended(&mut self, step: usize, failure: Option<&str>) -> Vec<Todo> {
        let ended =
            Ended { failure: failure.map(str::to_owned), stdout: format!("out {step}\n"), stderr: String::new() };
        self.steps.ended(&key(1), step, &ended, &self.disk).unwrap()
    }

    fn acknowledged(&mut self) -> Vec<Todo> {
        self.handle(Event::Acknowledged(key(1).which()))
    }

    fn withdrawn(&mut self) -> Vec<Todo> {
        self.handle(Event::Withdrawn(key(1).which()))
    }
}

/// What is to be done, in short.
fn short(todo: &[Todo]) -> Vec<String> {
    let one = |todo: &Todo| match todo {
        Todo::Say(Word { verdict: Some(verdict), details, .. }) => {
            format!("{verdict:?}: {}", details.get("reason").map_or("", String::as_str))
        }
        Todo::Say(Word { verdict: None, details, .. }) => format!("at {}", details["step"]),
        Todo::Run(run) => format!("run {}{}", run.step, if run.resumes { " again" } else { "" }),
        Todo::AskNext => "next".to_owned(),
    };
    todo.iter().map(one).collect()
}

#[test]
fn steps_follow_each_other() {
    let mut device = Device::new();
    let begun = device.offered(1, &["a", "may-b", "c"]);
    assert_eq!(short(&begun), ["at 1/3 do a", "run 0"]);
    let Todo::Say(word) = &begun[0] else { panic!("{begun:?}") };
    assert_eq!((word.which.number, word.step_timeout_minutes), (Some(1), Some(6)));
    assert_eq!(short(&device.offered(1, &["a", "may-b", "c"])), ["at 1/3 do a"], "it runs");
    assert_eq!(short(&device.ended(1, None)), Vec::<String>::new(), "that is not the step");
    assert_eq!(short(&device.ended(0, None)), ["at 2/3 do may-b", "run 1"]);
    assert_eq!(short(&device.ended(1, Some("no"))), ["at 3/3 do c", "run 2"]);
    let done = device.ended(2, None);
    assert_eq!(short(&done), ["Succeeded: "]);
    let Todo::Say(word) = &done[0] else { panic!("{done:?}") };
    assert_eq!((word.details["stdout"].as_str(), word.details["step"].as_str()), ("out 0 out 1 out 2", "3/3 do c"));
    assert_eq!(short(&device.offered(1, &["a"])), ["Succeeded: "], "it is answered and not done again");
    assert_eq!(short(&device.acknowledged()), ["next"]);
    assert_eq!(short(&device.acknowledged()), Vec::<String>::new());
    assert_eq!(short(&device.offered(2, &["a"])), ["at 1/1 do a", "run 0"], "another try is asked for");
}

#[test]
fn a_failure_ends_the_job() {
    let mut device = Device::new();
    device.offered(1, &["a", "b"]);
    assert_eq!(short(&device.ended(0, Some("it ended with 3"))), ["Failed: it ended with 3"]);
    assert_eq!(short(&device.steps.session_began()), ["Failed: it ended with 3", "next"], "until it is heard");
    let mut device = device.again("boot-1");
    assert_eq!(short(&device.steps.session_began()), ["Failed: it ended with 3", "next"]);
    device.acknowledged();
    assert!(device.steps.session_began().is_empty());
}

#[test]
fn what_is_not_allowed_is_rejected_before_anything_runs() {
    for (document, why) in [
        (Ok(document(&["a", "none"])), "step do none: there is no handler none here"),
        (Err("the job has no document".to_owned()), "the job has no document"),
    ] {
        let mut device = Device::new();
        let todo = device.handle(Event::Offered(Box::new(Offer { key: key(1), document })));
        assert_eq!(short(&todo), [format!("Rejected: {why}")]);
        assert_eq!(short(&device.acknowledged()), ["next"]);
    }
}

#[test]
fn what_was_cut_off_goes_by_its_policy() {
    for (handlers, boot, expect) in [
        (&["a", "b"], "boot-1", vec!["Failed: it was begun, and the agent did not see its end"]),
        (&["may-a", "b"], "boot-1", vec!["at 2/2 do b", "run 1"]),
        (&["resume-a", "b"], "boot-2", vec!["at 1/2 do resume-a", "run 0 again"]),
        (&["reboot-a", "b"], "boot-2", vec!["at 2/2 do b", "run 1"]),
        (&["reboot-a", "b"], "boot-1", vec!["Failed: it was begun, and the agent did not see its end"]),
    ] {
        let mut device = Device::new();
        device.offered(1, handlers);
        let mut device = device.again(boot);
        assert_eq!(short(&device.steps.session_began()), ["next"], "first it is asked whether it is still wanted");
        assert_eq!(short(&device.offered(1, handlers)), expect, "{handlers:?} {boot}");
    }
}

#[test]
fn a_job_that_was_taken_back_begins_no_other_step() {
    let mut device = Device::new();
    device.offered(1, &["a", "b"]);
    assert_eq!(short(&device.withdrawn()), Vec::<String>::new(), "its program comes to its end");
    assert_eq!(short(&device.offered(2, &["a"])), Vec::<String>::new(), "and nothing else begins before");
    assert_eq!(short(&device.ended(0, None)), ["next"]);
    assert_eq!(short(&device.offered(2, &["a"])), ["at 1/1 do a", "run 0"]);

    let mut device = Device::new();
    device.offered(1, &["a", "b"]);
    let mut device = device.again("boot-1");
    assert_eq!(short(&device.withdrawn()), ["next"], "what an earlier life began is not gone on with");
    assert!(device.steps.session_began().is_empty());
    // Another job is in progress: the one that this device was at is not.
    let mut device = Device::new();
    device.offered(1, &["a", "b"]);
    let mut device = device.again("boot-1");
    let cut = "Failed: another job took its place";
    assert_eq!(short(&device.offered(2, &["c"])), [cut, "at 1/1 do c", "run 0"]);
    assert_eq!(short(&device.offered(1, &["a", "b"])), [cut], "it does not begin anew");
    assert_eq!(short(&device.again("boot-1").steps.session_began()), [cut, "next"], "until it is heard");
}

#[test]
fn a_restart_that_does_not_come_holds_up_nobody() {
    let waiting = || {
        let mut device = Device::new();
        device.offered(1, &["reboot-a", "b"]);
        assert_eq!(short(&device.steps.waits(&key(1), &device.disk).unwrap()), Vec::<String>::new());
        assert_eq!(short(&device.offered(1, &["reboot-a", "b"])), ["at 1/2 do reboot-a"], "it is still awaited");
        device
    };
    let mut device = waiting();
    assert_eq!(short(&device.withdrawn()), ["next"], "its time is over");
    assert_eq!(short(&device.offered(2, &["c"])), ["at 1/1 do c", "run 0"]);
    let mut device = waiting();
    let cut = "Failed: another job took its place";
    assert_eq!(short(&device.offered(2, &["c"])), [cut, "at 1/1 do c", "run 0"]);
    // Taken back while its program still ran.
    let mut device = Device::new();
    device.offered(1, &["reboot-a", "b"]);
    device.withdrawn();
    assert_eq!(short(&device.steps.waits(&key(1), &device.disk).unwrap()), ["next"]);
    assert_eq!(short(&device.offered(2, &["c"])), ["at 1/1 do c", "run 0"]);
}

#[test]
fn the_journal_has_its_end() {
    let mut device = Device::new();
    for number in 0..i64::try_from(KEPT).unwrap() + 10 {
        device.offered(number, &["none"]);
    }
    assert_eq!(device.steps.journal.finished.len(), KEPT);
    assert!(device.steps.journal.outcome(&key(0)).is_none());
}

#[test]
fn what_is_told_has_its_length() {
    let long = "ä".repeat(2000);
    assert_eq!(tail(&long, "z").len(), limits::DEPLOYMENT_DETAIL_BYTES);
    assert!(tail(&long, "z").ends_with("ä z") && tail("a\nb", "c\n") == "a b c" && tail("", "a") == "a");
    assert_eq!((line(&long, 5), line(" a\tb ", 9)), ("ää".to_owned(), "a b".to_owned()));
}
