//! Messaging of a tenant, and where a server sends its clients.

use fleetward_app::messaging::Elsewhere;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What a tenant has decided on its messaging.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Messaging)]
pub struct MessagingView {
    /// `standard`, or `aws`: as AWS IoT Core where it differs.
    pub profile: &'static str,
    /// `connects`, `messages` and `bytes` of all devices together, each with `per_second` and `burst`; what is absent is as the
    /// installation has it.
    #[schema(value_type = Object)]
    pub rates: Value,
}

/// Where a server sends its MQTT clients.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redirect)]
pub struct RedirectView {
    /// Null: they stay.
    pub server: Option<String>,
    pub moved: bool,
    /// Clients that were connected and are told so now.
    pub going: usize,
}

impl RedirectView {
    pub fn of(to: Option<Elsewhere>, going: usize) -> Self {
        let moved = to.as_ref().is_some_and(|to| to.moved);
        Self { server: to.map(|to| to.server), moved, going }
    }
}
