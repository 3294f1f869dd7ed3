//! Jobs of steps on a disk that loses power: cut before and after each operation and each word with the server, each time
//! losing none, all or some of what was not synced, and then again on the way back. No step runs twice unasked, none begins
//! before the one in front of it ended, nothing that ended is told otherwise, and each job comes to an end that the server hears.

use super::tests::{USUAL, document, key, rules};
use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};

/// Server and outside world: they never lose power.
#[derive(Default)]
struct World {
    /// Programs that were started: which step, and whether it was told to go on.
    runs: Vec<(usize, bool)>,
    ends: Vec<Verdict>,
    lives: u32,
}

/// What the server is told, and what it makes of it. The power can go before a word leaves, and before its answer arrives.
fn tell(disk: &SimDisk, world: &mut World, word: &Word) -> io::Result<Option<Event>> {
    disk.tick()?;
    world.ends.extend(word.verdict);
    disk.tick()?;
    Ok(word.verdict.map(|_| Event::Acknowledged(word.which.clone())))
}

/// One life of the agent, from its start until nothing is left to do; an error where the power was cut.
fn live(disk: &SimDisk, world: &mut World, handlers: &[&str]) -> io::Result<()> {
    // Each second life begins with a boot of the device, the others are the agent's alone.
    let boot = format!("boot-{}", world.lives.div_ceil(2));
    world.lives += 1;
    let mut steps = Steps::open(boot, USUAL, disk)?;
    let mut todo = steps.session_began();
    if world.ends.is_empty() {
        todo.push(Todo::AskNext);
    }
    let mut asked = false;
    while !todo.is_empty() {
        match todo.remove(0) {
            Todo::Say(word) => {
                if let Some(event) = tell(disk, world, &word)? {
                    todo.extend(steps.handle(event, &rules, disk)?);
                }
            }
            // The server has it in progress until it hears of its end.
            Todo::AskNext if world.ends.is_empty() && !asked => {
                asked = true;
                let offer = Offer { key: key(1), document: Ok(document(handlers)) };
                todo.extend(steps.handle(Event::Offered(Box::new(offer)), &rules, disk)?);
            }
            Todo::AskNext => {}
            Todo::Run(run) => {
                disk.tick()?;
                world.runs.push((run.step, run.resumes));
                disk.tick()?;
                let reboots = matches!(&run.action.run, fleetward_wire::aws::steps::Run::Handler { handler, .. } if handler.starts_with("reboot"));
                if !reboots {
                    todo.extend(steps.ended(&run.key, run.step, &Ended::default(), disk)?);
                }
            }
        }
    }
    Ok(())
}

/// Lives until there is nothing left to do. Returns the operations of the first life.
fn story(handlers: &[&str], cuts: &[Cut], loss: Loss) -> u64 {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (mut cuts, mut first, mut quiet) = (cuts.iter(), None, 0);
    for life in 0.. {
        assert!(life < 30, "does not come to rest: {handlers:?}");
        disk.cut_at(*cuts.next().unwrap_or(&Cut::Never));
        let lived = live(&disk, &mut world, handlers);
        first.get_or_insert(disk.operations());
        if let Err(error) = lived {
            assert!(disk.is_dead(), "{error}");
            disk.reboot(loss);
        } else if !world.ends.is_empty() {
            // Another life, which must find nothing to do.
            quiet += 1;
        }
        if quiet == 2 {
            break;
        }
    }
    check(handlers, &world);
    first.unwrap_or_default()
}

fn check(handlers: &[&str], world: &World) {
    let (end, others) = world.ends.split_first().expect("the server heard its end");
    assert!(others.iter().all(|other| other == end), "two ends: {:?}", world.ends);
    assert!(world.runs.is_sorted_by_key(|run| run.0), "{handlers:?}: out of order: {:?}", world.runs);
    for (step, resumes) in &world.runs {
        assert!(!resumes || handlers[*step].starts_with("resume"), "{handlers:?}: it went on unasked");
    }
    for (step, handler) in handlers.iter().enumerate() {
        let runs: Vec<bool> = world.runs.iter().filter(|run| run.0 == step).map(|run| run.1).collect();
        if handler.starts_with("resume") {
            assert!(runs.iter().skip(1).all(|resumes| *resumes), "{handler} ran anew: {runs:?}");
        } else {
            assert!(runs.len() <= 1, "{handler} ran {} times", runs.len());
        }
        // One that may fail, or whose success is the restart, was begun and cut off before its program started.
        let may_be_missing = handler.starts_with("may") || handler.starts_with("reboot");
        assert!(*end != Verdict::Succeeded || may_be_missing || !runs.is_empty(), "{handler} was left out");
    }
    if handlers.iter().all(|handler| handler.starts_with("resume") || handler.starts_with("may")) {
        assert_eq!(*end, Verdict::Succeeded);
    }
}

const JOBS: [&[&str]; 4] =
    [&["a", "b"], &["resume-a", "resume-b"], &["may-a", "resume-b", "may-c"], &["reboot-a", "b"]];

#[test]
fn without_a_cut_everything_runs_once() {
    for handlers in JOBS {
        assert!(story(handlers, &[], Loss::All) > 5);
    }
}

#[test]
fn cut_before_and_after_each_operation() {
    for handlers in JOBS {
        let operations = story(handlers, &[], Loss::All);
        for number in 0..operations {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 1000)] {
                    story(handlers, &[cut], loss);
                }
            }
        }
    }
}

#[test]
fn cut_again_and_again() {
    let rng = fleetward_base::SeededRng::new(17);
    let chance = |bound: u64| fleetward_base::Rng::next_u64(&rng) % bound;
    for handlers in JOBS {
        let operations = story(handlers, &[], Loss::All);
        for _ in 0..200 {
            let cuts: Vec<Cut> = (0..1 + chance(3)).map(|_| Cut::After(chance(operations))).collect();
            story(handlers, &cuts, Loss::Chance(chance(u64::MAX)));
        }
    }
}
