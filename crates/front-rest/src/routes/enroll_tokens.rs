//! One-time tokens with which devices enrol.

mod create;
mod list;
mod revoke;

use fleetward_app::enroll_tokens::EnrollToken;
use fleetward_base::Timestamp;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::{EnrollTokenView, Time};

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(create::handler, list::handler)).routes(routes!(revoke::handler))
}

/// Of a token of either kind.
pub(super) fn view(token: EnrollToken, now: Timestamp) -> EnrollTokenView {
    let state = match (token.used_at, token.revoked_at) {
        (Some(_), _) => "used",
        (None, Some(_)) => "revoked",
        (None, None) if token.expires_at <= now => "expired",
        (None, None) => "open",
    };
    EnrollTokenView {
        id: token.id.to_string(),
        device: token.device.to_string(),
        state,
        attempts: token.attempts,
        created_by: token.created_by,
        created_at: Time(token.created_at),
        expires_at: Time(token.expires_at),
        used_at: token.used_at.map(Time),
        revoked_at: token.revoked_at.map(Time),
    }
}
