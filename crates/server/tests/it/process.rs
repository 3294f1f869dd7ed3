//! A server as a child process in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// More than any start or stop takes on a busy machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("the file is there")
    }
}

pub(crate) fn command(data_dir: &Path) -> Command {
    command_with_mqtt(data_dir, "127.0.0.1:0")
}

/// A server that listens for MQTT at an address of the test's, and wherever there is room with its other doors.
pub(crate) fn command_with_mqtt(data_dir: &Path, mqtt: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward"));
    command.arg("serve").arg("--data-dir").arg(data_dir).arg("--mqtt-listen").arg(mqtt);
    for door in ["operator", "device", "metrics"] {
        command.arg(format!("--{door}-listen")).arg("127.0.0.1:0");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts a server and waits until it says that it is ready.
pub(crate) async fn ready(data_dir: &Path) -> Child {
    ready_as(&mut command(data_dir)).await
}

/// As [`ready`], with more flags.
pub(crate) async fn ready_as(command: &mut Command) -> Child {
    let mut child = command.spawn().expect("the program starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it does not hang");
    assert_eq!(first.expect("text").as_deref(), Some("Fleetward is ready."));
    child
}

/// Starts a server that is expected to give up, and says what it said.
pub(crate) async fn refused(command: &mut Command) -> String {
    let mut child = command.spawn().expect("the program starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    let ended = async {
        stderr.read_to_string(&mut said).await.expect("text");
        child.wait().await.expect("it ends")
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.expect("it gives up");
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

/// Asks a server to stop, and waits until it has.
pub(crate) async fn stop(mut child: Child) -> Option<i32> {
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("it stops").expect("it ended").code()
}

/// Has the doctor look at a server, and gives its exit status and its report.
pub(crate) async fn doctor(data_dir: &Path) -> (Option<i32>, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward"));
    command.args(["doctor", "--json", "--data-dir"]).arg(data_dir).stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}
