//! `GET /v1/tenants/{tenant}/events/stream`

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Frame, Sse};
use axum::response::{IntoResponse, Response};
use fleetward_app::Ctx;
use fleetward_app::api_tokens::still_good;
use fleetward_app::journal::{Event, events_after, events_head};
use fleetward_base::{DeviceId, TenantId};
use futures::Stream;
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::read_query;
use crate::problem::Problem;
use crate::streams::Seat;

/// Between two reads of one stream.
const PACE: Duration = Duration::from_millis(50);
/// How often, and after what time, the journal is read again after a call that brought nothing.
const LOOKS: u8 = 3;
const LOOK_AFTER: Duration = Duration::from_millis(400);
/// Events read at once.
const BATCH: u32 = 200;
/// When a tenant may try for a seat again.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only what happens to this device
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// Begin after this event; `Last-Event-ID` goes before it. Without either: what happens from now on
    after: Option<i64>,
}

/// Follow what happens, as server-sent events
///
/// Each event is one `Event` as JSON, with its id. A client that lost its connection sends the last id that it saw as
/// `Last-Event-ID` and misses nothing.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/events/stream",
    operation_id = "stream_events",
    tag = "events",
    params(
        ("tenant" = String, Path),
        Filter,
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that was seen"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    headers: HeaderMap,
    uri: http::Uri,
) -> Result<Response, Problem> {
    let filter: Filter = read_query(uri.query().unwrap_or_default())?;
    let InTenant { ctx, tenant, .. } = caller;
    // Watch first, read later: what is written in between is seen.
    let journal = door.app().store().watch_journal();
    let head = events_head(door.app(), &ctx, &tenant).await?;
    let after = last_event_id(&headers)?.or(filter.after).unwrap_or(head);
    let seat = door.streams().take(&tenant).ok_or_else(|| Problem::too_many("event streams of this tenant", RETRY))?;
    let mut sign = tokio::time::interval(door.keep_alive());
    // The first tick of an interval is at once, and the answer itself is sign enough.
    sign.reset();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let device = filter.device;
    let follower = Follower { door, ctx, tenant, device, after, journal, looks: 0, sign, pace, _seat: seat };
    Ok(Sse::new(follower.frames()).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|id| *id >= 0);
    id.map(Some).ok_or_else(|| Problem::malformed("not the id of an event").at("Last-Event-ID"))
}

/// One open stream.
struct Follower {
    door: Door,
    ctx: Ctx,
    tenant: TenantId,
    device: Option<DeviceId>,
    after: i64,
    journal: watch::Receiver<i64>,
    /// Looks that are due although nobody called: a row may be announced a moment before it can be read.
    looks: u8,
    /// When a sign of life is due and the token is looked at, however much else happens.
    sign: Interval,
    /// The journal belongs to all tenants, so a busy one wakes every stream: it is read no more often than this.
    pace: Interval,
    _seat: Seat,
}

/// What ended a wait.
enum Woken {
    Journal,
    Look,
    Sign,
}

impl Follower {
    fn frames(self) -> impl Stream<Item = Result<Frame, Infallible>> {
        let batches = futures::stream::unfold((self, true), |(mut follower, first)| async move {
            let frames = if first { follower.read().await? } else { follower.next().await? };
            // The header fields go out with the first frame: the client knows that it is connected.
            let hello = first.then(|| Frame::default().comment("connected"));
            let frames = futures::stream::iter(hello.into_iter().chain(frames).map(Ok));
            Some((frames, (follower, false)))
        });
        futures::StreamExt::flatten(batches)
    }

    /// The next frames: events as soon as there are some, else a comment now and then. `None` ends the stream: the server
    /// stops, the store is gone, or the token is no longer good.
    async fn next(&mut self) -> Option<Vec<Frame>> {
        match self.wait().await? {
            Woken::Sign => {
                still_good(self.door.app(), &self.ctx).await.then_some(())?;
                Some(vec![Frame::default().comment("")])
            }
            Woken::Journal => {
                self.looks = LOOKS;
                self.read().await
            }
            Woken::Look => {
                self.looks -= 1;
                self.read().await
            }
        }
    }

    async fn read(&mut self) -> Option<Vec<Frame>> {
        self.pace.tick().await;
        let events = events_after(self.door.app(), &self.ctx, &self.tenant, self.after, BATCH).await.ok()?;
        if let Some(last) = events.last() {
            self.after = last.id;
            // A full batch may have more behind it: the next round reads on without waiting.
            self.journal.mark_changed();
        }
        Some(events.into_iter().filter(|event| self.is_meant(event)).filter_map(frame).collect())
    }

    async fn wait(&mut self) -> Option<Woken> {
        let look = async {
            match self.looks {
                0 => std::future::pending().await,
                _ => passing(LOOK_AFTER).await,
            }
        };
        tokio::select! {
            biased;
            () = self.door.stop().cancelled() => None,
            _ = self.sign.tick() => Some(Woken::Sign),
            changed = self.journal.changed() => changed.ok().map(|()| Woken::Journal),
            () = look => Some(Woken::Look),
        }
    }

    fn is_meant(&self, event: &Event) -> bool {
        self.device.is_none() || self.device == event.entry.device
    }
}

async fn passing(span: Duration) {
    // Nothing ever completes it: only the time-out ends it.
    tokio::time::timeout(span, std::future::pending::<()>()).await.unwrap_or_default();
}

fn frame(event: Event) -> Option<Frame> {
    let id = event.id.to_string();
    Frame::default().id(id).event("journal").json_data(super::view(event)).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_last_event_id_is_a_number() {
        let of = |value: &'static str| {
            last_event_id(&HeaderMap::from_iter([(
                http::HeaderName::from_static("last-event-id"),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(of("17"), Ok(Some(17)));
        assert_eq!(of(""), Ok(None));
        assert!(of("-1").is_err() && of("x").is_err() && of("9".repeat(30).leak()).is_err());
        assert_eq!(last_event_id(&HeaderMap::new()), Ok(None));
    }
}
