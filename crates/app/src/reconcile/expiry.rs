//! What is forgotten after its time, which no policy changes. MQTT sessions are the broker's to expire, which knows when they ended.

use fleetward_base::limits;

use super::for_each_tenant;
use crate::error::{Error, Result};
use crate::{App, provisioning};

/// Forgets answers under an `Idempotency-Key`, enrolment tokens, tokens that were exchanged, requests for approval, transfers,
/// vouched keys and transactions of SCEP that were kept for long enough; how many.
pub async fn expire(app: &App) -> Result<u64> {
    let now = app.now();
    let before = app.now().minus(limits::IDEMPOTENCY_TTL);
    let tokens_before = app.now().minus(limits::ENROLL_TOKEN_KEPT);
    let failures_before = app.now().minus(limits::AUTH_FAILURES_KEPT);
    let requests_before = app.now().minus(limits::ENROLLMENT_REQUEST_KEPT);
    let transfers_before = app.now().minus(limits::TRANSFER_KEPT);
    let keys_before = app.now().minus(limits::CERTIFIED_KEY_KEPT);
    let scep_before = app.now().minus(limits::SCEP_TRANSACTION_KEPT);
    let mut forgotten = app
        .store()
        .system_write("expire answers", move |tx| {
            Box::pin(async move { Ok::<_, Error>(tx.installation().await?.expire_idempotent_answers(before).await?) })
        })
        .await?;
    forgotten += for_each_tenant(app, "expiry", |app, tenant| async move {
        app.write(&tenant, "expire", move |tx| {
            Box::pin(async move {
                let answers = tx.expire_idempotent_answers(before).await?;
                let scep = tx.forget_scep_transactions(scep_before).await?;
                let requests = tx.forget_enrollment_requests(requests_before).await?;
                let failures = tx.forget_auth_failures(failures_before).await?;
                let tokens = tx.forget_enroll_tokens(tokens_before).await?;
                let transfers = tx.forget_transfers(transfers_before).await?;
                let exchanged = tx.forget_token_uses(now).await?;
                let keys = tx.forget_vouched_keys(keys_before).await?;
                let forgotten = provisioning::forget::forget(tx, now).await?;
                Ok(answers + scep + failures + requests + tokens + transfers + exchanged + keys + forgotten)
            })
        })
        .await
    })
    .await?;
    Ok(forgotten)
}
