//! How a shadow came to be what it is.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{ActorView, Time};

/// A change to a shadow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShadowChange)]
pub struct ShadowChangeView {
    /// Counts the changes to this shadow, without ever beginning again.
    pub number: u64,
    /// The version of the shadow after it; begins again when a shadow is made anew two days after its deletion.
    pub version: u64,
    pub at: Time,
    pub actor: ActorView,
    /// A merge patch (RFC 7396) over `desired` and `reported`.
    #[schema(value_type = Object)]
    pub patch: Value,
}

/// What is asked for again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reasserted)]
pub struct ReassertedView {
    /// Paths in `desired` (RFC 6901) that were held to oscillate.
    pub paths: Vec<String>,
}
