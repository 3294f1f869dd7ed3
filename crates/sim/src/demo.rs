//! The demo: a server, three tenants, a simulated fleet, three real agents, and a rollout that stops itself.
//!
//! Everything goes through the public doors, and what is expected of the story is checked there too. The server and the
//! agents are processes of their own; all of them end with the demo.

mod agents;
mod cast;
mod check;
mod fleet;
mod releases;
mod report;
mod story;
mod view;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::server::{Server, ServerOptions};
use cast::Cast;
use report::Report;
use story::Story;
use view::View;

/// How to tell the story.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `fleetward` executable; `fleetward-agent` is expected beside it.
    pub server: PathBuf,
    /// Folder for everything; a new one in the temporary folder, gone afterwards, when absent.
    pub data_dir: Option<PathBuf>,
    /// Simulated devices over the three tenants.
    pub devices: u32,
    /// End with the story; otherwise everything stays up until Ctrl-C.
    pub until_done: bool,
    /// Print the report as JSON on standard output; what people read goes to standard error.
    pub json: bool,
}

/// A folder that is ours: given, or temporary.
struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

/// Tells the story and prints the report. True when everything was seen as expected.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    crate::net::raise_open_files();
    let agent = options.server.with_file_name("fleetward-agent");
    anyhow::ensure!(agent.exists(), "{} is missing: `make build` makes it", agent.display());
    let folder = Folder::open(options.data_dir.as_deref())?;
    let mut view = View::new(options.json);
    view.say("Starting a server on free ports");
    let cast = Cast::new(options.devices)?;
    let server = Server::start(&ServerOptions {
        bin: options.server.clone(),
        data_dir: folder.path.join("server"),
        database: None,
        publish_rate: 1000,
        default_tenant: Some(cast.first().id.clone()),
        pki: false,
    })
    .await?;
    let token = server.first_administrator().await.context("first administrator")?;
    let rest = server.rest(&token)?;
    for tenant in &cast.tenants {
        rest.create_tenant(&tenant.id, tenant.display_name).await?;
    }
    let env = write_env(&folder.path, &server, &token, &cast)?;
    view.say(&format!("Ready. For wardctl, curl or any MQTT client: set -a; . {}", env.display()));

    let mut story = Story::new(cast, rest, &server, &folder.path, agent)?;
    let told = tokio::select! {
        told = story.tell(&mut view) => Some(told?),
        interrupted = interruption() => {
            interrupted?;
            None
        }
    };
    let ok = match &told {
        Some(report) => {
            print(report, &mut view, options.json)?;
            report.ok
        }
        None => false,
    };
    if told.is_some() && !options.until_done {
        view.say("The server and the fleet stay up. Ctrl-C ends them.");
        interruption().await?;
    }
    view.say("Stopping");
    story.stop().await;
    server.stop().await?;
    Ok(ok)
}

/// Ctrl-C, or what ends a program otherwise: the processes that the demo started end with it.
async fn interruption() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

fn print(report: &Report, view: &mut View, json: bool) -> anyhow::Result<()> {
    view.say(&report.text());
    if json {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(report)?)?;
    }
    Ok(())
}

impl Folder {
    /// What an earlier demo left in the folder is taken away: it is ours, and its server cannot be claimed again.
    fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(given) = given else {
            let temporary = tempfile::Builder::new().prefix("fleetward-demo-").tempdir()?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        std::fs::create_dir_all(given).with_context(|| format!("making {}", given.display()))?;
        let path = std::fs::canonicalize(given)?;
        if path.join("demo.env").exists() {
            std::fs::remove_file(path.join("demo.env"))?;
            for part in ["server", "agents"] {
                if path.join(part).exists() {
                    std::fs::remove_dir_all(path.join(part))?;
                }
            }
        }
        anyhow::ensure!(!path.join("server").exists(), "{} holds something else: name another folder", path.display());
        Ok(Self { path, _temporary: None })
    }
}

/// `KEY=VALUE` lines for `set -a; . demo.env` and for programs that read such files. It holds the administrator's token.
fn write_env(folder: &Path, server: &Server, token: &str, cast: &Cast) -> anyhow::Result<PathBuf> {
    let endpoints = &server.endpoints;
    let text = format!(
        "FLEETWARD_URL={}\nFLEETWARD_TOKEN={token}\nFLEETWARD_TENANT={}\nFLEETWARD_CA_FILE={}\n\
         FLEETWARD_DEVICE_HOST=localhost\nFLEETWARD_DEVICE_PORT={}\nFLEETWARD_MQTT_PORT={}\n",
        endpoints.operator_url,
        cast.first().id,
        quoted(&endpoints.ca_file.display().to_string()),
        endpoints.device_port,
        endpoints.mqtt_port,
    );
    // Written beside and renamed: whoever waits for the file finds all of it.
    let (path, beside) = (folder.join("demo.env"), folder.join("demo.env.new"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, &path)?;
    Ok(path)
}

/// As it is where a shell takes it so, in single quotes otherwise.
fn quoted(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:+@%".contains(&byte)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_shell_would_split_are_quoted() {
        assert_eq!(quoted("/tmp/a-b/ca.pem"), "/tmp/a-b/ca.pem");
        assert_eq!(quoted("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_folder_with_somebody_elses_server_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = folder.path().join("server");
        std::fs::create_dir(&server).expect("made");
        assert!(Folder::open(Some(folder.path())).is_err());
        std::fs::write(folder.path().join("demo.env"), "").expect("written");
        assert!(Folder::open(Some(folder.path())).is_ok());
        assert!(!server.exists());
    }
}
