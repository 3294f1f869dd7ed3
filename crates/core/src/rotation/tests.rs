use std::collections::BTreeMap;

use fleetward_base::{Rng, SeededRng};
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const TERMS: Terms = Terms {
    proof_deadline: Duration::from_secs(3 * 24 * 3600),
    grace: Duration::from_secs(7 * 24 * 3600),
    grace_sessions: 3,
};

/// A device's certificates as the server has them, those at their end included.
#[derive(Clone, Debug, Default)]
struct Server {
    held: BTreeMap<String, Held>,
}

impl Server {
    fn open(&self) -> Vec<Held> {
        self.held.values().filter(|one| !one.standing.is_terminal()).cloned().collect()
    }

    fn happen(&mut self, now: Timestamp, event: Event<'_>, terms: &Terms) -> Vec<Step> {
        let before = self.open();
        let steps = decide(now, &before, event, terms);
        for step in &steps {
            assert!(step.after.standing >= step.from, "{step:?} goes back");
            assert_eq!(step.cause.is_some(), step.after.standing != step.from, "{step:?}");
            if let Event::Issued { .. } = event {
                assert!(!step.from.is_in_charge(), "{step:?}: issuing took something from the device");
            }
            if step.after.standing.is_terminal() && step.from.is_in_charge() {
                assert!(matches!(event, Event::Used { .. }), "{step:?}: time took what is in charge");
            }
            self.held.insert(step.after.serial.clone(), step.after.clone());
        }
        assert!(self.open().iter().filter(|one| one.standing.is_in_charge()).count() <= 1, "{self:?}");
        steps
    }

    fn issue(&mut self, serial: &str, now: Timestamp, life: Duration, renews: bool, terms: &Terms) {
        let pending = Held::pending(serial.to_owned(), now, now.plus(life));
        self.held.insert(serial.to_owned(), pending);
        self.happen(now, Event::Issued { serial, renews }, terms);
    }

    fn accepts(&self, serial: &str, now: Timestamp) -> bool {
        self.held.get(serial).is_some_and(|one| one.standing.is_accepted() && one.not_after >= now)
    }
}

/// Plays events, written as `@DAY` (time goes to it), `+x` (x is issued), `*x` (x is issued by token), `x` (x is used), `!x`
/// (x is used in an emergency), `-x` (x is revoked), and gives the standings.
fn check(story: &str, expect: &str) {
    let (mut server, mut now) = (Server::default(), START);
    for word in story.split_whitespace() {
        let (kind, rest) = word.split_at(1);
        match kind {
            "@" => {
                now = START.plus(Duration::from_secs_f64(rest.parse::<f64>().expect("days") * 86_400.0));
                server.happen(now, Event::Elapsed, &TERMS);
            }
            "+" => server.issue(rest, now, DAY * 90, true, &TERMS),
            "*" => server.issue(rest, now, DAY * 90, false, &TERMS),
            "!" => drop(server.happen(now, Event::Used { serial: rest, at_once: true }, &TERMS)),
            "-" => server.held.get_mut(rest).expect("issued").standing = Standing::Revoked,
            _ => drop(server.happen(now, Event::Used { serial: word, at_once: false }, &TERMS)),
        }
    }
    let standings: Vec<String> = server.held.values().map(|one| format!("{}:{}", one.serial, one.standing)).collect();
    assert_eq!(standings.join(" "), expect, "{story}");
}

#[test]
fn ladders() {
    // The first certificate has nothing to take the place of, and no deadline.
    check("*a", "a:issued");
    check("*a @80", "a:issued");
    check("*a a", "a:active");
    check("*a a @80 a", "a:active");
    // A renewal, and its grace by time.
    check("*a a @60 +b", "a:active b:issued");
    check("*a a @60 +b b", "a:superseded b:proven");
    check("*a a @60 +b b @66", "a:superseded b:proven");
    check("*a a @60 +b b @67", "a:retired b:active");
    // By sessions: three of them, and flapping is one.
    check("*a a @60 +b b b b b", "a:superseded b:proven");
    check("*a a @60 +b b @61 b @62", "a:superseded b:proven");
    check("*a a @60 +b b @61 b @62 b", "a:retired b:active");
    // The old one may be used in its grace, and that changes nothing.
    check("*a a @60 +b b a @61 a @62 a", "a:superseded b:proven");
    // Never proven: revoked by itself, the old one stays.
    check("*a a @60 +b @62", "a:active b:issued");
    check("*a a @60 +b @63", "a:active b:revoked");
    check("*a a @60 +b @63 b", "a:active b:revoked");
    // But not where the old one ends too soon for a device that comes late.
    check("*a a @86 +b @89", "a:active b:issued");
    check("*a a @86 +b @95 b", "a:superseded b:proven");
    // Answers that were lost do not pile up.
    check("*a a @60 +b +c +d d", "a:superseded b:retired c:retired d:proven");
    check("*a @0.1 *b b", "a:retired b:active");
    check("*a @0.1 *b a @4 b", "a:superseded b:proven");
    check("*a a *b *c", "a:active b:issued c:issued");
    // A second renewal within the grace of the first.
    check("*a a @60 +b b @61 +c c", "a:superseded b:superseded c:proven");
    check("*a a @60 +b b @61 +c c @67.5", "a:retired b:superseded c:proven");
    check("*a a @60 +b b @61 +c c @68", "a:retired b:retired c:active");
    // An emergency leaves no grace.
    check("*a a @60 +b !b", "a:retired b:active");
    check("*a a @60 +b b +c !c", "a:retired b:retired c:active");
    // The new one is revoked within the grace of the old: the old one is all that there is, and stays.
    check("*a a @60 +b b -b @80", "a:superseded b:revoked");
    check("*a a @60 +b b -b @80 +c c", "a:superseded b:revoked c:proven");
}

#[test]
fn a_grace_of_nothing_and_of_one_session() {
    let mut server = Server::default();
    let none = Terms { grace: Duration::ZERO, ..TERMS };
    let one = Terms { grace_sessions: 1, ..TERMS };
    for (terms, serials) in [(none, ["a", "b"]), (one, ["c", "d"])] {
        for serial in serials {
            server.issue(serial, START, DAY * 90, true, &terms);
            server.happen(START, Event::Used { serial, at_once: false }, &terms);
        }
        assert_eq!(server.held[serials[0]].standing, Standing::Retired);
        assert_eq!(server.held[serials[1]].standing, Standing::Active);
    }
}

#[test]
fn a_clock_that_goes_back_hurts_nobody() {
    let mut server = Server::default();
    let earlier = START.minus(DAY * 400);
    server.issue("a", START, DAY * 90, false, &TERMS);
    server.happen(START, Event::Used { serial: "a", at_once: false }, &TERMS);
    server.happen(earlier, Event::Elapsed, &TERMS);
    server.issue("b", earlier, DAY * 900, true, &TERMS);
    assert!(server.accepts("a", earlier) && server.accepts("b", earlier));
    server.happen(earlier, Event::Used { serial: "b", at_once: false }, &TERMS);
    assert!(server.accepts("b", earlier) && server.accepts("a", earlier), "its grace has not begun to end");
    assert_eq!((server.held["a"].standing, server.held["b"].standing), (Standing::Superseded, Standing::Proven));
    server.happen(START.plus(DAY), Event::Elapsed, &TERMS);
    assert_eq!((server.held["a"].standing, server.held["b"].standing), (Standing::Retired, Standing::Active));
}

/// A device as the agent is: what it got in with last, and one that it tries.
#[derive(Debug, Default)]
struct Device {
    current: Option<String>,
    candidate: Option<String>,
}

/// One life of a device: it asks, loses answers, stays away, comes back, and is in a hurry at times.
fn live(seed: u64) {
    let rng = SeededRng::new(seed);
    let below = |bound: u64| rng.next_u64() % bound;
    let terms = Terms {
        proof_deadline: DAY * u32::try_from(below(10)).expect("small"),
        grace: DAY * u32::try_from(below(12)).expect("small"),
        grace_sessions: u32::try_from(below(5)).expect("small"),
    };
    let life = [DAY, DAY * 10, DAY * 90][usize::try_from(below(3)).expect("small")];
    let (mut server, mut device, mut now) = (Server::default(), Device::default(), START);
    for turn in 0..120_u32 {
        let serial = format!("{turn:03}");
        match below(10) {
            0..=2 => {
                now = now.plus(life.mul_f64(f64::from(u32::try_from(below(40)).expect("small")) / 100.0));
                server.happen(now, Event::Elapsed, &terms);
                assert!(decide(now, &server.open(), Event::Elapsed, &terms).is_empty(), "seed {seed}: not at rest");
            }
            3 | 4 if device.candidate.is_none() => {
                // With the one that works, or by a token; the answer may get lost.
                let shown = device.current.as_ref().is_some_and(|current| server.accepts(current, now));
                server.issue(&serial, now, life, shown, &terms);
                if below(3) > 0 {
                    device.candidate = Some(serial);
                }
            }
            _ => {
                let at_once = below(8) == 0;
                if let Some(candidate) = device.candidate.take() {
                    if server.accepts(&candidate, now) {
                        server.happen(now, Event::Used { serial: &candidate, at_once }, &terms);
                        device.current = Some(candidate);
                    }
                } else if let Some(current) = device.current.clone().filter(|current| server.accepts(current, now)) {
                    server.happen(now, Event::Used { serial: &current, at_once: false }, &terms);
                }
            }
        }
        if let Some(current) = &device.current {
            let valid = server.held[current].not_after >= now;
            assert!(!valid || server.accepts(current, now), "seed {seed}, turn {turn}: locked out\n{server:#?}");
        }
    }
}

#[test]
fn no_life_locks_a_device_out() {
    for seed in 0..2_000 {
        live(seed);
    }
}

proptest! {
    #[test]
    fn deciding_is_total(seed in any::<u64>()) {
        let rng = SeededRng::new(seed);
        let held: Vec<Held> = (0..rng.next_u64() % 6).map(|number| {
            let pick = |bound: u64| rng.next_u64() % bound;
            let at = |days: u64| START.plus(DAY * u32::try_from(days).expect("small"));
            Held {
                serial: number.to_string(),
                standing: Standing::ALL[usize::try_from(pick(5)).expect("small")],
                issued_at: at(pick(100)),
                not_after: at(pick(200)),
                deadline: (pick(2) == 0).then(|| at(pick(200))),
                sessions: u32::try_from(pick(4)).expect("small"),
                session_at: (pick(2) == 0).then(|| at(pick(100))),
            }
        }).collect();
        let now = START.plus(DAY * 100);
        for event in [
            Event::Elapsed,
            Event::Used { serial: "0", at_once: false },
            Event::Used { serial: "1", at_once: true },
            Event::Issued { serial: "2", renews: true },
            Event::Used { serial: "nobody's", at_once: true },
        ] {
            for step in decide(now, &held, event, &TERMS) {
                prop_assert!(step.after.standing >= step.from);
            }
        }
    }
}

/// The store says it in SQL: what is neither pending nor at its end counts (`TenantTx::usable_certificates`).
#[test]
fn what_is_accepted_is_what_is_neither_pending_nor_at_its_end() {
    for standing in Standing::ALL {
        let counts = *standing != Standing::Pending && !standing.is_terminal();
        assert_eq!(standing.is_accepted(), counts, "{standing}");
    }
    let names: Vec<_> = Standing::ALL.iter().map(|standing| standing.as_str()).collect();
    assert_eq!(names, ["pending", "issued", "proven", "active", "superseded", "retired", "revoked"]);
}
