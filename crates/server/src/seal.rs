//! `fleetward seal`: what keeps the root key shut, without a running server.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use fleetward_app::{App, vault};

use crate::seals::{SealArgs, SealSpec};
use crate::serve::parts;

/// Which installation, and the seal that its root key is under now.
#[derive(Args, Debug)]
pub(crate) struct Installation {
    /// Folder of the installation.
    #[arg(long, env = "FLEETWARD_DATA_DIR", default_value = "fleetward-data")]
    data_dir: PathBuf,

    /// As of `fleetward serve`.
    #[arg(long, env = "FLEETWARD_DATABASE", hide_env_values = true)]
    database: Option<String>,

    #[command(flatten)]
    seal: SealArgs,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Seal {
    /// Show the seal and the root keys under it, having opened them
    Status(Installation),
    /// Make a new root key under the same seal; running servers wrap the other keys again
    Rotate(Installation),
    /// Put the root key under another seal, in one step
    Migrate {
        /// The seal from now on, written as for --seal; it needs its own flags (--pkcs11-module and so on) here too
        #[arg(long)]
        to: SealSpec,
        #[command(flatten)]
        installation: Installation,
    },
}

impl Seal {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        parts::start_log(false);
        match self {
            Self::Status(installation) => status(&installation.open().await?).await,
            Self::Rotate(installation) => {
                let app = installation.open().await?;
                vault::rotate_root(&app, &app.system("seal")).await.context("nothing was rotated")?;
                vault::rewrap(&app).await.context("the other keys are wrapped again by the server")?;
                status(&app).await
            }
            Self::Migrate { to, installation } => migrate(&installation, to).await,
        }
    }
}

impl Installation {
    /// Opens what is there, and takes it over where it is from before there was a hierarchy of keys.
    async fn open(&self) -> anyhow::Result<App> {
        if self.database.is_none() && !self.data_dir.join("fleetward.db").exists() {
            bail!("{} holds no installation", self.data_dir.display());
        }
        let app = parts::open_app(&self.data_dir, self.database.as_deref(), &self.seal).await?;
        vault::open(&app).await.context("the root key does not open under this seal")?;
        Ok(app)
    }
}

async fn migrate(installation: &Installation, to: SealSpec) -> anyhow::Result<()> {
    let app = installation.open().await?;
    // A library of a token is started once in a process: the seal in use and the new one share it.
    let token = installation.seal.token()?;
    let to = installation.seal.open(to, &installation.data_dir, &token).context("the new seal cannot be used")?;
    vault::change_seal(&app, to.clone())
        .await
        .context("nothing was changed: the root key is under the seal that it was")?;
    say(&format!("The root key is under {} now. Start the servers with this seal from now on;", to.describe()))?;
    say("once they all run with it, what the old seal was made of may be destroyed.")
}

async fn status(app: &App) -> anyhow::Result<()> {
    let view = vault::vault(app, &app.system("seal")).await?;
    say(&format!("seal  {}", view.seal.unwrap_or_default()))?;
    for key in view.keys {
        let state = if key.active { "active" } else { "retired" };
        say(&format!("{:<6}{:<9}{} version {} under {}", key.kind, state, key.key_id, key.version, key.wrapped_by))?;
    }
    match view.disabled {
        Some(hold) => say(&format!("the keys of all tenants are disabled: {}", hold.reason)),
        None => Ok(()),
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write")
}
