//! `wardctl inventory` and `wardctl maker`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::upload;
use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 7] = [
    ("SERIAL", "/serial"),
    ("DEVICE", "/device"),
    ("CLASS", "/class"),
    ("HARDWARE", "/hardware"),
    ("BATCH", "/batch"),
    ("MAKER", "/maker"),
    ("ROOT OF TRUST", "/root_of_trust"),
];
const FAULTS: [Column; 3] = [("LINE", "/line"), ("FIELD", "/field"), ("WHY", "/why")];

#[derive(Debug, Subcommand)]
pub(crate) enum Inventory {
    /// Read a file of the manufacturing database: CSV with a head line, or lines of JSON (.jsonl, .ndjson)
    ///
    /// Columns: serial, and any of device, class, hardware, ek_hash, batch, maker, root_of_trust, attestation. The same file
    /// again changes nothing. Exit code 6 where some rows were not taken.
    Import {
        file: PathBuf,
        /// Check everything and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long)]
        batch: Option<String>,
        #[arg(long)]
        maker: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        /// The serial number
        serial: String,
    },
    /// Take rows out; devices that came in by them stay
    Remove {
        #[arg(required = true)]
        serials: Vec<String>,
    },
}

impl Inventory {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Import { file, dry_run } => import(session, &file, dry_run).await,
            Self::List { batch, maker, limit } => {
                let filter = query(&[("batch", batch.as_deref()), ("maker", maker.as_deref())]);
                let path = session.path(&["inventory"]).await? + &filter;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { serial } => {
                let path = session.path(&["inventory", &serial]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Remove { serials } => {
                for serial in &serials {
                    session.client.delete(&session.path(&["inventory", serial]).await?, Some("*")).await?;
                    session.out.done(&format!("{serial} removed"))?;
                }
                Ok(())
            }
        }
    }
}

async fn import(session: &Session, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = tokio::fs::File::open(file).await.map_err(cannot)?;
    let size = opened.metadata().await.map_err(cannot)?.len();
    let lines = file.extension().is_some_and(|ext| ext == "jsonl" || ext == "ndjson");
    let kind = if lines { "application/x-ndjson" } else { "text/csv" };
    let path = session.path(&["inventory", "import"]).await? + if dry_run { "?dry_run=true" } else { "" };
    let bar = upload::bar(size, "sending", &upload::label(file));
    let counted = bar.clone();
    let stream = futures::TryStreamExt::inspect_ok(ReaderStream::new(opened), move |piece| {
        counted.inc(piece.len() as u64);
    });
    let sent = session.client.post_stream(&path, kind, size, reqwest::Body::wrap_stream(stream)).await;
    bar.finish_and_clear();
    let answer = sent?.value;
    report(session, &answer)
}

fn report(session: &Session, answer: &Value) -> Result<(), Failure> {
    let count = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    if session.out == Format::Json {
        output::json(answer)?;
    } else {
        let faults = answer.get("faults").and_then(Value::as_array).cloned().unwrap_or_default();
        if !faults.is_empty() {
            session.out.rows(&faults, &FAULTS)?;
        }
        let (added, changed, unchanged) = (count("added"), count("changed"), count("unchanged"));
        output::note(&format!(
            "{added} added, {changed} changed, {unchanged} unchanged, {} not taken",
            count("faulty")
        ));
    }
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    match count("faulty") {
        0 => Ok(()),
        failed => {
            let all = failed + count("added") + count("changed") + count("unchanged");
            Err(Failure::Partial { failed: number(failed), all: number(all) })
        }
    }
}

const MAKERS: [Column; 3] = [("NAME", "/name"), ("KEY", "/key_id"), ("SINCE", "/created_at")];
const KEY_FILE_BYTES: u64 = 16 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Maker {
    /// Believe what the owner of a public key (PEM) signs in the inventory
    Register {
        /// As rows of the inventory name it
        name: String,
        file: PathBuf,
    },
    #[command(visible_alias = "ls")]
    List,
    /// Believe nothing more of it
    Remove { name: String },
}

impl Maker {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.path(&["makers"]).await?;
        match self {
            Self::Register { name, file } => {
                let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
                if std::fs::metadata(&file).map_err(cannot)?.len() > KEY_FILE_BYTES {
                    return Err(Failure::usage(format!("{} is too large to be a key", file.display())));
                }
                let public_key = std::fs::read_to_string(&file).map_err(cannot)?;
                let body = json!({ "name": name, "public_key": public_key });
                session.out.one(&session.client.post(&path, &body).await?.value)
            }
            Self::List => session.out.rows(&session.client.list(&path, usize::MAX).await?, &MAKERS),
            Self::Remove { name } => {
                session.client.delete(&session.path(&["makers", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} removed"))
            }
        }
    }
}
