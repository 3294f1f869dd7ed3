//! The ground: typed ids, time, chance, secrets and limits.
//!
//! Everything else may use this crate and it uses nothing of ours. A new kind of id is a line in [`ids`]; a new limit is
//! a constant in [`limits`] and a row in `docs/limits.md`.

pub mod clock;
pub mod ids;
pub mod limits;
pub mod rng;
pub mod secret;

pub use clock::{BadTimestamp, Clock, ManualClock, Timestamp};
pub use ids::{
    BadId, CommandId, DeviceId, JobId, ReleaseId, RequestId, RevocationId, RolloutId, SignerId, TenantId, TokenId,
    TransferId,
};
pub use rng::{Rng, SeededRng};
pub use secret::Secret;

#[cfg(feature = "system")]
pub use clock::SystemClock;
#[cfg(feature = "system")]
pub use rng::SystemRng;
