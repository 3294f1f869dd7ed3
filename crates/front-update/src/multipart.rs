//! `multipart/byteranges` (RFC 9110 §14.6): several parts of a file in one answer.

use std::ops::Range;

use bytes::Bytes;
use fleetward_app::App;
use fleetward_app::releases::{Fetched, open_artifact};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::artifact::{MEDIA_TYPE, content_range};

/// Separates parts. Artifacts are named by their hash, and one that held its own hash's text is not to be expected.
pub(crate) fn boundary(artifact: &Fetched) -> String {
    let hash = artifact.sha256.to_string();
    format!("fleetward-{}", hash.get(..32).unwrap_or(&hash))
}

/// The pieces of text between the parts, in order, and the one after the last.
fn frames(artifact: &Fetched, parts: &[Range<u64>]) -> (Vec<String>, String) {
    let boundary = boundary(artifact);
    let head = |(number, part): (usize, &Range<u64>)| {
        let before = if number == 0 { "" } else { "\r\n" };
        let range = content_range(part, artifact.size);
        format!("{before}--{boundary}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Range: {range}\r\n\r\n")
    };
    (parts.iter().enumerate().map(head).collect(), format!("\r\n--{boundary}--\r\n"))
}

/// Bytes of the whole body.
pub(crate) fn length(artifact: &Fetched, parts: &[Range<u64>]) -> u64 {
    let (heads, tail) = frames(artifact, parts);
    let text = heads.iter().map(String::len).sum::<usize>() + tail.len();
    parts.iter().map(|part| part.end - part.start).sum::<u64>() + text as u64
}

/// The body. A part is opened when the one before it has been sent.
pub(crate) fn body(
    app: App,
    artifact: Fetched,
    parts: Vec<Range<u64>>,
) -> BoxStream<'static, fleetward_app::Result<Bytes>> {
    let (heads, tail) = frames(&artifact, &parts);
    let each = stream::iter(heads.into_iter().zip(parts)).then(move |(head, part)| {
        let (app, artifact) = (app.clone(), artifact.clone());
        async move {
            let content = open_artifact(&app, &artifact, part).await?;
            Ok::<_, fleetward_app::Error>(stream::once(async move { Ok(Bytes::from(head)) }).chain(content))
        }
    });
    each.try_flatten().chain(stream::once(async move { Ok(Bytes::from(tail)) })).boxed()
}
