//! Server-sent events: a parser, and a reader that resumes where a broken connection left off.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;

use crate::client::{Client, pause};
use crate::failure::Failure;

/// The longest line that is believed to be one of ours.
const LINE_BYTES: usize = 1024 * 1024;
/// Nothing at all for this long, not even a keep-alive: the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// One event as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// Lines in, events out (WHATWG HTML §9.2.6, as far as our server uses it).
#[derive(Debug, Default)]
pub(crate) struct Parser {
    rest: Vec<u8>,
    event: Event,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Failure> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    events.push(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.event.id = Some(value.to_owned()),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                _ => {}
            }
        }
        if self.rest.len() > LINE_BYTES {
            return Err(Failure::other("the event stream is not one of ours"));
        }
        Ok(events)
    }
}

/// Calls `each` with every event, reconnecting after the last one seen, until it says stop.
pub(crate) async fn follow(
    client: &Client,
    path: &str,
    mut each: impl FnMut(&Value) -> Result<std::ops::ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let mut last_id: Option<String> = None;
    let mut connected_before = false;
    loop {
        let response = match client.stream(path, last_id.as_deref()).await {
            Ok(response) => response,
            // The first connection tells what is wrong; later ones outlive a restart of the server.
            Err(failure @ Failure::Refused(_)) => return Err(failure),
            Err(failure) if !connected_before => return Err(failure),
            Err(_) => {
                pause(RECONNECT_AFTER).await;
                continue;
            }
        };
        connected_before = true;
        let mut parser = Parser::default();
        let mut bytes = response.bytes_stream();
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(SILENCE, bytes.next()).await {
            for event in parser.feed(&chunk)? {
                let value = serde_json::from_str(&event.data)
                    .map_err(|_| Failure::other("an event of the stream is not JSON"))?;
                last_id = event.id.or(last_id);
                if each(&value)?.is_break() {
                    return Ok(());
                }
            }
        }
        pause(RECONNECT_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let text = b": keep-alive\n\nid: 7\nevent: journal\ndata: {\"a\":\ndata: 1}\n\nid: 8\r\ndata: x\r\n\r\n";
        let expected = [
            Event { id: Some("7".into()), data: "{\"a\":\n1}".into() },
            Event { id: Some("8".into()), data: "x".into() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> = text.chunks(size).flat_map(|chunk| parser.feed(chunk).expect("ours")).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut parser = Parser::default();
        assert!(parser.feed(&vec![b'x'; LINE_BYTES + 1]).is_err());
    }
}
