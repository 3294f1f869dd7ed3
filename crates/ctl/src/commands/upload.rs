//! Hashing and uploading artifacts, with a bar for whoever waits.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use fleetward_supply::Sha256;
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::io::ReaderStream;

use crate::client::pause;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// Waits between the tries of one upload.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
const CHUNK_BYTES: usize = 256 * 1024;

/// A file as the manifest will describe it.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) sha256: Sha256,
    pub(super) size: u64,
}

pub(super) fn bar(size: u64, verb: &'static str, name: &str) -> ProgressBar {
    if !output::stderr_is_terminal() {
        return ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{prefix} {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .expect("the template is a constant")
        .progress_chars("=> ");
    ProgressBar::new(size).with_style(style).with_prefix(verb).with_message(name.to_owned())
}

pub(super) fn label(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", path.display()))
}

/// Reads the file once for its size and hash.
pub(super) fn measure(path: &Path) -> Result<Measured, Failure> {
    let file = std::fs::File::open(path).map_err(|error| cannot_read(path, &error))?;
    let size = file.metadata().map_err(|error| cannot_read(path, &error))?.len();
    let bar = bar(size, "hashing", &label(path));
    let (sha256, size) = hashed(bar.wrap_read(file)).map_err(|error| cannot_read(path, &error))?;
    bar.finish_and_clear();
    Ok(Measured { sha256, size })
}

/// The hash and the number of bytes that were really read.
fn hashed(mut source: impl Read) -> std::io::Result<(Sha256, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0_u64;
    loop {
        let read = source.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        context.update(bytes);
        size = size.saturating_add(bytes.len() as u64);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok((Sha256::from_bytes(hash), size))
}

/// Sends the file unless the server has it.
pub(super) async fn upload(session: &Session, path: &Path, measured: &Measured) -> Result<(), Failure> {
    let resource = session.path(&["artifacts", &measured.sha256.to_string()]).await?;
    if session.client.has(&resource).await? {
        return session.out.done(&format!("{}: the server has it", label(path)));
    }
    let mut pauses = PAUSES.iter();
    loop {
        let file = tokio::fs::File::open(path).await.map_err(|error| cannot_read(path, &error))?;
        let bar = bar(measured.size, "sending", &label(path));
        let counted = bar.clone();
        let stream =
            ReaderStream::with_capacity(file, CHUNK_BYTES).inspect_ok(move |chunk| counted.inc(chunk.len() as u64));
        let sent = session.client.put_stream(&resource, measured.size, reqwest::Body::wrap_stream(stream)).await;
        bar.finish_and_clear();
        match (sent, pauses.next()) {
            (Ok(_), _) => return session.out.done(&format!("{}: sent", label(path))),
            (Err(Failure::Unreachable { .. }), Some(after)) => pause(*after).await,
            (Err(failure), _) => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_as_its_bytes_are() {
        let bytes = vec![7; CHUNK_BYTES + 1];
        let (hash, size) = hashed(bytes.as_slice()).expect("memory can be read");
        assert_eq!((hash, size), (Sha256::of(&bytes), bytes.len() as u64));
        assert_eq!(hashed(&[][..]).expect("memory can be read"), (Sha256::of(b""), 0));
    }
}
