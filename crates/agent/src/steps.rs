//! Jobs whose document is a list of steps, seen from the device: which program runs now, and that none runs twice unasked.
//!
//! One job at a time, its steps one after the other. [`Journal`] is on the disk before a program starts (`begun`) and before
//! its end leads to anything, so that after a power cut the device knows how far it came. A step that was begun and did not
//! end is treated as its handler says ([`Policy`], as with commands): by default the job fails, since nobody knows what was
//! done. What the owner of the device does not allow is rejected before the first step begins. A job is its id, the number of
//! its try and when it was queued: a retry is asked for, and so is a job that was deleted and made anew. Where the server
//! takes a job back, the program that runs comes to its end and no other begins. No I/O here but on [`Disk`].

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use fleetward_base::limits;
use fleetward_wire::aws::steps::{Action, Document};
use serde::{Deserialize, Serialize};

use crate::commands::Policy;
use crate::disk::{self, Disk};
use crate::jobs::{Which, Word};
use crate::record::Verdict;

/// The journal's file beneath the data folder.
pub const FILE: &str = "jobs";
/// Ends that are remembered, so that a job offered once more is answered and not done twice.
pub const KEPT: usize = 64;
/// Bytes of a step's name that are told.
const NAME_BYTES: usize = 100;
/// The server waits so much longer for the end of a step than the agent does: connections come and go.
const PATIENCE_MINUTES: u64 = 5;
/// The longest time limit that the server takes.
const LONGEST_MINUTES: u64 = 10_080;

/// One try at one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub job: String,
    pub number: i64,
    pub queued_at: i64,
}

impl Key {
    fn which(&self) -> Which {
        Which { job: self.job.clone(), number: Some(self.number) }
    }

    fn is(&self, which: &Which) -> bool {
        self.job == which.job && which.number == Some(self.number)
    }
}

/// A job as the server offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub key: Key,
    /// Or why it cannot be understood.
    pub document: Result<Document, String>,
}

/// What the conversation about jobs leads to, for jobs of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Offered(Box<Offer>),
    /// The server has the end of the job, or says that it was over already.
    Acknowledged(Which),
    /// The server says that the job is no more.
    Withdrawn(Which),
}

/// How the program of a step ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Why that is no success.
    pub failure: Option<String>,
    pub stdout: String,
    pub stderr: String,
}

/// A program that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub key: Key,
    /// Which step, from 0.
    pub step: usize,
    pub action: Action,
    pub limit: Duration,
    /// It was started before and did not end.
    pub resumes: bool,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    Say(Word),
    Run(Box<Run>),
    /// Ask the server for the next job.
    AskNext,
}

/// A job that was taken on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    key: Key,
    document: Document,
    /// Steps that came to their end: the number of the one that is begun.
    done: usize,
    /// The boot in which its program was last started, and how often that was.
    boot: String,
    starts: u32,
    /// The last that its programs wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdout: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
}

impl Task {
    fn action(&self) -> Option<&Action> {
        self.document.steps.get(self.done)
    }

    /// `2/3 install`.
    fn step(&self) -> String {
        let name = self.action().or(self.document.steps.last()).map_or("", |action| action.name.as_str());
        let of = self.document.steps.len();
        format!("{}/{of} {}", (self.done + 1).min(of), line(name, NAME_BYTES))
    }

    fn details(&self) -> BTreeMap<String, String> {
        let texts = [("step", self.step()), ("stdout", self.stdout.clone()), ("stderr", self.stderr.clone())];
        texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), text)).collect()
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    key: Key,
    verdict: Verdict,
    details: BTreeMap<String, String>,
    /// The server has said that it knows, or wants to know nothing.
    told: bool,
}

/// What must still be known after a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    task: Option<Task>,
    /// The newest last.
    finished: Vec<Outcome>,
}

impl Journal {
    /// Reads it; one that was never written is empty.
    ///
    /// # Errors
    /// Where the disk does not answer, or what it has is none: going on would be to forget.
    pub fn load(disk: &dyn Disk) -> io::Result<Self> {
        let Some(bytes) = disk.read(FILE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// A line on what it is at, and the last ends: for people.
    pub fn lines(&self) -> Vec<String> {
        let task = self.task.iter().map(|task| format!("job           {} step {}", task.key.job, task.step()));
        let finished = self.finished.iter().rev().take(5).map(|outcome| {
            let told = if outcome.told { "" } else { " (not told yet)" };
            format!("finished      {} {:?}{told}", outcome.key.job, outcome.verdict)
        });
        task.chain(finished).collect()
    }

    fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        disk::replace(disk, FILE, &bytes)
    }

    fn outcome(&self, key: &Key) -> Option<&Outcome> {
        self.finished.iter().find(|outcome| outcome.key == *key)
    }

    /// Those that were told make room, the oldest first.
    fn finish(&mut self, outcome: Outcome) {
        while self.finished.len() >= KEPT {
            let oldest = self.finished.iter().position(|outcome| outcome.told).unwrap_or(0);
            self.finished.remove(oldest);
        }
        self.finished.push(outcome);
    }
}

/// What the owner of the device lets a step do, and what becomes of it after a cut; or why not.
pub type Rules<'a> = &'a dyn Fn(&Action) -> Result<Policy, String>;

/// The jobs of steps of this device.
#[derive(Debug)]
pub struct Steps {
    boot: String,
    /// How long a step may take that says nothing of it.
    usual: Duration,
    journal: Journal,
    /// The program of the task runs in this process, or has run and waits for the device's restart.
    running: bool,
    /// The latter.
    waits: bool,
    /// The server wants no more of it.
    withdrawn: bool,
}

impl Steps {
    /// `boot` names this start of the machine.
    ///
    /// # Errors
    /// As for [`Journal::load`].
    pub fn open(boot: String, usual: Duration, disk: &dyn Disk) -> io::Result<Self> {
        Ok(Self { boot, usual, journal: Journal::load(disk)?, running: false, waits: false, withdrawn: false })
    }

    /// A session began: ends that the server may not have are told, and whether it still wants the job is asked for. What an
    /// earlier life left is gone on with when it does.
    pub fn session_began(&self) -> Vec<Todo> {
        let untold = self.journal.finished.iter().filter(|outcome| !outcome.told);
        let mut todo: Vec<Todo> = untold.map(|outcome| Todo::Say(told(outcome))).collect();
        todo.extend(self.journal.task.as_ref().filter(|_| self.running).map(|task| Todo::Say(self.progress(task))));
        if self.journal.task.is_some() || !todo.is_empty() {
            todo.push(Todo::AskNext);
        }
        todo
    }

    /// # Errors
    /// Where the journal cannot be written: then nothing is run.
    pub fn handle(&mut self, event: Event, rules: Rules<'_>, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        match event {
            Event::Offered(offer) => self.offered(*offer, rules, disk),
            Event::Acknowledged(which) => self.acknowledged(&which, disk),
            Event::Withdrawn(which) => self.withdrawn(&which, disk),
        }
    }

    fn offered(&mut self, offer: Offer, rules: Rules<'_>, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let Offer { key, document } = offer;
        if let Some(outcome) = self.journal.outcome(&key) {
            // Done before; the server has lost the answer, or has not got it yet.
            return Ok(vec![Todo::Say(told(outcome))]);
        }
        match &self.journal.task {
            Some(task) if task.key == key && self.running => {
                self.withdrawn = false;
                return Ok(vec![Todo::Say(self.progress(task))]);
            }
            Some(task) if task.key == key => return self.go_on(rules, disk),
            // The server is asked once more when that has ended.
            Some(_) if self.running && !self.waits => return Ok(Vec::new()),
            // Of an earlier life, or the restart that it waits for does not come, and the server has nothing of it in progress.
            Some(_) | None => {}
        }
        (self.running, self.waits) = (false, false);
        let allowed = document.and_then(|document| {
            let refusal = document.steps.iter().find_map(|action| rules(action).err().map(|why| (action, why)));
            match refusal {
                Some((action, why)) => Err(format!("step {}: {why}", line(&action.name, NAME_BYTES))),
                None => Ok(document),
            }
        });
        let mut next = self.journal.clone();
        let mut todo = Vec::new();
        if let Some(task) = next.task.take() {
            // Offered once more it would begin anew, so it has its end.
            let mut details = task.details();
            details.insert("reason".to_owned(), "another job took its place".to_owned());
            let outcome = Outcome { key: task.key, verdict: Verdict::Failed, details, told: false };
            todo.push(Todo::Say(told(&outcome)));
            next.finish(outcome);
        }
        let begun = match allowed {
            Err(why) => {
                let details = BTreeMap::from([("reason".to_owned(), line(&why, limits::DEPLOYMENT_DETAIL_BYTES))]);
                next.finish(Outcome { key, verdict: Verdict::Rejected, details, told: false });
                self.keep(next, disk)?;
                self.last_end()
            }
            Ok(document) => {
                let (stdout, stderr, boot) = (String::new(), String::new(), String::new());
                next.task = Some(Task { key, document, done: 0, boot, starts: 0, stdout, stderr });
                self.start(next, disk)?
            }
        };
        todo.extend(begun);
        Ok(todo)
    }

    /// First the disk, then the program.
    fn start(&mut self, mut next: Journal, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let Some(task) = &mut next.task else { return Ok(Vec::new()) };
        let Some(action) = task.action().cloned() else { return self.succeed(next, disk) };
        let resumes = task.starts > 0;
        task.boot.clone_from(&self.boot);
        task.starts = task.starts.saturating_add(1);
        let limit = self.limit(&action);
        let run = Run { key: task.key.clone(), step: task.done, action, limit, resumes };
        let progress = self.progress(task);
        self.keep(next, disk)?;
        self.running = true;
        Ok(vec![Todo::Say(progress), Todo::Run(Box::new(run))])
    }

    /// A step that an earlier life began.
    fn go_on(&mut self, rules: Rules<'_>, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let next = self.journal.clone();
        let Some(task) = &next.task else { return Ok(Vec::new()) };
        let Some(action) = task.action() else { return self.succeed(next, disk) };
        match rules(action).unwrap_or_default() {
            Policy::Resume | Policy::RerunIfIdempotent => self.start(next, disk),
            Policy::Reboots if task.boot != self.boot => self.next_step(next, &Ended::default(), disk),
            Policy::Reboots | Policy::ReportUnknown => {
                let why = "it was begun, and the agent did not see its end".to_owned();
                self.next_step(next, &Ended { failure: Some(why), ..Ended::default() }, disk)
            }
        }
    }

    /// The program of a step ended.
    ///
    /// # Errors
    /// Where the journal cannot be written: nothing follows then, and the end is not known in the next life.
    pub fn ended(&mut self, key: &Key, step: usize, ended: &Ended, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let ours = |task: &Task| task.key == *key && task.done == step;
        if !self.running || !self.journal.task.as_ref().is_some_and(ours) {
            return Ok(Vec::new());
        }
        (self.running, self.waits) = (false, false);
        let next = self.journal.clone();
        if std::mem::take(&mut self.withdrawn) {
            return self.drop_task(next, disk);
        }
        self.next_step(next, ended, disk)
    }

    /// The program of a step ended well, and the step has not before the device restarts.
    ///
    /// # Errors
    /// As for [`ended`](Self::ended).
    pub fn waits(&mut self, key: &Key, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        if !self.running || self.journal.task.as_ref().is_none_or(|task| task.key != *key) {
            return Ok(Vec::new());
        }
        if std::mem::take(&mut self.withdrawn) {
            self.running = false;
            return self.drop_task(self.journal.clone(), disk);
        }
        self.waits = true;
        Ok(Vec::new())
    }

    fn next_step(&mut self, mut next: Journal, ended: &Ended, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let Some(task) = &mut next.task else { return Ok(Vec::new()) };
        if task.document.include_std_out {
            task.stdout = tail(&task.stdout, &ended.stdout);
        }
        task.stderr = tail(&task.stderr, &ended.stderr);
        let forgiven = task.action().is_some_and(|action| action.ignore_step_failure);
        if let Some(failure) = ended.failure.as_ref().filter(|_| !forgiven) {
            let mut details = task.details();
            details.insert("reason".to_owned(), line(failure, limits::DEPLOYMENT_DETAIL_BYTES));
            return self.end(next, Verdict::Failed, details, disk);
        }
        task.done += 1;
        (task.starts, task.boot) = (0, String::new());
        self.start(next, disk)
    }

    fn succeed(&mut self, next: Journal, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let details = next.task.as_ref().map(Task::details).unwrap_or_default();
        self.end(next, Verdict::Succeeded, details, disk)
    }

    fn end(
        &mut self,
        mut next: Journal,
        verdict: Verdict,
        details: BTreeMap<String, String>,
        disk: &dyn Disk,
    ) -> io::Result<Vec<Todo>> {
        let Some(task) = next.task.take() else { return Ok(Vec::new()) };
        next.finish(Outcome { key: task.key, verdict, details, told: false });
        self.keep(next, disk)?;
        Ok(self.last_end())
    }

    /// The newest end, told, and the question what comes then.
    fn last_end(&self) -> Vec<Todo> {
        self.journal.finished.last().map(|outcome| Todo::Say(told(outcome))).into_iter().collect()
    }

    fn acknowledged(&mut self, which: &Which, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        let mut next = self.journal.clone();
        let untold = next.finished.iter_mut().filter(|outcome| outcome.key.is(which) && !outcome.told);
        let heard = untold.map(|outcome| outcome.told = true).count();
        if heard == 0 {
            return Ok(Vec::new());
        }
        self.keep(next, disk)?;
        Ok(vec![Todo::AskNext])
    }

    fn withdrawn(&mut self, which: &Which, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        match &self.journal.task {
            Some(task) if task.key.is(which) && self.running && !self.waits => {
                self.withdrawn = true;
                Ok(Vec::new())
            }
            Some(task) if task.key.is(which) => {
                (self.running, self.waits) = (false, false);
                self.drop_task(self.journal.clone(), disk)
            }
            _ => {
                let mut todo = self.acknowledged(which, disk)?;
                todo.push(Todo::AskNext);
                Ok(todo)
            }
        }
    }

    /// The server knows how it ended, and it was not by us.
    fn drop_task(&mut self, mut next: Journal, disk: &dyn Disk) -> io::Result<Vec<Todo>> {
        if let Some(task) = next.task.take() {
            let mut details = task.details();
            details.insert("reason".to_owned(), "the server took the job back".to_owned());
            next.finish(Outcome { key: task.key, verdict: Verdict::Failed, details, told: true });
        }
        self.keep(next, disk)?;
        Ok(vec![Todo::AskNext])
    }

    fn keep(&mut self, next: Journal, disk: &dyn Disk) -> io::Result<()> {
        next.save(disk)?;
        self.journal = next;
        Ok(())
    }

    fn limit(&self, action: &Action) -> Duration {
        action.timeout_s.map_or(self.usual, Duration::from_secs)
    }

    /// That it works on its step, and how long the server is to wait for the next word.
    fn progress(&self, task: &Task) -> Word {
        let limit = task.action().map_or(self.usual, |action| self.limit(action));
        let minutes = limit.as_secs().div_ceil(60).saturating_add(PATIENCE_MINUTES).min(LONGEST_MINUTES);
        let step_timeout_minutes = i64::try_from(minutes).ok();
        Word { which: task.key.which(), verdict: None, details: task.details(), step_timeout_minutes }
    }
}

fn told(outcome: &Outcome) -> Word {
    let (which, details) = (outcome.key.which(), outcome.details.clone());
    Word { which, verdict: Some(outcome.verdict), details, step_timeout_minutes: None }
}

/// The last that fits of what was written before and now: whole characters, no control characters.
fn tail(before: &str, now: &str) -> String {
    let all: String =
        format!("{before} {}", now.trim()).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut from = all.len().saturating_sub(limits::DEPLOYMENT_DETAIL_BYTES);
    while !all.is_char_boundary(from) {
        from += 1;
    }
    all.get(from..).unwrap_or_default().trim_start().to_owned()
}

/// The first that fits, as a line without control characters.
fn line(text: &str, bytes: usize) -> String {
    let mut left = bytes;
    let fits = |c: &char| {
        let fits = c.len_utf8() <= left;
        left = left.saturating_sub(c.len_utf8());
        fits
    };
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take_while(fits).collect()
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
