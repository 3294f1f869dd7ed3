//! Certificates, as operators make them and look after them before and after they are a device's.

mod attach;
mod create;
mod detach;
mod list;
mod remove;
mod set_state;
mod show;

use fleetward_app::provisioning::unbound::{KnownCertificate, MadeCertificate, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, remove::handler))
        .routes(routes!(set_state::handler))
        .routes(routes!(attach::handler, detach::handler))
}

/// Whether a certificate counts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CertificateState)]
enum StateView {
    Active,
    /// It counts no more, until it is made active again.
    Inactive,
    /// For good.
    Revoked,
}

impl From<State> for StateView {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Inactive => Self::Inactive,
            State::Revoked => Self::Revoked,
        }
    }
}

impl From<StateView> for State {
    fn from(state: StateView) -> Self {
        match state {
            StateView::Active => Self::Active,
            StateView::Inactive => Self::Inactive,
            StateView::Revoked => Self::Revoked,
        }
    }
}

/// A certificate, with or without its device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnyCertificate)]
struct View {
    /// SHA-256 of its DER, in hex.
    id: String,
    serial: String,
    /// Absent where it waits for one, or was detached.
    device: Option<String>,
    /// Whose it is for good, also where it was detached.
    bound_to: Option<String>,
    state: StateView,
    not_before: Time,
    not_after: Time,
    issued_at: Time,
    pem: String,
}

impl From<KnownCertificate> for View {
    fn from(known: KnownCertificate) -> Self {
        Self {
            pem: known.pem(),
            id: known.id,
            serial: known.serial,
            device: known.device.map(|device| device.to_string()),
            bound_to: known.bound_to.map(|device| device.to_string()),
            state: known.state.into(),
            not_before: Time(known.not_before),
            not_after: Time(known.not_after),
            issued_at: Time(known.issued_at),
        }
    }
}

/// A certificate that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeCertificate)]
struct MadeView {
    #[serde(flatten)]
    certificate: View,
    /// Where the key was made here: shown this once, and kept nowhere.
    private_key: Option<String>,
}

impl From<MadeCertificate> for MadeView {
    fn from(made: MadeCertificate) -> Self {
        let private_key = made.keys.map(|(private, _)| private.expose().clone());
        Self { certificate: made.certificate.into(), private_key }
    }
}
