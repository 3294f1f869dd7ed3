//! What happened: pages, the stream, and the check of the audit log.

mod list;
mod stream;
mod verify;

use fleetward_app::journal::Event;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::{ActorView, EventView, Time};

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(list::handler))
        .routes(routes!(stream::handler))
        .routes(routes!(verify::handler))
}

pub(super) fn view(event: Event) -> EventView {
    let entry = event.entry;
    EventView {
        id: event.id,
        at: Time(entry.at),
        action: entry.action.as_str(),
        actor: ActorView { kind: entry.actor.kind.as_str(), name: entry.actor.name },
        device: entry.device.map(|device| device.to_string()),
        subject: entry.subject,
        outcome: entry.outcome.as_str(),
        severity: entry.severity.as_str(),
        detail: entry.detail,
        request_id: entry.request_id.map(|id| id.to_string()),
        seq: event.seq,
    }
}
