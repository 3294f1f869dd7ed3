//! The running agent: one loop that feeds events to the machines and performs what they ask for.
//!
//! Decisions are elsewhere (`machine`, `jobs`, `shadow`, `identity`); here is the order of things. There is one session at a
//! time, and whatever takes long (connecting, enrolling, downloading, handlers) is a task whose end is an event. Nothing here
//! is lost with the process: what must not be is on the disk before it counts.

mod attestation;
mod certificates;
mod effects;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Clock, Rng};
use fleetward_supply::{Signers, VerifyingKey};
use fleetward_wire::renew;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::attest::{AttestError, Attester, Verdict};
use crate::clock::FloorClock;
use crate::disk::{Disk, Folder};
use crate::est::{EstError, Service};
use crate::handlers::Handlers;
use crate::identity::Credential;
use crate::jobs::Jobs;
use crate::keys::tpm::TpmKeys;
use crate::keys::{Keys, Whereabouts};
use crate::machine::{Event, Machine, Policy};
use crate::mqtt::{End, Message, Session, Target};
use crate::options::RunOptions;
use crate::record::{self, BadRecord, Record, Slot};
use crate::shadow::{self, Applied, Change, Shadow};
use crate::tls::{Anchors, Server};
use attestation::Attestation;
use certificates::Certificates;

/// How often unanswered requests, the certificate and the connection are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at unanswered requests.
const REQUEST_TICKS: u32 = 5;
/// What may be said between the decision to leave and leaving.
const FAREWELL: Duration = Duration::from_secs(3);
/// Longest wait between two attempts to connect; a device that the server does not want waits up to five times this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Stop,
    /// It must begin anew, in the slot that the record says.
    Restart,
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("another agent uses the data folder")]
    Busy,
    #[error(transparent)]
    Record(#[from] BadRecord),
    #[error("{0}: {1}")]
    Setup(String, String),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> AgentError {
    let what = what.into();
    move |source| AgentError::Io { what, source }
}

/// The end of something that took long.
enum Done {
    Opened(Arc<Credential>, Result<Box<Session>, End>),
    Issued {
        place: Slot,
        result: Result<Vec<u8>, EstError>,
    },
    Machine(Event),
    Applied(Vec<(Change, Result<(), String>)>),
    Attested(Result<Verdict, AttestError>),
    /// A session was said goodbye to.
    Left,
}

/// How things stand with the connection.
enum Link {
    /// Not before this moment of the monotonic clock.
    Waiting(Duration),
    Opening,
    Open(Box<Session>),
}

/// All that runs.
pub struct Agent {
    options: RunOptions,
    folder: Folder,
    disk: Arc<dyn Disk>,
    /// None: keys are files.
    keys: Option<Arc<dyn Keys>>,
    clock: Arc<FloorClock>,
    rng: Arc<dyn Rng>,
    target: Target,
    service: Service,
    handlers: Handlers,
    machine: Machine,
    jobs: Jobs,
    shadow: Shadow,
    certificates: Certificates,
    attestation: Attestation,
    link: Link,
    /// Failed attempts to connect, in a row.
    attempts: u32,
    ticks: u32,
    work: JoinSet<Done>,
    download: Option<AbortHandle>,
    /// Whether a session stands, for the self-test that waits for one.
    online: watch::Sender<bool>,
    restart: bool,
}

impl Agent {
    /// Reads what is on the disk and begins.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn open(options: RunOptions, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self, AgentError> {
        let folder = Folder::open(&options.data.data_dir).map_err(io_error("cannot make the data folder"))?;
        lock(&folder)?;
        let disk: Arc<dyn Disk> = Arc::new(folder.clone());
        let (keys, tpm_keys) = open_keys(&options)?;
        let clock = Arc::new(FloorClock::open(clock, disk.as_ref()));
        let pem = std::fs::read(&options.ca).map_err(io_error("cannot read the CA file"))?;
        let anchors = Anchors::from_pem(&pem)
            .map_err(|error| AgentError::Setup(options.ca.display().to_string(), error.to_string()))?
            .with_clock(Arc::clone(&clock));
        let server = Server { host: options.server.clone(), anchors };
        let device = options.device.clone();
        let ticking: Arc<dyn Clock> = clock.clone();
        let target = Target { server: server.clone(), port: options.mqtt_port, device, clock: ticking };
        let service = Service { server, port: options.device_port, label: options.tenant.clone() };
        let attester = options.tpm.clone().map(|place| Attester {
            service: service.clone(),
            // A TPM that holds the device's keys too is spoken to on one connection: a simulated one has no other.
            shared: tpm_keys.clone().filter(|_| options.keys == Whereabouts::Tpm(place.clone())),
            place,
            log: options.event_log.clone(),
            rng: Arc::clone(&rng),
        });
        let record = open_record(disk.as_ref(), &options.initial_version)?;
        let applied = Applied::load(disk.as_ref()).map_err(io_error("cannot read the applied configuration"))?;
        let policy = Policy { hardware: options.hardware.clone(), signers: read_signers(&options)? };
        if policy.signers.is_empty() {
            tracing::warn!("no accepted signers: every update will be refused");
        }
        Ok(Self {
            handlers: Handlers::new(options.handlers.clone(), folder.resolve(""), options.handler_limit()),
            machine: Machine::new(record, policy),
            jobs: Jobs::new(&options.device),
            shadow: Shadow::new(&options.device, boot_id(rng.as_ref()), applied),
            certificates: Certificates::new(rng.as_ref()),
            attestation: Attestation::new(attester),
            link: Link::Waiting(Duration::ZERO),
            attempts: 0,
            ticks: 0,
            work: JoinSet::new(),
            download: None,
            online: watch::Sender::new(false),
            restart: false,
            options,
            folder,
            disk,
            keys,
            clock,
            rng,
            target,
            service,
        })
    }

    /// Runs until it is asked to stop or has to begin anew.
    ///
    /// # Errors
    /// Where the record cannot be written: going on would be to forget.
    pub async fn run(mut self) -> Result<Exit, AgentError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(io_error("cannot listen to signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(io_error("cannot listen to signals"))?;
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let record = self.machine.record();
        tracing::info!(device = %self.options.device, slot = %record.running(), version = record.version(), "running");
        self.happened(Event::Started)?;
        while !self.restart {
            tokio::select! {
                heard = hear(&mut self.link) => self.heard(heard)?,
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done)?,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a task failed"),
                },
                _ = ticker.tick() => self.tick(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        let exit = if self.restart { Exit::Restart } else { Exit::Stop };
        self.leave().await;
        Ok(exit)
    }

    /// Says what is still to be said, and goodbye; no longer than a few seconds.
    async fn leave(mut self) {
        let _told = timeout(FAREWELL, self.tell_the_rest()).await;
        if let Link::Open(session) = self.link {
            session.close().await;
        }
    }

    /// Reports go one by one, each after the answer to the one before. What the answers lead to is left to the next process.
    async fn tell_the_rest(&mut self) {
        while matches!(self.link, Link::Open(_)) && !self.jobs.is_idle() {
            let Ok(message) = hear(&mut self.link).await else { return };
            let heard = self.jobs.hear(&message);
            self.send(heard.send);
        }
        if let Link::Open(session) = &mut self.link {
            let _drained = session.drain().await;
        }
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if let Err(error) = self.clock.keep(self.disk.as_ref()) {
            tracing::warn!(%error, "cannot keep the time");
        }
        self.look_after_certificate();
        self.look_after_attestation();
        if let Link::Waiting(until) = self.link
            && self.clock.monotonic() >= until
        {
            self.connect();
        }
        if matches!(self.link, Link::Open(_)) && self.ticks.is_multiple_of(REQUEST_TICKS) {
            let mut messages = self.jobs.tick();
            messages.extend(self.shadow.tick());
            self.send(messages);
        }
    }

    /// Begins to connect, with the credential that is to be proven or the one in use.
    fn connect(&mut self) {
        if self.attestation.is_first() {
            return;
        }
        let Some(credential) = self.certificates.to_connect_with() else { return };
        self.link = Link::Opening;
        let (target, device) = (self.target.clone(), self.options.device.clone());
        self.work.spawn(async move {
            let filters = [Jobs::filters(&device), Shadow::filters(&device), vec![renew::topic(&device)]].concat();
            let opened = Session::open(&target, &credential, &filters).await.map(Box::new);
            Done::Opened(credential, opened)
        });
    }

    /// Waits longer after each failure, and never as long as the others do.
    fn wait_to_connect(&mut self, end: &End) {
        let longest = if end.is_about_identity() { LONGEST_WAIT * 5 } else { LONGEST_WAIT };
        let wait = Duration::from_secs(1 << self.attempts.min(10)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        let wait = wait.mul_f64(0.5 + 0.5 * chance(self.rng.as_ref()));
        self.link = Link::Waiting(self.clock.monotonic() + wait);
        tracing::warn!(reason = %end, seconds = wait.as_secs_f64(), "not connected");
    }

    fn session_ended(&mut self, end: &End) {
        self.online.send_replace(false);
        self.machine.disconnected();
        self.certificates.session_ended(end, self.clock.monotonic());
        self.wait_to_connect(end);
    }

    fn session_began(&mut self, session: Box<Session>) -> Result<(), AgentError> {
        tracing::info!("connected");
        self.attempts = 0;
        self.link = Link::Open(session);
        self.online.send_replace(true);
        self.jobs.session_began();
        let fetch = self.shadow.session_began();
        self.send(fetch.into_iter().collect());
        self.happened(Event::Connected)
    }

    fn send(&mut self, messages: Vec<Message>) {
        if let Link::Open(session) = &mut self.link {
            messages.into_iter().for_each(|message| session.publish(message.topic, message.payload));
        }
    }

    fn heard(&mut self, heard: Result<Message, End>) -> Result<(), AgentError> {
        let message = match heard {
            Ok(message) => message,
            Err(end) => {
                self.session_ended(&end);
                return Ok(());
            }
        };
        self.hear_renew(&message);
        let jobs = self.jobs.hear(&message);
        self.send(jobs.send);
        for event in jobs.events {
            self.happened(event)?;
        }
        match self.shadow.hear(&message) {
            shadow::Heard::Send(message) => self.send(vec![message]),
            shadow::Heard::Apply(changes) => self.apply(changes),
            shadow::Heard::Nothing => {}
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> Result<(), AgentError> {
        match done {
            Done::Opened(credential, Ok(session)) if self.proven(&credential) => self.session_began(session),
            Done::Opened(_, Ok(session)) => {
                // Another credential is to be proven meanwhile.
                self.farewell(session);
                self.link = Link::Waiting(Duration::ZERO);
                Ok(())
            }
            Done::Opened(credential, Err(end)) => {
                self.not_accepted(&credential, &end);
                self.wait_to_connect(&end);
                Ok(())
            }
            Done::Issued { place, result } => {
                self.issued(place, result);
                Ok(())
            }
            Done::Machine(event) => self.happened(event),
            Done::Applied(results) => {
                self.keep_applied(results);
                Ok(())
            }
            Done::Attested(result) => {
                self.attested(result);
                Ok(())
            }
            Done::Left => Ok(()),
        }
    }

    /// Runs the handlers of these changes, one after the other.
    fn apply(&mut self, changes: Vec<Change>) {
        let handlers = self.handlers.clone();
        self.work.spawn(async move {
            let mut results = Vec::new();
            for change in changes {
                let result = if shadow::is_own(&change.key) {
                    Err(String::from("this key is the agent's own"))
                } else {
                    let value = change.value.to_string();
                    handlers.run(&change.key, value.as_bytes(), &[]).await.map_err(|error| error.to_string())
                };
                match &result {
                    Ok(()) => tracing::info!(key = %change.key, "applied"),
                    Err(reason) => tracing::warn!(key = %change.key, %reason, "not applied"),
                }
                results.push((change, result));
            }
            Done::Applied(results)
        });
    }

    /// First the disk, then the report.
    fn keep_applied(&mut self, results: Vec<(Change, Result<(), String>)>) {
        if let Err(error) = self.shadow.applied(results).save(self.disk.as_ref()) {
            tracing::error!(%error, "cannot keep what was applied; it is not reported");
            return self.shadow.not_kept();
        }
        let version = self.machine.record().version().to_owned();
        let messages = self.shadow.report(&version);
        self.send(messages);
    }
}

/// What holds the device's keys, where it is not the data folder.
type Held = (Option<Arc<dyn Keys>>, Option<TpmKeys>);

fn open_keys(options: &RunOptions) -> Result<Held, AgentError> {
    let bad = |reason: String| AgentError::Setup(format!("the keys in the {}", options.keys), reason);
    match &options.keys {
        Whereabouts::File => Ok((None, None)),
        Whereabouts::Tpm(place) => {
            let keys = TpmKeys::open(place.clone()).map_err(|error| bad(error.to_string()))?;
            Ok((Some(Arc::new(keys.clone())), Some(keys)))
        }
        #[cfg(feature = "pkcs11")]
        Whereabouts::Pkcs11(module) => {
            use crate::keys::pkcs11::{Token, TokenKeys};
            let file = options.pin_file.as_ref().ok_or_else(|| bad(String::from("give the PIN with --pin-file")))?;
            let pin = std::fs::read_to_string(file).map_err(io_error("cannot read the PIN"))?;
            let pin = fleetward_base::Secret::new(pin.trim_end_matches(['\r', '\n']).to_owned());
            let token = Token { module: module.clone(), label: options.token_label.clone(), pin };
            let keys = TokenKeys::open(&token).map_err(|error| bad(error.to_string()))?;
            Ok((Some(Arc::new(keys)), None))
        }
        #[cfg(not(feature = "pkcs11"))]
        Whereabouts::Pkcs11(_) => Err(bad(String::from("this agent was built without the feature pkcs11"))),
    }
}

/// The record, or a first one. A damaged one (no power cut makes one, a worn-out flash may) is put aside: a device that can
/// be managed and says that it runs the factory's version is better than one that is silent.
fn open_record(disk: &dyn Disk, initial_version: &str) -> Result<Record, AgentError> {
    match Record::load(disk) {
        Ok(Some(record)) => return Ok(record),
        Ok(None) => {}
        Err(BadRecord::Damaged(error)) => {
            tracing::error!(%error, "the record is damaged; it is put aside as record.damaged and a new one begun");
            disk.rename(record::FILE, "record.damaged").map_err(io_error("cannot put the record aside"))?;
        }
        Err(other) => return Err(other.into()),
    }
    let record = Record::factory(initial_version);
    record.save(disk).map_err(io_error("cannot write the first record"))?;
    Ok(record)
}

/// The next message where a session stands; never anything where none does.
async fn hear(link: &mut Link) -> Result<Message, End> {
    match link {
        Link::Open(session) => session.next().await,
        Link::Waiting(_) | Link::Opening => std::future::pending().await,
    }
}

/// Between 0 and 1.
fn chance(rng: &dyn Rng) -> f64 {
    f64::from(u32::try_from(rng.next_u64() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// A name for this start of the agent.
fn boot_id(rng: &dyn Rng) -> String {
    format!("{:016x}", rng.next_u64())
}

/// One agent to a data folder. The lock ends with the process.
fn lock(folder: &Folder) -> Result<(), AgentError> {
    let file = std::fs::File::create(folder.resolve("lock")).map_err(io_error("cannot make the lock file"))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(AgentError::Busy);
    }
    // Held until the process ends: closing the file would give it back.
    std::mem::forget(file);
    Ok(())
}

/// The accepted signers: a public key file or all `*.pem` of a directory. One that cannot be read stops the agent, because
/// going on with fewer than were meant helps nobody.
fn read_signers(options: &RunOptions) -> Result<Signers, AgentError> {
    let Some(path) = &options.signers else { return Ok(Signers::default()) };
    let what = || format!("cannot read the signers at {}", path.display());
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io_error(what()))? {
            let file = entry.map_err(io_error(what()))?.path();
            if file.extension().is_some_and(|extension| extension == "pem") {
                files.push(file);
            }
        }
    } else {
        files.push(path.clone());
    }
    let read = |file: &std::path::PathBuf| {
        let pem = std::fs::read(file).map_err(io_error(what()))?;
        VerifyingKey::from_pem(&pem).map_err(|bad| AgentError::Setup(file.display().to_string(), bad.to_string()))
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn a_damaged_record_is_put_aside_and_one_of_another_format_is_not() {
        let disk = SimDisk::new();
        disk.write(record::FILE, b"{").expect("writes");
        assert_eq!(open_record(&disk, "1.0").expect("begins anew").version(), "1.0");
        assert_eq!(disk.read("record.damaged").expect("reads"), Some(b"{".to_vec()));
        let text =
            serde_json::to_string(&Record::factory("1.0")).expect("JSON").replace("\"format\":1", "\"format\":2");
        disk.write(record::FILE, text.as_bytes()).expect("writes");
        assert!(matches!(open_record(&disk, "1.0"), Err(AgentError::Record(BadRecord::Format(2)))));
    }
}
