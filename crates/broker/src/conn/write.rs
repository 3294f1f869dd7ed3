//! Writing: as much as the stream takes, as one piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::Conn;
use crate::EndReason;

/// A buffer larger than this is not kept for the next time.
const KEPT: usize = 512;
/// Written bytes are not kept in front of this many others.
const COMPACT: usize = 64 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, now: u32) -> Result<bool, EndReason> {
        let output = &mut self.core.output;
        let mut progress = false;
        while output.waiting() > 0 {
            let rest = output.buffer.get(output.written..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(EndReason::ConnectionLost),
                Poll::Ready(Ok(n)) => {
                    output.written += n;
                    output.stalled_since = None;
                    output.unflushed = true;
                    progress = true;
                }
                Poll::Pending => {
                    output.stalled_since.get_or_insert(now);
                    if output.written > COMPACT {
                        output.buffer.drain(..output.written);
                        output.written = 0;
                    }
                    return Ok(progress);
                }
            }
        }
        if !output.unflushed {
            return Ok(progress);
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                output.unflushed = false;
                output.stalled_since = None;
                output.written = 0;
                output.buffer.clear();
                if output.buffer.capacity() > KEPT {
                    output.buffer = Vec::new();
                }
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(EndReason::ConnectionLost),
            Poll::Pending => {
                output.stalled_since.get_or_insert(now);
                Ok(progress)
            }
        }
    }
}
