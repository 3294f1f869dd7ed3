//! Commands on a disk that loses power: cut before and after each operation and each word with the server, each time losing
//! none, all or some of what was not synced, and then again on the way back. Nothing runs twice unasked, nothing that ended is
//! told otherwise, and each command comes to an end that the server hears.

use std::collections::BTreeMap;

use super::tests::{acknowledged, request};
use super::*;
use crate::disk::sim::{Cut, Loss, SimDisk};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const IDS: [&str; 2] = ["c1", "c2"];

/// Server and outside world: they never lose power.
#[derive(Default)]
struct World {
    /// Programs that were started, and of those the ones that were told to go on.
    runs: BTreeMap<String, (u32, u32)>,
    /// What the server was told: that it runs, and the ends.
    began: BTreeMap<String, u32>,
    ends: BTreeMap<String, Vec<Status>>,
    lives: u32,
}

impl World {
    /// The server sends what it has heard nothing of.
    fn to_send(&self) -> Vec<&'static str> {
        IDS.into_iter().filter(|id| !self.ends.contains_key(*id) && !self.began.contains_key(*id)).collect()
    }

    fn hear(&mut self, message: &Message) -> Message {
        let id = parse(&message.topic).expect("a topic").execution.to_owned();
        let status = Response::parse(Format::Json, &message.payload).expect("an answer").status;
        if status == Status::InProgress {
            *self.began.entry(id.clone()).or_default() += 1;
        } else {
            self.ends.entry(id.clone()).or_default().push(status);
        }
        acknowledged(&id, "accepted", "{}")
    }
}

/// One life of the agent, from its start to its end; an error where the power was cut.
fn live(disk: &SimDisk, world: &mut World, policy: Policy) -> io::Result<()> {
    // Half of the lives begin with a boot of the device, the other half are the agent's alone.
    let boot = format!("boot-{}", world.lives / 2);
    world.lives += 1;
    let mut commands = Commands::open("gw-1", boot, disk)?;
    let mut todo = commands.session_began(|_| Some(policy), disk)?;
    for id in world.to_send() {
        disk.tick()?;
        let request = Request::of(&request(id), "gw-1").expect("a request");
        todo.push(commands.arrived(request, Some(policy), NOW, disk)?);
    }
    for one in todo {
        match one {
            Arrived::Answer(answer) => tell(disk, world, &mut commands, &answer)?,
            Arrived::Run(run) => run_it(disk, world, &mut commands, policy, &run)?,
        }
    }
    Ok(())
}

fn run_it(disk: &SimDisk, world: &mut World, commands: &mut Commands, policy: Policy, run: &Run) -> io::Result<()> {
    let began = commands.began(run);
    tell(disk, world, commands, &began)?;
    disk.tick()?;
    let ran = world.runs.entry(run.request.id.clone()).or_default();
    ran.0 += 1;
    ran.1 += u32::from(run.resumes);
    disk.tick()?;
    if policy != Policy::Reboots
        && let Some(answer) = commands.ended(&run.request.id, Ended::succeeded(""), disk)?
    {
        tell(disk, world, commands, &answer)?;
    }
    Ok(())
}

/// The power can go before a word leaves, and before its acknowledgement arrives.
fn tell(disk: &SimDisk, world: &mut World, commands: &mut Commands, message: &Message) -> io::Result<()> {
    disk.tick()?;
    let acknowledgement = world.hear(message);
    disk.tick()?;
    commands.hear(&acknowledgement, disk)
}

/// Lives until there is nothing left to do. Returns the operations of the first life.
fn story(policy: Policy, cuts: &[Cut], loss: Loss) -> u64 {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (mut cuts, mut first, mut quiet) = (cuts.iter(), None, 0);
    for life in 0.. {
        assert!(life < 20, "does not come to rest: {policy:?}");
        disk.cut_at(*cuts.next().unwrap_or(&Cut::Never));
        let lived = live(&disk, &mut world, policy);
        first.get_or_insert(disk.operations());
        if let Err(error) = lived {
            assert!(disk.is_dead(), "{error}");
            disk.reboot(loss);
        } else if IDS.iter().all(|id| world.ends.contains_key(*id)) {
            // Another life, which must find nothing to do.
            quiet += 1;
        }
        if quiet == 2 {
            break;
        }
    }
    for id in IDS {
        let (runs, resumed) = world.runs.get(id).copied().unwrap_or_default();
        let ends = world.ends.get(id).unwrap_or_else(|| panic!("{id}: the server never heard its end"));
        assert!(ends.iter().all(|end| Some(end) == ends.first()), "{id}: two ends: {ends:?}");
        match policy {
            Policy::ReportUnknown | Policy::Reboots => assert!(runs <= 1, "{id} ran {runs} times"),
            // What runs again is told so.
            Policy::Resume | Policy::RerunIfIdempotent => {
                assert!(runs >= 1 && resumed + 1 >= runs, "{id} ran {runs} times, {resumed} of them knew");
                assert_eq!(ends.first(), Some(&Status::Succeeded));
            }
        }
    }
    first.unwrap_or_default()
}

const POLICIES: [Policy; 4] = [Policy::ReportUnknown, Policy::RerunIfIdempotent, Policy::Resume, Policy::Reboots];

#[test]
fn without_a_cut_everything_runs_once() {
    for policy in POLICIES {
        assert!(story(policy, &[], Loss::All) > 10);
    }
}

#[test]
fn cut_before_and_after_each_operation() {
    for policy in POLICIES {
        let operations = story(policy, &[], Loss::All);
        for number in 0..operations {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 1000)] {
                    story(policy, &[cut], loss);
                }
            }
        }
    }
}

#[test]
fn cut_again_and_again() {
    let rng = fleetward_base::SeededRng::new(11);
    let chance = |bound: u64| fleetward_base::Rng::next_u64(&rng) % bound;
    for policy in POLICIES {
        let operations = story(policy, &[], Loss::All);
        for _ in 0..200 {
            let cuts: Vec<Cut> = (0..1 + chance(3)).map(|_| Cut::After(chance(operations))).collect();
            story(policy, &cuts, Loss::Chance(chance(u64::MAX)));
        }
    }
}
