//! What devices say of their commands.

use fleetward_base::{CommandId, Timestamp};
use fleetward_core::command::{Answer, Applied, Command, Refused, apply};
use fleetward_store::TenantTx;

use super::deliver::{deliver, keep, own};
use super::{NO_SUCH, rows};
use crate::error::Error;
use crate::{App, Ctx};

/// An answer that was taken.
#[derive(Clone, Debug)]
pub struct Answered {
    pub command: Command,
    /// False where the same answer came before.
    pub changed: bool,
}

/// Why an answer did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// A rule said no; the command is as it was.
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    App(#[from] Error),
}

impl From<fleetward_store::StoreError> for AnswerError {
    fn from(error: fleetward_store::StoreError) -> Self {
        Self::App(error.into())
    }
}

impl From<AnswerError> for Error {
    /// As our own API says it.
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Refused(refused) => super::refusal(&refused),
            AnswerError::App(error) => error,
        }
    }
}

/// Takes the answer of the device that speaks. The same answer twice is taken twice and written once.
///
/// # Errors
/// [`AnswerError::Refused`]; `NotFound`; `Conflict` (`command-changed`) where two answers met.
pub async fn answer(app: &App, ctx: &Ctx, id: &CommandId, answer: Answer) -> Result<Answered, AnswerError> {
    let (tenant, device) = own(ctx)?;
    let (tenant, device, ctx_in, id, now) = (tenant.clone(), device.clone(), ctx.clone(), id.clone(), app.now());
    let (app_in, of) = (app.clone(), device.clone());
    app.see_through(async move {
        let taken = app_in.store().write(&tenant, "answer command", move |tx| {
            Box::pin(async move {
                let row = tx.command_for_update(&of, &id).await?.ok_or(NO_SUCH)?;
                take(tx, &ctx_in, rows::command_of(row)?, &answer, now).await
            })
        });
        let answered: Answered = taken.await?;
        if answered.changed && !answered.command.status.is_open() {
            deliver(&app_in, &tenant, &device).await;
        }
        Ok(answered)
    })
    .await
}

async fn take(
    tx: &mut TenantTx,
    ctx: &Ctx,
    before: Command,
    answer: &Answer,
    now: Timestamp,
) -> Result<Answered, AnswerError> {
    let after = match apply(&before, answer, now)? {
        Applied::Changed(after) => after,
        Applied::Repeated => return Ok(Answered { command: before, changed: false }),
    };
    keep(tx, ctx.principal.actor(), Some(ctx.request_id), &before, &after, now).await?;
    Ok(Answered { command: after, changed: true })
}
