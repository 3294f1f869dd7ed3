//! What a handler did not read of a request.
//!
//! On HTTP/2 an answer before the end of its request resets the stream, and curl before 8.1 then reports a broken stream in
//! place of the answer. On HTTP/1.1 the connection closes after such an answer, and a client that still sends over TLS may
//! find the end of it and no answer (botocore does). So what is left is read away first, within limits; whoever sends more,
//! or says that it will, gets the reset. A client that sends nothing meanwhile waits for its answer, and has it. What
//! `Expect: 100-continue` holds back is not asked for.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// As much as a client may have sent before it heard of the refusal: the window of a stream.
const LIMIT_BYTES: usize = 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(5);
/// A client that still sends lets no more time pass in between.
const SILENCE: Duration = Duration::from_millis(500);

/// A request body that hands back what was not read of it.
pub(crate) struct Guarded {
    body: Option<Incoming>,
    unread: Unread,
}

/// Where it hands it back.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Option<Incoming>>>);

pub(crate) fn guard(body: Incoming) -> (Guarded, Unread) {
    let unread = Unread::default();
    (Guarded { body: Some(body), unread: unread.clone() }, unread)
}

impl Unread {
    /// Reads away what was handed back, if anything was.
    pub(crate) async fn drain(self) {
        let rest = self.0.lock().ok().and_then(|mut rest| rest.take());
        let Some(mut rest) = rest else { return };
        if usize::try_from(rest.size_hint().lower()).is_ok_and(|left| left > LIMIT_BYTES) {
            return;
        }
        let reading = async {
            let mut seen = 0;
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, rest.frame()).await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > LIMIT_BYTES {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.ok();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(mut place)) = (unread, self.unread.0.lock()) {
            *place = Some(body);
        }
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
