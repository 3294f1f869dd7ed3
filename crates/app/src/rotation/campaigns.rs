//! Campaigns of renewals: made, looked at, paused, resumed, canceled. What one does by itself is the tick's
//! (`reconcile::campaigns`); both sides decide with `core::rotation::campaign` and the planner of rollouts.

pub(crate) mod control;
pub(crate) mod create;
pub(crate) mod observe;
pub(crate) mod read;
pub(crate) mod rows;
