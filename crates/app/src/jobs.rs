//! Jobs: made, looked at, changed, ended; and worked on by their devices, beside deployments in one queue.
//!
//! What a job does by itself is its reconciler's ([`crate::reconcile::jobs`]); `core::job` decides for both. Devices meet
//! jobs and deployments under one name: [`pending`], [`next`], [`start_next`], [`describe`] and [`report`] find by the id
//! which one is meant, so every door shows the same order.

pub(crate) mod control;
mod create;
mod device;
mod on_behalf;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod settle;

pub use control::{
    CancelExecution, JobChange, cancel_job, cancel_job_execution, delete_job, delete_job_execution, update_job,
};
pub use create::{NewJob, create_job};
pub use device::{ReportError, describe, next, pending, report, start_next};
pub use on_behalf::{Task, next_of, pending_of, report_for, start_next_of};
pub use queue::{Item, Told, Work, told};
pub use read::{JobView, device_job_executions, job, job_document, job_execution, job_executions, jobs};
