//! The running agent: one loop that feeds events to the machines and performs what they ask for.
//!
//! Decisions are elsewhere (`machine`, `jobs`, `steps`, `shadow`, `identity`); here is the order of things. There is one session at a
//! time, and whatever takes long (connecting, enrolling, downloading, handlers) is a task whose end is an event. Nothing here
//! is lost with the process: what must not be is on the disk before it counts.

mod anchors;
mod attestation;
mod certificates;
mod commands;
mod effects;
mod handover;
mod opening;
mod steps;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Clock, Rng};
use fleetward_wire::{anchors as roots, renew, transfer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::attest::{AttestError, Attester, Verdict};
use crate::clock::FloorClock;
use crate::commands::Commands;
use crate::disk::{Disk, Folder};
use crate::est::{EstError, Listed, Service};
use crate::handlers::{HandlerError, Handlers};
use crate::identity::Credential;
use crate::jobs::Jobs;
use crate::keys::{Keys, Whereabouts};
use crate::machine::{Event, Machine, Policy};
use crate::mqtt::{End, Message, Session, Target};
use crate::options::RunOptions;
use crate::record::{BadRecord, Slot};
use crate::shadow::{self, Applied, Change, Shadow};
use crate::steps::{Ended, Run};
use crate::tls::Server;
use anchors::{AnchorsError, Looking};
use attestation::Attestation;
use certificates::Certificates;
use commands::Orders;
use handover::{Going, GoingError};
use steps::Tasks;

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
    /// The program of a command ended.
    Ran {
        id: String,
        reboots: bool,
        result: Result<String, HandlerError>,
    },
    /// The program of a job's step ended.
    Stepped {
        run: Box<Run>,
        reboots: bool,
        ended: Ended,
    },
    Attested(Result<Verdict, AttestError>),
    Listed(Result<Listed, EstError>),
    AnchorsTold(Result<(), AnchorsError>),
    Ordered(Result<transfer::Order, GoingError>),
    Wiped(Result<(), HandlerError>),
    Confirmed(Result<(), GoingError>),
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
    /// The `--ca` file as it was read.
    ca: Vec<u8>,
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
    orders: Orders,
    tasks: Tasks,
    certificates: Certificates,
    attestation: Attestation,
    looking: Looking,
    going: Going,
    /// SHA-256 of the signers' files.
    signers_given: Option<String>,
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
    pub fn open(mut options: RunOptions, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self, AgentError> {
        let folder = Folder::open(&options.data.data_dir).map_err(io_error("cannot make the data folder"))?;
        opening::lock(&folder)?;
        let disk: Arc<dyn Disk> = Arc::new(folder.clone());
        let (keys, tpm_keys) = opening::keys(&options)?;
        let going = opening::handover(disk.as_ref(), &mut options, keys.as_deref())?;
        let clock = Arc::new(FloorClock::open(clock, disk.as_ref()));
        let ca = std::fs::read(&options.ca).map_err(io_error("cannot read the CA file"))?;
        let anchors = crate::anchors::open(disk.as_ref(), &ca)
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
        let record = opening::record(disk.as_ref(), &options.initial_version)?;
        let applied = Applied::load(disk.as_ref()).map_err(io_error("cannot read the applied configuration"))?;
        let (signers, signers_given) = opening::signers(&options, going.as_ref())?;
        let policy = Policy { hardware: options.hardware.clone(), signers };
        let operations = Handlers::new(options.commands.clone(), folder.resolve(""), options.handler_limit());
        let tasks = Tasks::open(&options, operations.clone(), disk.as_ref())?;
        let orders = Orders::open(&options, operations, disk.as_ref())?;
        Ok(Self {
            orders,
            tasks,
            handlers: Handlers::new(options.handlers.clone(), folder.resolve(""), options.handler_limit()),
            machine: Machine::new(record, policy),
            jobs: Jobs::new(&options.device),
            shadow: Shadow::new(&options.device, boot_id(rng.as_ref()), applied),
            certificates: Certificates::new(rng.as_ref()),
            attestation: Attestation::new(attester),
            looking: Looking::new(chance(rng.as_ref())),
            going: Going::new(going),
            signers_given,
            link: Link::Waiting(Duration::ZERO),
            attempts: 0,
            ticks: 0,
            work: JoinSet::new(),
            download: None,
            online: watch::Sender::new(false),
            restart: false,
            options,
            ca,
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
        self.look_after_anchors();
        self.look_after_handover();
        if let Link::Waiting(until) = self.link
            && self.clock.monotonic() >= until
        {
            self.connect();
        }
        if matches!(self.link, Link::Open(_)) && self.ticks.is_multiple_of(REQUEST_TICKS) {
            let mut messages = self.jobs.tick();
            messages.extend(self.shadow.tick());
            messages.extend(self.orders.tick());
            self.send(messages);
        }
    }

    /// Begins to connect, with the credential that is to be proven or the one in use.
    fn connect(&mut self) {
        if self.attestation.is_first() || self.going.is_on_its_way() {
            return;
        }
        let Some(credential) = self.certificates.to_connect_with() else { return };
        self.link = Link::Opening;
        let (target, device) = (self.target.clone(), self.options.device.clone());
        self.work.spawn(async move {
            let own = [renew::topic(&device), transfer::topic(&device), roots::topic(&device), roots::FLEET.to_owned()];
            let filters =
                [Jobs::filters(&device), Shadow::filters(&device), Commands::filters(&device), own.to_vec()].concat();
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
        self.orders_go_on();
        self.steps_go_on();
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
        self.hear_of_anchors(&message);
        self.hear_of_transfer(&message);
        self.hear_of_commands(&message);
        let jobs = self.jobs.hear(&message);
        self.send(jobs.send);
        for event in jobs.events {
            self.happened(event)?;
        }
        jobs.steps.into_iter().for_each(|event| self.steps_heard(event));
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
            Done::Ran { id, reboots, result } => {
                self.command_ran(&id, reboots, result);
                Ok(())
            }
            Done::Stepped { run, reboots, ended } => {
                self.stepped(&run, reboots, &ended);
                Ok(())
            }
            Done::Attested(result) => {
                self.attested(result);
                Ok(())
            }
            Done::Listed(listed) => {
                self.listed(listed);
                Ok(())
            }
            Done::AnchorsTold(told) => {
                self.looked(told);
                Ok(())
            }
            Done::Ordered(order) => self.ordered(order),
            Done::Wiped(result) => self.wiped(result),
            Done::Confirmed(result) => self.confirmed(result),
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
