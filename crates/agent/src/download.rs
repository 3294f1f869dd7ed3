//! Fetching an image into a slot, going on where an earlier attempt ended (RFC 9110 §14).
//!
//! The address is the server's word and is not believed: it must be https, the server must prove itself to the pinned
//! authority, and every byte is held against the size and hash of the signed manifest before it counts.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_supply::Artifact;
use http_body_util::Full;
use hyper::Request;

use crate::disk::Disk;
use crate::http::{self, Answer};
use crate::identity::Credential;
use crate::machine::DownloadFailure;
use crate::record::Slot;
use crate::slots::{PartialImage, SYNC_SPAN};
use crate::tls::Server;

/// Room that must be left on the disk beside the image, for the record and the journal of the file system.
const SPARE_BYTES: u64 = 1024 * 1024;

/// What a download needs.
#[derive(Clone)]
pub struct Download {
    pub disk: Arc<dyn Disk>,
    pub server: Server,
    pub credential: Arc<Credential>,
    pub slot: Slot,
    pub url: String,
    pub artifact: Artifact,
}

impl Download {
    /// Fetches what is missing.
    ///
    /// # Errors
    /// Why the image is not there, and whether trying again can help.
    pub async fn run(self) -> Result<(), DownloadFailure> {
        let (disk, slot, artifact) = (Arc::clone(&self.disk), self.slot, self.artifact.clone());
        let opened = off_thread(move || PartialImage::open(disk.as_ref(), slot, &artifact, SYNC_SPAN)).await;
        let mut part = opened.map_err(|error| disk_failure(&error, false))?;
        let before = part.offset();
        if part.missing() > 0 {
            self.check_room(part.missing())?;
            let fetched = self.fetch(&mut part).await;
            let progress = part.offset() > before;
            fetched.map_err(|failure| match failure {
                DownloadFailure::Interrupted { reason, .. } => DownloadFailure::Interrupted { reason, progress },
                other => other,
            })?;
        }
        let disk = Arc::clone(&self.disk);
        match off_thread(move || part.finish(disk.as_ref())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(mismatch)) => Err(DownloadFailure::Corrupt(mismatch.to_string())),
            Err(error) => Err(disk_failure(&error, true)),
        }
    }

    fn check_room(&self, missing: u64) -> Result<(), DownloadFailure> {
        match self.disk.free() {
            Some(free) if free < missing.saturating_add(SPARE_BYTES) => {
                Err(DownloadFailure::Refused(format!("the disk is full: {missing} bytes to fetch, {free} free")))
            }
            _ => Ok(()),
        }
    }

    async fn fetch(&self, part: &mut PartialImage) -> Result<(), DownloadFailure> {
        let interrupted = |reason: String| DownloadFailure::Interrupted { reason, progress: false };
        let (host, port, path) =
            http::split_address(&self.url).map_err(|error| DownloadFailure::Refused(error.to_string()))?;
        let mut request = Request::get(path);
        if part.offset() > 0 {
            // The hash is the artifact's strong entity tag: another file under this address is sent whole.
            let tag = format!("\"{}\"", self.artifact.sha256);
            request = request.header("range", format!("bytes={}-", part.offset())).header("if-range", tag);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| interrupted(error.to_string()))?;
        let sent = http::send(&self.server, (&host, port), Some(&self.credential), request).await;
        let mut answer = sent.map_err(|error| interrupted(error.to_string()))?;
        self.position(&answer, part)?;
        while let Some(piece) = answer.piece().await.map_err(|error| interrupted(error.to_string()))? {
            match part.append(self.disk.as_ref(), &piece) {
                Ok(Ok(())) => {}
                Ok(Err(mismatch)) => return Err(DownloadFailure::Corrupt(mismatch.to_string())),
                Err(error) => return Err(disk_failure(&error, true)),
            }
        }
        if part.missing() > 0 {
            return Err(interrupted(format!("the answer ended {} bytes early", part.missing())));
        }
        Ok(())
    }

    /// Makes what is on the disk and what the answer begins with meet.
    fn position(&self, answer: &Answer, part: &mut PartialImage) -> Result<(), DownloadFailure> {
        let status = answer.status();
        match status {
            200 if part.offset() == 0 => Ok(()),
            200 => part.restart(self.disk.as_ref()).map_err(|error| disk_failure(&error, true)),
            206 => {
                let range = answer.header("content-range").and_then(|range| range_start(range, part.total()));
                if range == Some(part.offset()) {
                    Ok(())
                } else {
                    let reason = String::from("the server sent another range than was asked for");
                    Err(DownloadFailure::Interrupted { reason, progress: false })
                }
            }
            // The file is shorter than what is here: what is here is not the file.
            416 => Err(DownloadFailure::Corrupt(String::from("the server has no such range"))),
            400 | 404 | 410 => Err(DownloadFailure::Refused(format!("the server answers with status {status}"))),
            _ => {
                let reason = format!("the server answers with status {status}");
                Err(DownloadFailure::Interrupted { reason, progress: false })
            }
        }
    }
}

/// Where a `Content-Range: bytes FIRST-LAST/TOTAL` of a file of `total` bytes begins; it must run to the end.
fn range_start(text: &str, total: u64) -> Option<u64> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let whole_fits = whole == "*" || whole.parse() == Ok(total);
    (whole_fits && first <= last && last.checked_add(1) == Some(total)).then_some(first)
}

fn disk_failure(error: &io::Error, progress: bool) -> DownloadFailure {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) {
        DownloadFailure::Refused(format!("the disk is full: {error}"))
    } else {
        DownloadFailure::Interrupted { reason: format!("disk: {error}"), progress }
    }
}

/// Does work on the disk that may take long without standing in the way of the connection.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
