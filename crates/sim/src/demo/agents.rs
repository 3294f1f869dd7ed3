//! The real agents of the cast: processes with a folder, a token file and handlers each.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::cast::{BASELINE, Member, Tenant};
use super::releases::Published;
use crate::rest::Rest;
use crate::server::{Endpoints, tail, unconfigured};

/// How long an agent may take to end.
const STOP: Duration = Duration::from_secs(10);

/// Runs the image that is on trial: what an image of the demo is, is a script.
const SELF_TEST: &str =
    "#!/bin/sh\n# Runs the image on trial; its exit status is the verdict.\nexec /bin/sh \"$FLEETWARD_IMAGE\"\n";

/// One agent, running or not.
pub(super) struct Agent {
    pub(super) member: Member,
    bin: PathBuf,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Agent {
    /// Prepares an agent's folder with a token to enrol with.
    pub(super) async fn prepare(
        bin: &Path,
        folder: &Path,
        rest: &Rest,
        endpoints: &Endpoints,
        tenant: &Tenant,
        member: &Member,
        published: &Published,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(member.id.as_str());
        let handlers = folder.join("handlers");
        std::fs::create_dir_all(&handlers)?;
        // The agent runs nothing out of a folder that others could write to, whatever the umask is.
        std::fs::set_permissions(&handlers, std::fs::Permissions::from_mode(0o755))?;
        write(&handlers.join("self-test"), SELF_TEST, 0o755)?;
        let token = rest.enroll_token(&tenant.id, &member.id, member.hardware).await?;
        write(&folder.join("token"), &token, 0o600)?;
        write(&folder.join("signer.pem"), &published.public_key, 0o644)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            ("--server", "localhost".to_owned()),
            ("--device-port", endpoints.device_port.to_string()),
            ("--mqtt-port", endpoints.mqtt_port.to_string()),
            ("--ca", endpoints.ca_file.display().to_string()),
            ("--device", member.id.to_string()),
            ("--hardware", member.hardware.to_owned()),
            ("--token-file", path("token")),
            ("--data-dir", path("data")),
            ("--handlers", path("handlers")),
            ("--signers", path("signer.pem")),
            ("--initial-version", BASELINE.to_owned()),
        ];
        let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        Ok(Self { member: member.clone(), bin: bin.to_owned(), folder, arguments, child: None })
    }

    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.bin);
        command.arg("run").args(&self.arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        unconfigured(&mut command);
        self.child = Some(command.spawn().with_context(|| format!("starting {}", self.bin.display()))?);
        Ok(())
    }

    /// Asks the agent to end; killed when it does not.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            // It may have ended by itself meanwhile.
            let _gone = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Why it has ended, if it has.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        Ok(status.map(|status| format!("{} ended: {status}\n{}", self.member.id, tail(&self.log()))))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    // The mode at creation is cut by the umask.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    Ok(())
}
