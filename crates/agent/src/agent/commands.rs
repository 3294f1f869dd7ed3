//! Performing what commands ask for: the programs of one directory, each with its policy beside it.

use std::io;
use std::time::Duration;

use fleetward_base::{Clock as _, Timestamp};
use fleetward_wire::aws::commands::{Status, parse};

use super::{Agent, AgentError, Done, io_error};
use crate::commands::{Arrived, Commands, Ended, Policy, Request, Run};
use crate::disk::Disk;
use crate::handlers::{HandlerError, Handlers};
use crate::mqtt::Message;
use crate::options::RunOptions;

/// The ending of the file beside a program that says what becomes of it after a cut.
const POLICY: &str = "policy";

/// Commands, and the programs behind them.
pub(super) struct Orders {
    commands: Commands,
    operations: Handlers,
    /// What the server last said the time was, and when by the monotonic clock. The machine's clock may be wrong.
    server_time: Option<(Timestamp, Duration)>,
}

impl Orders {
    pub(super) fn open(options: &RunOptions, operations: Handlers, disk: &dyn Disk) -> Result<Self, AgentError> {
        let boot = std::fs::read_to_string(&options.boot_id).map_err(io_error("cannot read the id of this boot"))?;
        let commands = Commands::open(&options.device, boot.trim().to_owned(), disk);
        let commands = commands.map_err(io_error("cannot read the journal of commands"))?;
        Ok(Self { commands, operations, server_time: None })
    }

    /// Answers that are to be given again.
    pub(super) fn tick(&mut self) -> Vec<Message> {
        self.commands.tick()
    }
}

/// What an operation says of itself; none where there is no such operation.
fn policy(operations: &Handlers, op: &str) -> Option<Policy> {
    match policy_of(operations, op) {
        Ok(policy) => {
            if policy.is_none() {
                tracing::warn!(op, "the policy of an operation cannot be understood; it is not run");
            }
            policy
        }
        Err(HandlerError::Absent | HandlerError::Name) => None,
        Err(error) => {
            tracing::warn!(op, %error, "an operation cannot be used");
            None
        }
    }
}

/// The policy that lies beside a program; none where it cannot be understood.
///
/// # Errors
/// Why the program may not be run.
pub(super) fn policy_of(operations: &Handlers, op: &str) -> Result<Option<Policy>, HandlerError> {
    Ok(operations.beside(op, POLICY)?.as_deref().map_or(Some(Policy::default()), Policy::parse))
}

impl Agent {
    /// A session stands: what an earlier life left is gone on with.
    pub(super) fn orders_go_on(&mut self) {
        let operations = self.orders.operations.clone();
        let gone_on = self.orders.commands.session_began(|op| policy(&operations, op), self.disk.as_ref());
        self.carry_out(gone_on);
    }

    pub(super) fn hear_of_commands(&mut self, message: &Message) {
        if parse(&message.topic).is_none() {
            return;
        }
        let Some(request) = Request::of(message, &self.options.device) else {
            if let Err(error) = self.orders.commands.hear(message, self.disk.as_ref()) {
                tracing::warn!(%error, "cannot keep that an answer was heard; it is given again");
            }
            return;
        };
        let now = self.server_now(request.sent_at);
        tracing::info!(id = %request.id, op = %request.op, bytes = request.payload.len(), "command");
        let policy = policy(&self.orders.operations, &request.op);
        let arrived = self.orders.commands.arrived(request, policy, now, self.disk.as_ref());
        self.carry_out(arrived.map(|arrived| vec![arrived]));
    }

    /// The server's time: the latest that it said, and what has passed since. Before it says any, the agent's own.
    fn server_now(&mut self, said: Option<Timestamp>) -> Timestamp {
        let monotonic = self.clock.monotonic();
        let counted = self.orders.server_time.map(|(at, since)| at.plus(monotonic.saturating_sub(since)));
        let latest = counted.max(said);
        if let Some(at) = latest {
            self.orders.server_time = Some((at, monotonic));
        }
        latest.unwrap_or_else(|| self.clock.now())
    }

    fn carry_out(&mut self, arrived: io::Result<Vec<Arrived>>) {
        let arrived = match arrived {
            Ok(arrived) => arrived,
            Err(error) => return tracing::error!(%error, "cannot keep the journal of commands; nothing is run"),
        };
        for one in arrived {
            match one {
                Arrived::Run(run) => self.run_command(*run),
                Arrived::Answer(answer) => self.send(vec![answer]),
            }
        }
    }

    fn run_command(&mut self, run: Run) {
        let began = self.orders.commands.began(&run);
        self.send(vec![began]);
        let (operations, usual) = (self.orders.operations.clone(), self.options.handler_limit());
        self.work.spawn(async move {
            let Run { request, resumes } = run;
            let reboots = policy(&operations, &request.op) == Some(Policy::Reboots);
            let environment = [
                ("FLEETWARD_COMMAND", request.id.clone()),
                ("FLEETWARD_CONTENT_TYPE", request.content_type.clone()),
                ("FLEETWARD_RESUMES", u8::from(resumes).to_string()),
            ];
            let limit = request.run_timeout.unwrap_or(usual);
            let result = operations.run_for_output(&request.op, &request.payload, &environment, limit).await;
            Done::Ran { id: request.id, reboots, result }
        });
    }

    /// A program ended. One that restarts the device is not at its end before that.
    pub(super) fn command_ran(&mut self, id: &str, reboots: bool, result: Result<String, HandlerError>) {
        let ended = match result {
            Ok(_) if reboots => {
                tracing::info!(id, "command waits for the restart of the device");
                return;
            }
            Ok(output) => Ended::succeeded(&output),
            Err(HandlerError::TimedOut(limit)) => {
                Ended::because(Status::TimedOut, "RUN_TIMEOUT", &format!("it took longer than {} s", limit.as_secs()))
            }
            Err(error) => Ended::failed(&error.to_string()),
        };
        tracing::info!(id, status = ?ended.status, "command");
        match self.orders.commands.ended(id, ended, self.disk.as_ref()) {
            Ok(answer) => self.send(answer.into_iter().collect()),
            Err(error) => tracing::error!(id, %error, "cannot keep the end of a command; it is not answered"),
        }
    }
}
