//! The programs that may apply configuration, or be run by commands and jobs: files of one directory, chosen by the owner of
//! the device.
//!
//! A key of the shadow is a file's name and never more: no path, no argument, no shell. The file must lie in the directory
//! itself (a link out of it is refused), belong to root or to the agent's user, and be writable for nobody else; so must the
//! directory. Its value is JSON on standard input; the exit status says whether it was applied. Where any of this does not
//! hold nothing runs.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Bytes of a handler's standard error, and of its standard output, that are looked at.
const SAID_BYTES: u64 = 4096;
/// Bytes that are kept of the end of what the program of a job writes, from each of its two outputs.
const TAIL_BYTES: usize = 4096;
/// The name of the handler that tests a new image.
pub const SELF_TEST: &str = "self-test";
/// The name of the handler that takes away what is not the agent's own, before the device goes to another tenant.
pub const WIPE: &str = "wipe";

/// Why a handler did not run, or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    #[error("there is no handler for it")]
    Absent,
    #[error("its name cannot be that of a handler")]
    Name,
    #[error("its handler is not to be trusted: {0}")]
    Untrusted(&'static str),
    #[error("its handler took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("its handler failed with {status}{detail}")]
    Failed { status: ExitStatus, detail: String },
    #[error("its handler could not run: {0}")]
    Io(#[from] io::Error),
}

/// How the program of a step ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    /// The last that it wrote.
    pub stdout: String,
    pub stderr: String,
    /// Lines on standard error.
    pub complaints: u64,
}

/// The directory of handlers. Without one, there are none.
#[derive(Clone, Debug)]
pub struct Handlers {
    directory: Option<PathBuf>,
    /// Where handlers run: the data folder.
    work: PathBuf,
    limit: Duration,
}

impl Handlers {
    pub fn new(directory: Option<PathBuf>, work: PathBuf, limit: Duration) -> Self {
        Self { directory, work, limit }
    }

    /// Finds the handler for a key.
    ///
    /// # Errors
    /// Why there is none that may run.
    pub fn find(&self, key: &str) -> Result<PathBuf, HandlerError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || key.len() > 64 || key.starts_with('.') || !key.chars().all(plain) {
            return Err(HandlerError::Name);
        }
        let directory = self.directory.as_ref().ok_or(HandlerError::Absent)?.canonicalize()?;
        check_owner(&directory)?;
        let file = match directory.join(key).canonicalize() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HandlerError::Absent),
            Err(error) => return Err(error.into()),
        };
        if file.parent() != Some(directory.as_path()) {
            return Err(HandlerError::Untrusted("it is a link out of the directory of handlers"));
        }
        check_owner(&file)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(HandlerError::Untrusted("it is not a file"));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(HandlerError::Untrusted("it is not executable"));
        }
        Ok(file)
    }

    /// A text that lies beside a handler, in a file of its name and `.ending`; none where there is no such file. It is
    /// believed as the handler is: others must not be able to change it.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub fn beside(&self, key: &str, ending: &str) -> Result<Option<String>, HandlerError> {
        let file = self.find(key)?;
        let Some(directory) = file.parent() else { return Ok(None) };
        let path = directory.join(format!("{key}.{ending}"));
        if !path.try_exists()? {
            return Ok(None);
        }
        let path = path.canonicalize()?;
        if path.parent() != Some(directory) {
            return Err(HandlerError::Untrusted("what lies beside it is a link out of the directory of handlers"));
        }
        check_owner(&path)?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(std::fs::File::open(path)?, SAID_BYTES), &mut text)?;
        Ok(Some(text))
    }

    /// Runs the handler for a key with this standard input and environment, and waits for its end.
    ///
    /// # Errors
    /// Why it did not succeed. One that takes too long is ended, with all that it started.
    pub async fn run(&self, key: &str, input: &[u8], environment: &[(&str, String)]) -> Result<(), HandlerError> {
        self.run_for_output(key, input, environment, self.limit).await.map(drop)
    }

    /// As [`Self::run`], within `limit`; the first part of what it writes to standard output.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub async fn run_for_output(
        &self,
        key: &str,
        input: &[u8],
        environment: &[(&str, String)],
        limit: Duration,
    ) -> Result<String, HandlerError> {
        let file = self.find(key)?;
        let mut command = self.command(&file, environment);
        command.env("FLEETWARD_KEY", key).stdin(Stdio::piped());
        let mut child = spawn(&mut command).await?;
        let group = child.id();
        match timeout(limit, converse(&mut child, input)).await {
            Ok(done) => {
                let (status, detail, output) = done?;
                if status.success() { Ok(output) } else { Err(HandlerError::Failed { status, detail }) }
            }
            Err(_elapsed) => {
                end_group(group);
                let _ended = child.wait().await;
                Err(HandlerError::TimedOut(limit))
            }
        }
    }

    /// Runs a program that was found, with these arguments and nothing on standard input, and waits for its end.
    ///
    /// # Errors
    /// Why it did not run to its end. One that takes too long is ended, with all that it started.
    pub async fn run_step(
        &self,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        limit: Duration,
    ) -> Result<Ran, HandlerError> {
        let mut command = self.command(program, environment);
        command.args(arguments).stdin(Stdio::null());
        let mut child = spawn(&mut command).await?;
        let group = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ends = async {
            let ((stdout, _), (stderr, complaints)) = tokio::join!(end_of(stdout), end_of(stderr));
            Ok::<_, io::Error>(Ran { status: child.wait().await?, stdout, stderr, complaints })
        };
        match timeout(limit, ends).await {
            Ok(ran) => Ok(ran?),
            Err(_elapsed) => {
                end_group(group);
                let _ended = child.wait().await;
                Err(HandlerError::TimedOut(limit))
            }
        }
    }

    /// A program with nothing of the agent's environment, in a process group of its own.
    fn command(&self, program: &Path, environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.work)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// The end of what a program writes, and how many lines that was.
async fn end_of(from: Option<impl AsyncRead + Unpin>) -> (String, u64) {
    let (mut kept, mut lines, mut open) = (Vec::new(), 0_u64, false);
    let mut piece = vec![0; TAIL_BYTES];
    if let Some(mut from) = from {
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let said = piece.get(..count).unwrap_or_default();
            lines += said.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
            open = said.last() != Some(&b'\n');
            kept.extend_from_slice(said);
            kept.drain(..kept.len().saturating_sub(TAIL_BYTES));
        }
    }
    (String::from_utf8_lossy(&kept).trim().to_owned(), lines + u64::from(open))
}

/// Starts a program; again, for a moment, where the file was written just now and is still open elsewhere.
async fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..20 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                let _waited = timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Gives the input, reads what the handler has to say, and waits for its end: its last word on standard error, and what it
/// wrote to standard output.
async fn converse(child: &mut Child, input: &[u8]) -> io::Result<(ExitStatus, String, String)> {
    let (stdin, stderr, stdout) = (child.stdin.take(), child.stderr.take(), child.stdout.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // A handler need not read its input.
            let _unread = stdin.write_all(input).await;
        }
    };
    let ((), said, output) = tokio::join!(give, listen(stderr), listen(stdout));
    let status = child.wait().await?;
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    let detail = line.map(|line| format!(": {}", line.trim())).unwrap_or_default();
    Ok((status, detail, String::from_utf8_lossy(&output).trim().to_owned()))
}

/// The first part of what a handler writes. What follows is read and thrown away, so that it does not stand still.
async fn listen(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut from) = from {
        let _cut = (&mut from).take(SAID_BYTES).read_to_end(&mut said).await;
        let _rest = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    said
}

fn end_group(group: Option<u32>) {
    let group = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Only root or the agent's own user may be able to change it.
fn check_owner(path: &Path) -> Result<(), HandlerError> {
    let metadata = path.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(HandlerError::Untrusted("it, or its directory, belongs to another user"));
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(HandlerError::Untrusted("others may write to it, or to its directory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        root: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("handlers")).unwrap();
            let fixture = Self { root };
            fixture.mode("handlers", 0o755);
            fixture
        }

        fn mode(&self, path: &str, mode: u32) {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(self.root.path().join(path), permissions).unwrap();
        }

        fn script(&self, path: &str, body: &str) {
            std::fs::write(self.root.path().join(path), format!("#!/bin/sh\n{body}\n")).unwrap();
            self.mode(path, 0o755);
        }

        fn handlers(&self) -> Handlers {
            let (directory, work) = (self.root.path().join("handlers"), self.root.path().to_owned());
            Handlers::new(Some(directory), work, Duration::from_secs(20))
        }
    }

    #[test]
    fn names_that_are_more_than_names_are_refused() {
        let fixture = Fixture::new();
        fixture.script("outside", "true");
        fixture.script("handlers/.hidden", "true");
        let long = "x".repeat(65);
        for name in ["", "../outside", "/bin/sh", "a/b", ".", "..", ".hidden", "a b", "a;b", "a\0b", "ä", &long] {
            assert!(matches!(fixture.handlers().find(name), Err(HandlerError::Name)), "{name}");
        }
        assert!(matches!(fixture.handlers().find("none"), Err(HandlerError::Absent)));
        let nowhere = Handlers::new(None, fixture.root.path().to_owned(), Duration::from_secs(1));
        assert!(matches!(nowhere.find("led"), Err(HandlerError::Absent)));
    }

    #[test]
    fn files_that_others_could_have_made_are_refused() {
        let fixture = Fixture::new();
        fixture.script("outside", "true");
        std::os::unix::fs::symlink("../outside", fixture.root.path().join("handlers/escape")).unwrap();
        fixture.script("handlers/group", "true");
        fixture.mode("handlers/group", 0o775);
        fixture.script("handlers/world", "true");
        fixture.mode("handlers/world", 0o757);
        fixture.script("handlers/plain", "true");
        fixture.mode("handlers/plain", 0o644);
        std::fs::create_dir(fixture.root.path().join("handlers/folder")).unwrap();
        for name in ["escape", "group", "world", "plain", "folder"] {
            assert!(matches!(fixture.handlers().find(name), Err(HandlerError::Untrusted(_))), "{name}");
        }
        fixture.script("handlers/good", "true");
        std::os::unix::fs::symlink("good", fixture.root.path().join("handlers/alias")).unwrap();
        assert!(fixture.handlers().find("good").is_ok() && fixture.handlers().find("alias").is_ok());
        fixture.mode("handlers", 0o777);
        assert!(matches!(fixture.handlers().find("good"), Err(HandlerError::Untrusted(_))), "the directory counts too");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_value_comes_in_and_the_exit_status_goes_out() {
        let fixture = Fixture::new();
        fixture.script(
            "handlers/led",
            r#"[ "$(cat)" = '{"on":true}' ] && [ "$A" = b ] && [ -z "$HOME" ] && [ "$FLEETWARD_KEY" = led ]"#,
        );
        fixture.script("handlers/fails", "echo first >&2; echo last words >&2; exit 3");
        let handlers = fixture.handlers();
        handlers.run("led", br#"{"on":true}"#, &[("A", "b".to_owned())]).await.unwrap();
        let failed = handlers.run("fails", b"1", &[]).await.unwrap_err().to_string();
        assert_eq!(failed, "its handler failed with exit status: 3: last words");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_it_writes_comes_back_and_what_lies_beside_it_is_believed() {
        let fixture = Fixture::new();
        fixture.script("handlers/say", "echo one; echo two");
        let handlers = fixture.handlers();
        let said = handlers.run_for_output("say", b"", &[], Duration::from_secs(20)).await.unwrap();
        assert_eq!(said, "one\ntwo");
        assert_eq!(handlers.beside("say", "policy").unwrap(), None);
        std::fs::write(fixture.root.path().join("handlers/say.policy"), "resume\n").unwrap();
        fixture.mode("handlers/say.policy", 0o644);
        assert_eq!(handlers.beside("say", "policy").unwrap().as_deref(), Some("resume\n"));
        fixture.mode("handlers/say.policy", 0o666);
        assert!(matches!(handlers.beside("say", "policy"), Err(HandlerError::Untrusted(_))));
        assert!(matches!(handlers.beside("none", "policy"), Err(HandlerError::Absent)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn of_a_step_the_end_of_what_it_writes_is_kept() {
        let fixture = Fixture::new();
        fixture.script(
            "handlers/long",
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo \"$1,$2,$A\"; cat; echo a >&2; printf b >&2; exit 3",
        );
        let handlers = fixture.handlers();
        let file = handlers.find("long").unwrap();
        let arguments = ["x y".to_owned(), "$HOME".to_owned()];
        let environment = [("A", "b".to_owned())];
        let ran = handlers.run_step(&file, &arguments, &environment, Duration::from_secs(20)).await.unwrap();
        assert!(ran.stdout.ends_with("line 2999\nx y,$HOME,b") && ran.stdout.len() <= TAIL_BYTES, "{}", ran.stdout);
        assert_eq!((ran.status.code(), ran.stderr.as_str(), ran.complaints), (Some(3), "a\nb", 2));
        fixture.script("handlers/slow", "sleep 1000");
        let slow = handlers.find("slow").unwrap();
        let ended = handlers.run_step(&slow, &[], &[], Duration::from_millis(200)).await;
        assert!(matches!(ended, Err(HandlerError::TimedOut(_))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_takes_too_long_is_ended_with_its_children() {
        let fixture = Fixture::new();
        fixture.script("handlers/slow", "sleep 1000 & echo $! > pid; wait");
        let handlers = Handlers { limit: Duration::from_millis(300), ..fixture.handlers() };
        assert!(matches!(handlers.run("slow", b"1", &[]).await, Err(HandlerError::TimedOut(_))));
        let child = std::fs::read_to_string(fixture.root.path().join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z"));
        for _ in 0..200 {
            if gone() {
                return;
            }
            let _waited = timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
        }
        panic!("the child still runs");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_neither_reads_nor_stops_talking_does_not_hang_us() {
        let fixture = Fixture::new();
        fixture.script(
            "handlers/deaf",
            "exec 0<&-; i=0; while [ $i -lt 3000 ]; do echo noise noise noise >&2; i=$((i+1)); done",
        );
        fixture.handlers().run("deaf", &vec![b' '; 1024 * 1024], &[]).await.unwrap();
    }
}
