//! Same key, same request, same answer.
//!
//! A use case that creates something asks [`replay`] first and tells [`keep`] last, in its own transaction: so a request
//! whose answer was lost can be sent again and does nothing twice. Answers may hold new secrets, so they are kept sealed.

use fleetward_store::{IdempotencyRow, TenantTx};
use fleetward_vault::Purpose;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::{App, Ctx};

/// What an earlier request under the same key was answered, if there was one.
///
/// # Errors
/// `Conflict` (`idempotency-key-reused`) where the key came with another request.
pub async fn replay<T: DeserializeOwned>(app: &App, tx: &mut TenantTx, ctx: &Ctx) -> Result<Option<T>> {
    let Some(promise) = &ctx.idempotency else { return Ok(None) };
    let principal = ctx.principal.key();
    let Some(row) = tx.idempotent_answer(&principal, &promise.key).await? else { return Ok(None) };
    if row.request_hash.as_slice() != promise.request_hash.as_slice() {
        let reason = "this Idempotency-Key came with another request; use a new key for a new request";
        return Err(Error::conflict("idempotency-key-reused", reason));
    }
    let plain = app.vault().open(Purpose::Response, &[scope(tx), &principal, &promise.key], &row.response)?;
    serde_json::from_slice(plain.expose()).map(Some).map_err(Error::internal)
}

/// Keeps the outcome under the request's key, if it has one.
pub async fn keep<T: Serialize>(app: &App, tx: &mut TenantTx, ctx: &Ctx, outcome: &T) -> Result<()> {
    let Some(promise) = &ctx.idempotency else { return Ok(()) };
    let principal = ctx.principal.key();
    let plain = serde_json::to_vec(outcome).map_err(Error::internal)?;
    let bound_to = [scope(tx), principal.as_str(), promise.key.as_str()];
    let response = app.vault().seal(app.rng().as_ref(), Purpose::Response, &bound_to, &plain)?;
    let row = IdempotencyRow {
        principal,
        key: promise.key.clone(),
        request_hash: promise.request_hash.to_vec(),
        response,
        created_at: app.now(),
    };
    if tx.put_idempotent_answer(&row).await? {
        return Ok(());
    }
    Err(Error::conflict(
        "idempotency-key-busy",
        "another request with this Idempotency-Key is being worked on; try again",
    ))
}

fn scope(tx: &TenantTx) -> &str {
    tx.tenant().map_or("", |tenant| tenant.as_str())
}
