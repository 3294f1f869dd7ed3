//! What the agent is told on its command line and in its environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::keys::Whereabouts;
use crate::tpm::Place;

/// The device agent: makes its key, enrols, connects, applies configuration and installs signed updates.
#[derive(Debug, Parser)]
#[command(name = "fleetward-agent", version, about, max_term_width = 100)]
pub struct Options {
    #[command(subcommand)]
    pub command: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Verb {
    /// Run until it is stopped. Logs go to standard error; FLEETWARD_LOG sets their level (error, warn, info, debug).
    Run(RunOptions),
    /// Show what the data folder says: slots, job, certificate, configuration.
    Status(StatusOptions),
}

#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// The server's host name or address, as its certificate has it.
    #[arg(long, env = "FLEETWARD_DEVICE_HOST", value_name = "HOST")]
    pub server: String,
    /// Port for enrolment.
    #[arg(long, env = "FLEETWARD_DEVICE_PORT", value_name = "PORT", default_value_t = 8443)]
    pub device_port: u16,
    /// Port for MQTT.
    #[arg(long, env = "FLEETWARD_MQTT_PORT", value_name = "PORT", default_value_t = 8883)]
    pub mqtt_port: u16,
    /// PEM file of the authority that the server's certificate must come from. No other is accepted.
    #[arg(long, env = "FLEETWARD_CA_FILE", value_name = "FILE")]
    pub ca: PathBuf,
    /// This device's name.
    #[arg(long, env = "FLEETWARD_DEVICE", value_name = "NAME", value_parser = parse_device)]
    pub device: String,
    /// This device's hardware revision; only artifacts made for it are installed.
    #[arg(long, env = "FLEETWARD_HARDWARE", value_name = "REVISION")]
    pub hardware: String,
    /// The tenant, as the EST label; the server finds it by the token where this is not given.
    #[arg(long, env = "FLEETWARD_TENANT", value_name = "NAME")]
    pub tenant: Option<String>,
    /// The one-time enrolment token. Other users of the machine can see a command line: prefer the file or the environment.
    #[arg(long, env = "FLEETWARD_ENROLL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File with the one-time enrolment token; read when it is needed.
    #[arg(long, env = "FLEETWARD_ENROLL_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Where the device's private keys live: `file`, `tpm:/dev/tpmrm0` (or `tpm:tcp:HOST:PORT`, `tpm:unix:PATH`), or
    /// `pkcs11:/path/of/module.so` where the agent was built for it. Fixed when the device first enrols.
    #[arg(long, env = "FLEETWARD_KEYS", value_name = "WHERE", default_value = "file")]
    pub keys: Whereabouts,
    /// Label of the PKCS#11 token; otherwise the first with a PIN.
    #[arg(long, env = "FLEETWARD_TOKEN_LABEL", value_name = "LABEL")]
    pub token_label: Option<String>,
    /// File with the PIN of the PKCS#11 token.
    #[arg(long, env = "FLEETWARD_PIN_FILE", value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    #[command(flatten)]
    pub data: StatusOptions,
    /// Directory of handlers: the executable file KEY applies the shadow key KEY, `self-test` tests a new image. Files and
    /// directory must belong to root or to the agent's user and be writable for nobody else.
    #[arg(long, env = "FLEETWARD_HANDLERS", value_name = "DIR")]
    pub handlers: Option<PathBuf>,
    /// Directory of operations: the executable file OP is what the command OP runs and what a step of a job runs as its handler,
    /// and OP.policy beside it says what becomes of one that was cut off: report_unknown (the default), rerun_if_idempotent,
    /// resume or reboots. Who may own them is as for handlers. Without it every command is rejected, and every job with a handler.
    #[arg(long, env = "FLEETWARD_COMMANDS", value_name = "DIR")]
    pub commands: Option<PathBuf>,
    /// A command that a job may run by runCommand, spelled as in its document: `/usr/bin/systemctl,restart,app`. May be given more
    /// than once; in the environment, one a line. Any other is rejected.
    #[arg(
        long = "job-command",
        env = "FLEETWARD_JOB_COMMANDS",
        value_name = "PROGRAM,ARGUMENT,...",
        value_delimiter = '\n'
    )]
    pub job_commands: Vec<JobCommand>,
    /// File that says which boot this is: another text after each restart of the device.
    #[arg(
        long,
        env = "FLEETWARD_BOOT_ID_FILE",
        value_name = "FILE",
        default_value = "/proc/sys/kernel/random/boot_id"
    )]
    pub boot_id: PathBuf,
    /// Public key file (PEM), or a directory of `*.pem`, of those whose releases are accepted. Without it no update is.
    #[arg(long, env = "FLEETWARD_SIGNERS", value_name = "PATH")]
    pub signers: Option<PathBuf>,
    /// The TPM to attest with: a path such as /dev/tpmrm0, tcp:HOST:PORT or unix:PATH. Without it the agent does not attest.
    #[arg(long, env = "FLEETWARD_TPM", value_name = "PLACE")]
    pub tpm: Option<Place>,
    /// The firmware's event log; sent along with a quote where the file is there.
    #[arg(
        long,
        env = "FLEETWARD_EVENT_LOG",
        value_name = "FILE",
        default_value = "/sys/kernel/security/tpm0/binary_bios_measurements"
    )]
    pub event_log: PathBuf,
    /// The version that the device left the factory with; used when the data folder is made.
    #[arg(long, env = "FLEETWARD_INITIAL_VERSION", value_name = "VERSION", default_value = "0")]
    pub initial_version: String,
    /// Seconds that a handler may take, and a command or a step of a job that says nothing else.
    #[arg(long, env = "FLEETWARD_HANDLER_TIMEOUT", value_name = "SECONDS", default_value_t = 60)]
    pub handler_timeout: u64,
    /// Seconds within which a new image must reach the server, as part of its self-test.
    #[arg(long, env = "FLEETWARD_REACH_TIMEOUT", value_name = "SECONDS", default_value_t = 120)]
    pub reach_timeout: u64,
}

#[derive(Clone, Debug, Args)]
pub struct StatusOptions {
    /// Folder for keys, slots and state.
    #[arg(long, env = "FLEETWARD_AGENT_DATA", value_name = "DIR", default_value = "/var/lib/fleetward-agent")]
    pub data_dir: PathBuf,
}

/// A whole command: a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCommand(pub Vec<String>);

impl std::str::FromStr for JobCommand {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fleetward_wire::aws::steps::words(text).map(Self)
    }
}

impl RunOptions {
    pub const fn handler_limit(&self) -> Duration {
        Duration::from_secs(self.handler_timeout)
    }

    pub const fn reach_limit(&self) -> Duration {
        Duration::from_secs(self.reach_timeout)
    }
}

fn parse_device(text: &str) -> Result<String, String> {
    let id: fleetward_base::DeviceId = text.parse().map_err(|bad: fleetward_base::BadId| bad.to_string())?;
    Ok(id.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn commands_of_jobs_are_spelled_as_in_documents() {
        let words = |text: &str| text.parse::<JobCommand>().map(|command| command.0);
        assert_eq!(words("systemctl, restart,app"), Ok(vec!["systemctl".into(), "restart".into(), "app".into()]));
        assert!(words("systemctl restart").is_err() && words("").is_err());
    }

    #[test]
    fn help_never_shows_a_secret_of_the_environment() {
        let run = Options::command().find_subcommand("run").unwrap().clone();
        let token = run.get_arguments().find(|arg| arg.get_id() == "token").unwrap();
        assert!(token.is_hide_env_values_set());
    }
}
