use fleetward_base::{SeededRng, Timestamp};
use fleetward_supply::{Manifest, SignedRelease, SigningKey};

use super::*;
use crate::record::Image;

fn key() -> SigningKey {
    SigningKey::generate(&SeededRng::new(7))
}

fn artifact(hardware: &str, content: &[u8]) -> Artifact {
    let (filename, sha256) = (format!("{hardware}.img"), Sha256::of(content));
    Artifact { filename, hardware: vec![hardware.to_owned()], sha256, size: content.len() as u64 }
}

pub(super) fn release(version: &str, content: &[u8]) -> SignedRelease {
    let artifacts = vec![artifact("r1", content), artifact("r2", b"for other hardware")];
    let manifest = Manifest::new("os".into(), version.into(), Timestamp::from_secs(1), artifacts).unwrap();
    SignedRelease::sign(&manifest, &key())
}

pub(super) fn offer(job: &str, operation: Operation, version: &str, content: &[u8]) -> Offer {
    let image = Image { sha256: Sha256::of(content), size: content.len() as u64 };
    Offer {
        job: job.to_owned(),
        content: Ok(Content {
            operation,
            name: "os".into(),
            version: version.into(),
            release: Some(release(version, content)),
            artifact: Some(image),
            url: Some("https://server/artifacts/x".into()),
        }),
    }
}

pub(super) fn policy() -> Policy {
    Policy { hardware: "r1".into(), signers: [key().verifying_key()].into_iter().collect() }
}

fn machine() -> Machine {
    let mut machine = Machine::new(Record::factory("1.0"), policy());
    assert_eq!(machine.handle(Event::Started), []);
    assert_eq!(machine.handle(Event::Connected), [Effect::AskNext]);
    machine
}

fn offered(machine: &mut Machine, offer: Offer) -> Vec<Effect> {
    machine.handle(Event::Offered(Box::new(offer)))
}

fn kinds(effects: &[Effect]) -> Vec<String> {
    let kind = |effect: &Effect| match effect {
        Effect::Persist(_) => "persist".into(),
        Effect::Clear { slot, keep } => format!("clear {slot}{}", if keep.is_some() { " but one" } else { "" }),
        Effect::Download { slot, attempt, .. } => format!("download {slot} {attempt}"),
        Effect::StopDownload => "stop".into(),
        Effect::Install { slot, .. } => format!("install {slot}"),
        Effect::CheckSlot { slot, .. } => format!("check {slot}"),
        Effect::SelfTest { slot, .. } => format!("test {slot}"),
        Effect::Restart => "restart".into(),
        Effect::AskNext => "next".into(),
        Effect::Report(report) => match report.verdict {
            None => format!("at {}", report.step),
            Some(verdict) => format!("{verdict:?} at {}: {}", report.step, report.reason.as_deref().unwrap_or("")),
        },
    };
    effects.iter().map(kind).collect()
}

fn reboot(machine: &Machine) -> Machine {
    Machine::new(machine.record().clone(), policy())
}

fn downloaded(job: &str) -> Event {
    Event::DownloadEnded { job: job.into(), result: Ok(()) }
}

/// A machine in slot b, on trial with the given content.
fn on_trial() -> Machine {
    let mut machine = machine();
    offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    machine.handle(downloaded("j"));
    machine.handle(Event::InstallEnded { job: "j".into(), result: Ok(()) });
    let mut machine = reboot(&machine);
    assert_eq!(kinds(&machine.handle(Event::Started)), ["persist", "check b"]);
    machine
}

#[test]
fn the_way_of_a_good_update() {
    let mut machine = machine();
    let took_on = offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    assert_eq!(kinds(&took_on), ["persist", "at downloading", "clear b but one", "download b 0"]);
    assert_eq!(kinds(&machine.handle(downloaded("j"))), ["at installing", "install b"]);
    let installed = machine.handle(Event::InstallEnded { job: "j".into(), result: Ok(()) });
    assert_eq!(kinds(&installed), ["persist", "at restarting", "restart"]);

    let mut machine = reboot(&machine);
    assert_eq!(kinds(&machine.handle(Event::Started)), ["persist", "check b"]);
    assert_eq!(machine.record().version(), "2.0");
    assert_eq!(kinds(&machine.handle(Event::SlotChecked { slot: Slot::B, intact: true })), ["test b"]);
    assert_eq!(kinds(&machine.handle(Event::Connected)), ["at testing"]);
    let tested = machine.handle(Event::SelfTestEnded { job: "j".into(), result: Ok(()) });
    assert_eq!(kinds(&tested), ["persist", "Succeeded at committed: running 2.0"]);
    assert_eq!(kinds(&machine.handle(Event::Acknowledged { job: "j".into() })), ["persist", "next"]);
    assert_eq!((machine.record().active, machine.record().version()), (Slot::B, "2.0"));
}

#[test]
fn a_failed_self_test_falls_back_and_tells_so_on_the_next_connection() {
    let mut machine = on_trial();
    machine.handle(Event::SlotChecked { slot: Slot::B, intact: true });
    let failed = machine.handle(Event::SelfTestEnded { job: "j".into(), result: Err("no radio".into()) });
    assert_eq!(kinds(&failed), ["persist", "restart"]);
    let mut machine = reboot(&machine);
    assert_eq!(machine.handle(Event::Started), []);
    assert_eq!(machine.record().version(), "1.0");
    assert_eq!(kinds(&machine.handle(Event::Connected)), ["Failed at testing: fell back to 1.0: no radio"]);
    assert_eq!(machine.record().b, None, "never booted again");
}

#[test]
fn an_image_that_crashes_is_given_up_after_its_starts_are_used_up() {
    let mut machine = on_trial();
    for _ in 1..MAX_BOOTS {
        machine = reboot(&machine);
        assert_eq!(kinds(&machine.handle(Event::Started)), ["persist", "check b"]);
    }
    let mut machine = reboot(&machine);
    assert_eq!(kinds(&machine.handle(Event::Started)), ["persist"]);
    assert_eq!((machine.record().version(), machine.record().running()), ("1.0", Slot::A));
    let told = kinds(&machine.handle(Event::Connected));
    assert_eq!(told, ["Failed at restarting: fell back to 1.0: began 3 times and never finished its self-test"]);
}

#[test]
fn a_damaged_slot_is_not_tested_but_left() {
    let mut machine = on_trial();
    let checked = machine.handle(Event::SlotChecked { slot: Slot::B, intact: false });
    assert_eq!(kinds(&checked), ["persist", "restart"]);
    assert_eq!(machine.record().running(), Slot::A);
}

#[test]
fn what_is_not_for_this_device_or_not_to_be_trusted_is_rejected() {
    let good = || offer("j", Operation::Update, "2.0", b"two");
    let change = |change: &dyn Fn(&mut Content)| {
        let mut offer = good();
        offer.content.as_mut().map(change).unwrap();
        offer
    };
    let stranger = SigningKey::generate(&SeededRng::new(8));
    let manifest = Manifest::parse(&release("2.0", b"two").manifest).unwrap();
    for (offer, why) in [
        (Offer { job: "j".into(), content: Err("unknown operation".into()) }, "unknown operation"),
        (change(&|c| c.release.as_mut().unwrap().manifest[3] ^= 1), "the signature is not"),
        (change(&|c| c.release.as_mut().unwrap().signature[3] ^= 1), "the signature is not"),
        (change(&|c| c.release = Some(SignedRelease::sign(&manifest, &stranger))), "not an accepted signer"),
        (change(&|c| c.release = None), "no signed manifest"),
        (change(&|c| c.url = None), "where the artifact is"),
        (change(&|c| c.version = "3.0".into()), "the job says os 3.0, its manifest os 2.0"),
        (change(&|c| c.artifact.as_mut().unwrap().size += 1), "not the one that the manifest has"),
        (change(&|c| c.artifact.as_mut().unwrap().sha256 = Sha256::of(b"for other hardware")), "not the one that"),
    ] {
        let mut machine = machine();
        let effects = kinds(&offered(&mut machine, offer));
        assert_eq!(effects[0], "persist");
        assert!(effects[1].starts_with("Rejected at verifying") && effects[1].contains(why), "{why}: {effects:?}");
        assert_eq!(machine.record().running(), Slot::A);
    }
    let mut elsewhere = Machine::new(Record::factory("1.0"), Policy { hardware: "r9".into(), ..policy() });
    elsewhere.handle(Event::Connected);
    let effects = kinds(&offered(&mut elsewhere, good()));
    assert!(effects[1].contains("no artifact for hardware revision `r9`"), "{effects:?}");
    let mut nobody = Machine::new(Record::factory("1.0"), Policy { signers: Signers::default(), ..policy() });
    nobody.handle(Event::Connected);
    assert!(kinds(&offered(&mut nobody, good()))[1].contains("not an accepted signer"));
}

#[test]
fn downloads_are_tried_again_within_bounds() {
    let mut machine = machine();
    offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    let end = |failure| Event::DownloadEnded { job: "j".into(), result: Err(failure) };
    let broken = |progress| DownloadFailure::Interrupted { reason: "reset".into(), progress };
    for attempt in 1..=MAX_IDLE_ATTEMPTS {
        let effects = kinds(&machine.handle(end(broken(false))));
        assert_eq!(effects, ["clear b but one".to_owned(), format!("download b {attempt}")]);
    }
    assert_eq!(kinds(&machine.handle(end(broken(true)))), ["clear b but one", "download b 1"], "progress counts anew");
    for _ in 1..MAX_IDLE_ATTEMPTS {
        machine.handle(end(broken(false)));
    }
    let given_up = kinds(&machine.handle(end(broken(false))));
    assert_eq!(given_up, ["clear b", "persist", "Failed at downloading: reset"]);
}

#[test]
fn a_wrong_image_is_fetched_again_from_nothing_and_then_given_up() {
    let mut machine = machine();
    offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    let corrupt = || Event::DownloadEnded { job: "j".into(), result: Err(DownloadFailure::Corrupt("hash".into())) };
    for attempt in 1..=MAX_CORRUPT {
        let again = ["clear b".to_owned(), "clear b but one".to_owned(), format!("download b {attempt}")];
        assert_eq!(kinds(&machine.handle(corrupt())), again);
    }
    assert_eq!(kinds(&machine.handle(corrupt())), ["clear b", "persist", "Failed at verifying: hash"]);
}

#[test]
fn a_job_offered_again_is_answered_and_not_done_twice() {
    let mut machine = on_trial();
    machine.handle(Event::SlotChecked { slot: Slot::B, intact: true });
    machine.handle(Event::SelfTestEnded { job: "j".into(), result: Ok(()) });
    machine.handle(Event::Connected);
    let again = || offer("j", Operation::Update, "2.0", b"two");
    assert_eq!(kinds(&offered(&mut machine, again())), ["Succeeded at committed: running 2.0"]);
    let other_job = offered(&mut machine, offer("k", Operation::Update, "2.0", b"two"));
    assert_eq!(kinds(&other_job), ["persist", "Succeeded at committed: already running 2.0"]);
}

fn back_from(job: &str, version: &str) -> Offer {
    let mut back = offer(job, Operation::Rollback, version, b"x");
    back.content = back.content.map(|content| Content { artifact: None, url: None, ..content });
    back
}

#[test]
fn rolling_back_switches_to_the_other_slot_and_tests_it_as_well() {
    let mut machine = on_trial();
    machine.handle(Event::SlotChecked { slot: Slot::B, intact: true });
    machine.handle(Event::SelfTestEnded { job: "j".into(), result: Ok(()) });
    machine.handle(Event::Connected);
    let effects = offered(&mut machine, back_from("j-rollback", "2.0"));
    assert_eq!(kinds(&effects), ["persist", "at restarting", "restart"]);
    let mut machine = reboot(&machine);
    assert_eq!(kinds(&machine.handle(Event::Started)), ["persist", "check a"]);
    assert_eq!(kinds(&machine.handle(Event::SlotChecked { slot: Slot::A, intact: true })), ["test a"]);
    let tested = machine.handle(Event::SelfTestEnded { job: "j-rollback".into(), result: Ok(()) });
    assert_eq!(kinds(&tested), ["persist"]);
    assert_eq!((machine.record().active, machine.record().version()), (Slot::A, "1.0"));
    assert!(machine.record().b.is_some(), "2.0 stays in its slot");
    machine.handle(Event::Connected);
    let effects = kinds(&offered(&mut machine, back_from("k-rollback", "2.0")));
    assert!(effects[1].contains("Succeeded at committed: os 2.0 does not run here; 1.0 does"), "{effects:?}");
}

#[test]
fn rolling_back_where_there_is_nothing_to_go_back_to() {
    let mut machine = on_trial();
    machine.record.a = None;
    machine.record.active = Slot::B;
    machine.record.job = None;
    machine.handle(Event::Connected);
    let effects = kinds(&offered(&mut machine, back_from("j-rollback", "2.0")));
    assert!(effects[1].contains("nothing to go back to"), "{effects:?}");
}

#[test]
fn a_rollback_with_an_artifact_installs_it() {
    let mut machine = machine();
    let back = offer("j", Operation::Rollback, "0.9", b"old");
    assert_eq!(kinds(&offered(&mut machine, back))[3], "download b 0");
}

#[test]
fn a_withdrawn_job_is_dropped_while_it_is_only_downloading() {
    let mut machine = machine();
    offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    let dropped = machine.handle(Event::Withdrawn { job: "j".into() });
    assert_eq!(kinds(&dropped), ["stop", "clear b", "persist", "next"]);
    assert_eq!(machine.handle(downloaded("j")), [], "what it left behind changes nothing");
    let mut machine = on_trial();
    assert_eq!(machine.handle(Event::Withdrawn { job: "j".into() }), []);
    assert_eq!(machine.record().running(), Slot::B, "the trial goes on to its end");
}

#[test]
fn a_new_job_takes_the_place_of_one_that_is_only_downloading() {
    let mut machine = machine();
    offered(&mut machine, offer("j", Operation::Update, "2.0", b"two"));
    let effects = offered(&mut machine, offer("k", Operation::Update, "3.0", b"three"));
    assert_eq!(kinds(&effects), ["stop", "persist", "at downloading", "clear b but one", "download b 0"]);
    let mut machine = on_trial();
    machine.handle(Event::Connected);
    assert_eq!(offered(&mut machine, offer("k", Operation::Update, "3.0", b"three")), []);
}

#[test]
fn the_record_holds_a_bounded_number_of_outcomes_and_drops_acknowledged_ones_first() {
    let mut machine = machine();
    for n in 0..OUTCOMES_KEPT + 5 {
        let bad = Offer { job: format!("j{n}"), content: Err("no".into()) };
        offered(&mut machine, bad);
        if n != 3 {
            machine.handle(Event::Acknowledged { job: format!("j{n}") });
        }
    }
    assert_eq!(machine.record().finished.len(), OUTCOMES_KEPT);
    assert!(machine.record().outcome("j3").is_some_and(|outcome| !outcome.acknowledged));
}
