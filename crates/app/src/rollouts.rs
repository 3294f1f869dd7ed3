//! Rollouts: made, looked at, paused, resumed, canceled, rolled back.
//!
//! What a rollout does by itself is the tick's ([`crate::reconcile`]); both sides decide with `core::rollout` only.

pub(crate) mod control;
mod create;
mod dry_run;
pub(crate) mod observe;
mod read;
pub(crate) mod rows;

pub use control::{cancel_rollout, pause_rollout, resume_rollout, roll_back_rollout};
pub use create::{NewRollout, create_rollout};
pub use dry_run::{DryRun, plan_rollout};
pub use read::{RolloutView, deployments, rollout, rollouts};
