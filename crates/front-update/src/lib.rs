//! The artifact door, on the devices' HTTP port: `GET` and `HEAD /artifacts/{sha256}`.
//!
//! An artifact never changes, so its hash is its strong entity tag and a download can go on after any cut (RFC 9110 §13,
//! §14). A device is known by its certificate and is given what its deployments name; for everything else there is no such
//! artifact. Nothing here keeps more than a few pieces of a file in memory, whatever its size.
//!
//! Another update protocol is a file beside `artifact.rs` that calls the same use cases.

mod artifact;
pub mod condition;
mod multipart;
pub mod range;
mod refusal;

use axum::Router;
use axum::routing::any;
use fleetward_app::App;

/// The routes. Requests carry the [`fleetward_app::Peer`] of their connection as an extension.
pub fn router(app: App) -> Router {
    Router::new().route("/artifacts/{sha256}", any(artifact::handle)).with_state(app)
}
