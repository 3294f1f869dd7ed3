//! The machine over a disk that loses power: cut before and after each operation, each time losing none, all or some of what
//! was not synced, and then once more somewhere on the way back.

use std::collections::BTreeMap;
use std::io;

use super::tests::{offer, policy};
use super::*;
use crate::disk::Disk as _;
use crate::disk::sim::{Cut, Loss, SimDisk};
use crate::record::BadRecord;
use crate::slots::{self, PartialImage};

const OLDER: &[u8] = b"the image of 1.0";
const OLD: &[u8] = b"the image of 2.0";
const NEW: &[u8] = b"the image of 3.0, somewhat longer than the one before it";
const SPAN: u64 = 8;

/// What the image does once it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Good,
    FailsItsTest,
    Crashes,
    /// The server's copy is not what the manifest promises.
    Wrong,
}

/// Server and outside world: they never lose power.
#[derive(Debug, Default)]
struct World {
    /// The end of each job as the server has it, and how often it was told.
    ended: BTreeMap<String, (Verdict, u32)>,
    boots: u32,
    trials: u32,
}

struct Device<'a> {
    disk: &'a SimDisk,
    world: &'a mut World,
    nature: Nature,
    job: Offer,
}

/// What ends a process.
enum End {
    PowerCut,
    Restart,
    Crash,
    /// Nothing is left to be done.
    Rest,
}

impl Device<'_> {
    /// One process from its start to its end.
    fn run(&mut self) -> End {
        self.world.boots += 1;
        let record = match Record::load(self.disk) {
            Ok(record) => record.expect("the first record was written before the story began"),
            Err(BadRecord::Disk(_)) if self.disk.is_dead() => return End::PowerCut,
            Err(other) => panic!("a power cut left a bad record: {other}"),
        };
        self.hold_invariants(&record);
        let mut machine = Machine::new(record, policy());
        let mut events = vec![Event::Connected, Event::Started];
        while let Some(event) = events.pop() {
            for effect in machine.handle(event) {
                match self.perform(effect, &mut events) {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    Err(error) => {
                        assert!(self.disk.is_dead(), "{error}");
                        return End::PowerCut;
                    }
                }
            }
        }
        End::Rest
    }

    fn perform(&mut self, effect: Effect, events: &mut Vec<Event>) -> io::Result<Option<End>> {
        self.disk.tick()?;
        match effect {
            Effect::Persist(record) => record.save(self.disk)?,
            Effect::Clear { slot, keep } => slots::clear(self.disk, slot, keep)?,
            Effect::Download { job, slot, artifact, .. } => {
                let result = self.download(slot, &artifact)?;
                events.insert(0, Event::DownloadEnded { job, result });
            }
            Effect::Install { job, slot, source, sha256, size } => {
                let result = slots::install(self.disk, slot, &source, sha256, size)?.map_err(|m| m.to_string());
                events.insert(0, Event::InstallEnded { job, result });
            }
            Effect::CheckSlot { slot, firmware } => {
                let intact = slots::is_intact(self.disk, slot, &firmware)?;
                events.push(Event::SlotChecked { slot, intact });
            }
            Effect::SelfTest { job, slot, firmware } => {
                assert!(slots::is_intact(self.disk, slot, &firmware)?, "tested an image that is not the signed one");
                self.world.trials += 1;
                match self.nature {
                    Nature::Crashes => return Ok(Some(End::Crash)),
                    Nature::FailsItsTest => events.insert(0, Event::SelfTestEnded { job, result: Err("bad".into()) }),
                    _ => events.insert(0, Event::SelfTestEnded { job, result: Ok(()) }),
                }
            }
            Effect::Restart => return Ok(Some(End::Restart)),
            Effect::Report(report) => {
                if let Some(verdict) = report.verdict {
                    let told = self.world.ended.entry(report.job.clone()).or_insert((verdict, 0));
                    assert_eq!(told.0, verdict, "two ends of one job");
                    told.1 += 1;
                    // The acknowledgement is lost with the power just as well.
                    self.disk.tick()?;
                    events.push(Event::Acknowledged { job: report.job });
                }
            }
            Effect::AskNext if !self.world.ended.contains_key(&self.job.job) => {
                events.insert(0, Event::Offered(Box::new(self.job.clone())));
            }
            Effect::AskNext | Effect::StopDownload => {}
        }
        Ok(None)
    }

    fn download(&self, slot: Slot, artifact: &Artifact) -> io::Result<Result<(), DownloadFailure>> {
        let mut content = NEW.to_vec();
        if self.nature == Nature::Wrong {
            content[20] ^= 1;
        }
        let mut part = PartialImage::open(self.disk, slot, artifact, SPAN)?;
        let from = usize::try_from(part.offset()).unwrap();
        for piece in content[from..].chunks(5) {
            part.append(self.disk, piece)?.expect("as long as promised");
        }
        Ok(part.finish(self.disk)?.map_err(|mismatch| DownloadFailure::Corrupt(mismatch.to_string())))
    }

    /// What must hold at each start, whatever was cut.
    fn hold_invariants(&self, record: &Record) {
        let active = record.slot(record.active).expect("the active slot is never empty");
        assert!(slots::is_intact(self.disk, record.active, active).unwrap(), "the active slot does not boot");
        for slot in [Slot::A, Slot::B] {
            if let Some(firmware) = record.slot(slot) {
                assert!(slots::is_intact(self.disk, slot, firmware).unwrap(), "slot {slot} is named and not intact");
            }
        }
        assert!(record.slot(record.running()).is_some(), "told to run an empty slot");
    }
}

/// A device that runs 2.0 from slot b. Slot a holds an older image, or what the factory put there.
fn prepare(disk: &SimDisk, factory: bool) {
    let mut record = Record::factory("1.0");
    let mut place = |slot, version: &str, content: &[u8]| {
        let image = crate::record::Image { sha256: Sha256::of(content), size: content.len() as u64 };
        let path = slots::image_path(slot, image.sha256);
        disk.write(&path, content).unwrap();
        disk.sync(&path).unwrap();
        disk.sync_folder(crate::disk::folder_of(&path)).unwrap();
        record.set_slot(slot, Some(Firmware { name: "os".into(), version: version.into(), image: Some(image) }));
    };
    if !factory {
        place(Slot::A, "1.0", OLDER);
    }
    place(Slot::B, "2.0", OLD);
    record.active = Slot::B;
    record.save(disk).unwrap();
}

/// Runs the story with the given cuts, one per life, and checks how it ends. Returns the operations of the first life.
fn story((nature, operation, factory): Story, cuts: &[Cut], loss: Loss) -> u64 {
    let (disk, mut world) = (SimDisk::new(), World::default());
    prepare(&disk, factory);
    let mut job = offer("job", operation, "3.0", NEW);
    if operation == Operation::Rollback {
        let content = job.content.as_mut().unwrap();
        (content.version, content.release, content.artifact) = ("2.0".into(), None, None);
    }
    let mut cuts = cuts.iter();
    let mut first_life = 0;
    disk.cut_at(*cuts.next().unwrap_or(&Cut::Never));
    for process in 0.. {
        assert!(process < 30, "does not come to rest: {nature:?}");
        let mut device = Device { disk: &disk, world: &mut world, nature, job: job.clone() };
        match device.run() {
            End::PowerCut => {
                disk.reboot(loss);
                disk.cut_at(*cuts.next().unwrap_or(&Cut::Never));
            }
            End::Restart | End::Crash => {}
            End::Rest => break,
        }
        first_life = first_life.max(disk.operations());
    }
    check_end(nature, operation, &disk, &world);
    first_life.max(disk.operations())
}

fn check_end(nature: Nature, operation: Operation, disk: &SimDisk, world: &World) {
    let record = Record::load(disk).unwrap().unwrap();
    let (verdict, told) = world.ended.get("job").copied().expect("the job's end was told");
    assert!(told <= 4, "told {told} times");
    let good = nature == Nature::Good;
    let version = match (good, operation) {
        (true, Operation::Update) => "3.0",
        (true, Operation::Rollback) => "1.0",
        (false, _) => "2.0",
    };
    assert_eq!(verdict, if good { Verdict::Succeeded } else { Verdict::Failed }, "{:?}", record.finished);
    assert_eq!((record.version(), &record.job), (version, &None));
    assert!(record.finished.iter().all(|outcome| outcome.acknowledged));
    let trials_at_most = if nature == Nature::Wrong { 0 } else { MAX_BOOTS };
    assert!(world.trials <= trials_at_most, "{} trials of an image that is {nature:?}", world.trials);
}

/// What the image does, what the job wants, and whether slot a holds what the factory installed.
type Story = (Nature, Operation, bool);

const STORIES: [Story; 10] = [
    (Nature::Good, Operation::Update, false),
    (Nature::Good, Operation::Update, true),
    (Nature::FailsItsTest, Operation::Update, false),
    (Nature::Crashes, Operation::Update, false),
    (Nature::Wrong, Operation::Update, false),
    (Nature::Wrong, Operation::Update, true),
    (Nature::Good, Operation::Rollback, false),
    (Nature::Good, Operation::Rollback, true),
    (Nature::FailsItsTest, Operation::Rollback, false),
    (Nature::Crashes, Operation::Rollback, true),
];

#[test]
fn without_a_cut_each_story_ends_as_it_must() {
    for told in STORIES {
        story(told, &[], Loss::All);
    }
}

#[test]
fn cut_before_and_after_each_operation() {
    for told in STORIES {
        let operations = story(told, &[], Loss::All);
        assert!(operations > 10, "{operations}");
        for number in 0..operations {
            for cut in [Cut::Before(number), Cut::After(number)] {
                for loss in [Loss::All, Loss::Nothing, Loss::Chance(number), Loss::Chance(number + 1000)] {
                    story(told, &[cut], loss);
                }
            }
        }
    }
}

#[test]
fn cut_again_and_again() {
    let rng = fleetward_base::SeededRng::new(11);
    let chance = |bound: u64| fleetward_base::Rng::next_u64(&rng) % bound;
    for told in STORIES {
        let operations = story(told, &[], Loss::All);
        for _ in 0..300 {
            let cuts: Vec<Cut> = (0..1 + chance(2)).map(|_| Cut::After(chance(operations))).collect();
            story(told, &cuts, Loss::Chance(chance(u64::MAX)));
        }
    }
}
