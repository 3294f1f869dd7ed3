//! The course of an update, as a state machine that does no I/O: events in, effects out.
//!
//! What must survive a power cut is in the [`Record`]; all else can be lost at any moment. The driver performs effects in
//! their order, and an [`Effect::Persist`] is durable before the next one begins. From this follows, and `power_cut` tests
//! it at every step:
//! - the active slot is never written to, so there is always something to boot;
//! - a slot is entered into the record only after its image has been checked against a manifest that an accepted signer
//!   signed, and it is checked once more before its trial;
//! - each start in a slot on trial is counted before anything else happens, so that one that crashes ends in falling back;
//! - every job that was taken on ends, and its end is told until the server has acknowledged it.

mod accept;

use fleetward_supply::{Artifact, Sha256, Signers};

use crate::record::{Firmware, Job, OUTCOMES_KEPT, Outcome, Phase, Record, Slot, Source, Verdict};
pub use accept::{Content, Offer, Operation};

/// Starts in a slot on trial before it is given up.
pub const MAX_BOOTS: u32 = 3;
/// Processes that may work on one download before it is given up.
pub const MAX_STARTS: u32 = 20;
/// Failed attempts of one process at one download, in a row without any new byte, before it is given up.
pub const MAX_IDLE_ATTEMPTS: u32 = 12;
/// Times that a complete download may turn out to be something else.
pub const MAX_CORRUPT: u32 = 2;

/// What the device is, which no job can change.
#[derive(Clone, Debug)]
pub struct Policy {
    /// This device's hardware revision.
    pub hardware: String,
    /// Whose releases it accepts.
    pub signers: Signers,
}

/// Why a download did not give the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadFailure {
    /// The link broke or the server was busy; `progress` says whether new bytes came. Worth another attempt.
    Interrupted { reason: String, progress: bool },
    /// All bytes came and are not what the manifest promises.
    Corrupt(String),
    /// The server does not give it, or it does not fit on the disk: another attempt changes nothing.
    Refused(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process began. Comes first, and once.
    Started,
    /// A session with the server stands, subscriptions included.
    Connected,
    Offered(Box<Offer>),
    DownloadEnded {
        job: String,
        result: Result<(), DownloadFailure>,
    },
    /// The image and what vouches for it are in the slot, checked and synced.
    InstallEnded {
        job: String,
        result: Result<(), String>,
    },
    /// The slot on trial was compared with its manifest.
    SlotChecked {
        slot: Slot,
        intact: bool,
    },
    SelfTestEnded {
        job: String,
        result: Result<(), String>,
    },
    /// The server has the end of the job, or says that it was over already.
    Acknowledged {
        job: String,
    },
    /// The server says that the job is no more.
    Withdrawn {
        job: String,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the record durable before going on. If that fails the process must end.
    Persist(Box<Record>),
    /// Remove all files of a slot but the image with this hash.
    Clear {
        slot: Slot,
        keep: Option<Sha256>,
    },
    /// Fetch the image into the slot, going on where an earlier attempt ended. `attempt` is 0 for the first; the driver waits
    /// longer before later ones.
    Download {
        job: String,
        slot: Slot,
        url: String,
        artifact: Artifact,
        attempt: u32,
    },
    /// End a download that is under way.
    StopDownload,
    /// Put the release's manifest beside the downloaded image, check the image, and sync all.
    Install {
        job: String,
        slot: Slot,
        source: Box<Source>,
        sha256: Sha256,
        size: u64,
    },
    /// Compare the slot's image with its hash.
    CheckSlot {
        slot: Slot,
        firmware: Box<Firmware>,
    },
    SelfTest {
        job: String,
        slot: Slot,
        firmware: Box<Firmware>,
    },
    /// Begin anew in the slot that the record says.
    Restart,
    /// Tell the server; lost where there is no connection, and then told again on the next one.
    Report(Report),
    /// Ask the server for the next job.
    AskNext,
}

/// What the server is told of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub job: String,
    /// None while the job goes on.
    pub verdict: Option<Verdict>,
    pub step: String,
    pub reason: Option<String>,
    /// The version that runs now.
    pub version: String,
}

/// The machine: the record, and what may be forgotten.
#[derive(Debug)]
pub struct Machine {
    record: Record,
    policy: Policy,
    connected: bool,
    /// Failed attempts in a row without progress, and complete ones that were wrong, of this process.
    idle_attempts: u32,
    corrupt: u32,
}

impl Machine {
    pub fn new(record: Record, policy: Policy) -> Self {
        Self { record, policy, connected: false, idle_attempts: 0, corrupt: 0 }
    }

    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Takes an event and says what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut todo = Vec::new();
        match event {
            Event::Started => self.started(&mut todo),
            Event::Connected => self.session_began(&mut todo),
            Event::Offered(offer) => self.offered(*offer, &mut todo),
            Event::DownloadEnded { job, result } if self.is_at(&job, false) => self.download_ended(result, &mut todo),
            Event::InstallEnded { job, result } if self.is_at(&job, false) => self.install_ended(result, &mut todo),
            Event::SlotChecked { slot, intact } => self.slot_checked(slot, intact, &mut todo),
            Event::SelfTestEnded { job, result } if self.is_at(&job, true) => self.self_test_ended(result, &mut todo),
            Event::Acknowledged { job } => self.acknowledged(&job, &mut todo),
            Event::Withdrawn { job } => self.withdrawn(&job, &mut todo),
            // The end of something that belongs to a job which is no more.
            Event::DownloadEnded { .. } | Event::InstallEnded { .. } | Event::SelfTestEnded { .. } => {}
        }
        todo
    }

    /// The session ended; reports wait for the next one.
    pub const fn disconnected(&mut self) {
        self.connected = false;
    }

    fn is_at(&self, id: &str, trying: bool) -> bool {
        self.record.job.as_ref().is_some_and(|job| job.id == id && matches!(job.phase, Phase::Trying { .. }) == trying)
    }

    fn persist(&self, todo: &mut Vec<Effect>) {
        todo.push(Effect::Persist(Box::new(self.record.clone())));
    }

    fn report_step(&self, step: &str, reason: Option<String>, todo: &mut Vec<Effect>) {
        if let Some(job) = self.record.job.as_ref().filter(|_| self.connected) {
            let version = self.record.version().to_owned();
            let (job, step) = (job.id.clone(), step.to_owned());
            todo.push(Effect::Report(Report { job, verdict: None, step, reason, version }));
        }
    }

    fn report_outcome(&self, outcome: &Outcome, todo: &mut Vec<Effect>) {
        if self.connected {
            todo.push(Effect::Report(Report {
                job: outcome.job.clone(),
                verdict: Some(outcome.verdict),
                step: outcome.step.clone(),
                reason: Some(outcome.reason.clone()),
                version: self.record.version().to_owned(),
            }));
        }
    }

    /// The job's end enters the record; the oldest acknowledged one leaves it.
    fn finish(&mut self, job: String, verdict: Verdict, step: &str, reason: String) {
        self.record.finished.retain(|outcome| outcome.job != job);
        let step = step.to_owned();
        self.record.finished.push(Outcome { job, verdict, step, reason, acknowledged: false });
        while self.record.finished.len() > OUTCOMES_KEPT {
            let oldest = self.record.finished.iter().position(|outcome| outcome.acknowledged).unwrap_or(0);
            self.record.finished.remove(oldest);
        }
    }

    fn started(&mut self, todo: &mut Vec<Effect>) {
        let Some(job) = self.record.job.as_mut() else { return };
        match &mut job.phase {
            Phase::Trying { boots } if *boots >= MAX_BOOTS => {
                let reason = format!("began {boots} times and never finished its self-test");
                // This process has not begun anything yet: it goes on in the slot fallen back to.
                self.fall_back("restarting", reason, todo);
            }
            Phase::Trying { boots } => {
                *boots += 1;
                let (slot, firmware) = (job.target, Box::new(job.firmware.clone()));
                self.persist(todo);
                todo.push(Effect::CheckSlot { slot, firmware });
            }
            Phase::Downloading { starts } if *starts >= MAX_STARTS => {
                let reason = format!("interrupted {starts} times");
                self.abandon(Verdict::Failed, "downloading", reason, todo);
            }
            Phase::Downloading { starts } => {
                *starts += 1;
                self.persist(todo);
                self.download(0, todo);
            }
        }
    }

    fn session_began(&mut self, todo: &mut Vec<Effect>) {
        self.connected = true;
        let pending: Vec<Outcome> = self.record.finished.iter().filter(|o| !o.acknowledged).cloned().collect();
        pending.iter().for_each(|outcome| self.report_outcome(outcome, todo));
        match self.record.job.as_ref().map(|job| job.phase) {
            Some(Phase::Downloading { .. }) => self.report_step("downloading", None, todo),
            Some(Phase::Trying { .. }) => self.report_step("testing", None, todo),
            None if pending.is_empty() => todo.push(Effect::AskNext),
            None => {}
        }
    }

    /// The effect that fetches the image of the current job.
    fn download(&self, attempt: u32, todo: &mut Vec<Effect>) {
        let Some(Job { id, target, firmware, source: Some(source), .. }) = &self.record.job else { return };
        let Some(image) = &firmware.image else { return };
        let artifact = Artifact {
            filename: String::from("image"),
            hardware: vec![self.policy.hardware.clone()],
            sha256: image.sha256,
            size: image.size,
        };
        todo.push(Effect::Clear { slot: *target, keep: Some(image.sha256) });
        let (job, slot, url) = (id.clone(), *target, source.url.clone());
        todo.push(Effect::Download { job, slot, url, artifact, attempt });
    }

    fn download_ended(&mut self, result: Result<(), DownloadFailure>, todo: &mut Vec<Effect>) {
        match result {
            Ok(()) => {
                let Some(Job { id, target, firmware, source: Some(source), .. }) = &self.record.job else { return };
                let Some(image) = &firmware.image else { return };
                let install = Effect::Install {
                    job: id.clone(),
                    slot: *target,
                    source: Box::new(source.clone()),
                    sha256: image.sha256,
                    size: image.size,
                };
                self.report_step("installing", None, todo);
                todo.push(install);
            }
            Err(DownloadFailure::Interrupted { reason, progress }) => {
                self.idle_attempts = if progress { 1 } else { self.idle_attempts + 1 };
                if self.idle_attempts > MAX_IDLE_ATTEMPTS {
                    self.abandon(Verdict::Failed, "downloading", reason, todo);
                } else {
                    self.download(self.idle_attempts, todo);
                }
            }
            Err(DownloadFailure::Corrupt(reason)) => self.corrupted(reason, todo),
            Err(DownloadFailure::Refused(reason)) => self.abandon(Verdict::Failed, "downloading", reason, todo),
        }
    }

    /// The image is not the promised one: what is there is worthless, and another attempt begins from nothing.
    fn corrupted(&mut self, reason: String, todo: &mut Vec<Effect>) {
        self.corrupt += 1;
        if self.corrupt > MAX_CORRUPT {
            self.abandon(Verdict::Failed, "verifying", reason, todo);
        } else if let Some(job) = &self.record.job {
            todo.push(Effect::Clear { slot: job.target, keep: None });
            self.download(self.corrupt, todo);
        }
    }

    fn install_ended(&mut self, result: Result<(), String>, todo: &mut Vec<Effect>) {
        if let Err(reason) = result {
            return self.corrupted(reason, todo);
        }
        if let Some(mut job) = self.record.job.take() {
            self.record.set_slot(job.target, Some(job.firmware.clone()));
            job.phase = Phase::Trying { boots: 0 };
            self.record.job = Some(job);
            self.enter_trial(todo);
        }
    }

    /// The record says that the target slot is on trial; the next process begins there.
    fn enter_trial(&self, todo: &mut Vec<Effect>) {
        self.persist(todo);
        self.report_step("restarting", None, todo);
        todo.push(Effect::Restart);
    }

    fn slot_checked(&mut self, slot: Slot, intact: bool, todo: &mut Vec<Effect>) {
        let Some(job) = &self.record.job else { return };
        if job.target != slot || !matches!(job.phase, Phase::Trying { .. }) {
            return;
        }
        if intact {
            let test = Effect::SelfTest { job: job.id.clone(), slot, firmware: Box::new(job.firmware.clone()) };
            self.report_step("testing", None, todo);
            todo.push(test);
        } else {
            self.fall_back("testing", String::from("the image in the slot is damaged"), todo);
            todo.push(Effect::Restart);
        }
    }

    fn self_test_ended(&mut self, result: Result<(), String>, todo: &mut Vec<Effect>) {
        if let Err(reason) = result {
            self.report_step("falling-back", Some(reason.clone()), todo);
            self.fall_back("testing", reason, todo);
            todo.push(Effect::Restart);
        } else if let Some(job) = self.record.job.take() {
            self.record.active = job.target;
            let reason = format!("running {}", job.firmware.version);
            self.conclude(job.id, Verdict::Succeeded, "committed", reason, todo);
        }
    }

    /// Gives the slot on trial up. The active one was never touched.
    fn fall_back(&mut self, step: &str, reason: String, todo: &mut Vec<Effect>) {
        let Some(job) = self.record.job.take() else { return };
        if job.firmware.image.is_some() {
            self.record.set_slot(job.target, None);
        }
        let reason = format!("fell back to {}: {reason}", self.record.version());
        // It is told by the process that runs in the slot fallen back to.
        self.finish(job.id, Verdict::Failed, step, reason);
        self.persist(todo);
    }

    /// Gives a job up before its image was tried.
    fn abandon(&mut self, verdict: Verdict, step: &str, reason: String, todo: &mut Vec<Effect>) {
        let Some(job) = self.record.job.take() else { return };
        // First the room, then the record: the disk may be full.
        todo.push(Effect::Clear { slot: job.target, keep: None });
        self.conclude(job.id, verdict, step, reason, todo);
    }

    fn conclude(&mut self, job: String, verdict: Verdict, step: &str, reason: String, todo: &mut Vec<Effect>) {
        (self.idle_attempts, self.corrupt) = (0, 0);
        self.finish(job, verdict, step, reason);
        self.persist(todo);
        if let Some(outcome) = self.record.finished.last() {
            self.report_outcome(outcome, todo);
        }
    }

    fn acknowledged(&mut self, job: &str, todo: &mut Vec<Effect>) {
        let Some(outcome) = self.record.finished.iter_mut().find(|outcome| outcome.job == job) else { return };
        if !outcome.acknowledged {
            outcome.acknowledged = true;
            self.persist(todo);
        }
        if self.connected && self.record.job.is_none() && self.record.finished.iter().all(|o| o.acknowledged) {
            todo.push(Effect::AskNext);
        }
    }

    /// A job that is no more is dropped while its image is only being fetched. A slot on trial is tried to its end: the
    /// device must end up in one slot or the other, whoever lost interest.
    fn withdrawn(&mut self, id: &str, todo: &mut Vec<Effect>) {
        if self.is_at(id, false)
            && let Some(job) = self.record.job.take()
        {
            todo.push(Effect::StopDownload);
            todo.push(Effect::Clear { slot: job.target, keep: None });
            self.persist(todo);
        }
        self.acknowledged(id, todo);
        if self.connected && self.record.job.is_none() && self.record.outcome(id).is_none() {
            todo.push(Effect::AskNext);
        }
    }
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
