//! Tokens of a tenant, and what they share with those of the installation.

mod create;
mod list;
mod revoke;

use std::time::Duration;

use fleetward_app::api_tokens::{ApiToken, NewApiToken};
use fleetward_core::access::Role;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::{ApiTokenView, NewApiTokenView, Time};

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(create::handler, list::handler)).routes(routes!(revoke::handler))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiToken, example = json!({ "name": "ci", "role": "operator", "ttl_s": 86400 }))]
pub(super) struct Body {
    /// Whose it is, for the audit log.
    pub(super) name: String,
    /// owner, operator, viewer or broker in a tenant; admin in the installation.
    #[schema(value_type = String)]
    pub(super) role: Role,
    /// How long it holds, in seconds; 90 days where it is absent.
    ttl_s: Option<u64>,
}

impl Body {
    pub(super) fn life(&self) -> Option<Duration> {
        self.ttl_s.map(Duration::from_secs)
    }
}

pub(super) fn made(token: NewApiToken) -> NewApiTokenView {
    NewApiTokenView { id: token.id.to_string(), token: token.token, expires_at: Time(token.expires_at) }
}

pub(super) fn view(token: ApiToken) -> ApiTokenView {
    ApiTokenView {
        id: token.id.to_string(),
        name: token.name,
        role: token.role.as_str(),
        created_by: token.created_by,
        created_at: Time(token.created_at),
        expires_at: token.expires_at.map(Time),
        last_used_at: token.last_used_at.map(Time),
        revoked_at: token.revoked_at.map(Time),
    }
}

/// A listing without a filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFilter {}
