//! First enrolment by SCEP: a one-time challenge against a certificate.
//!
//! A challenge is an enrolment token that stands in a request as its challenge password: of one device, once, until its
//! time is over, and only so often tried. The name that the client gave its transaction is kept in the transaction that
//! uses the challenge up, so that it stands for that one request from then on.

use async_trait::async_trait;
use fleetward_base::{TenantId, Timestamp};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::Csr;
use fleetward_store::{CertificateRow, EnrollTokenRow, ScepTransactionRow, TenantTx};

use super::first::{OneTimeToken, check_standing, check_use, find};
use super::newcomer::{self, Consume, Newcomer, Use};
use super::refusal::{Fault, Refusal, Whose, settled};
use super::{Attempt, usable};
use crate::App;
use crate::error::{Error, Result};
use crate::token::TokenKind;

/// A transaction of SCEP, as far as its client made it.
#[derive(Clone, Debug)]
pub(crate) struct ScepTransaction {
    pub(crate) id: String,
    /// SHA-256 of the public key that asks.
    pub(crate) key: Vec<u8>,
    /// The request, sealed, in case that it has to wait.
    pub(crate) sealed: Vec<u8>,
}

impl ScepTransaction {
    fn row(&self, token: &EnrollTokenRow, request: &[u8], now: Timestamp) -> ScepTransactionRow {
        ScepTransactionRow {
            id: self.id.clone(),
            device: token.device.clone(),
            request: request.to_vec(),
            asker: self.key.clone(),
            waiting: None,
            created_at: now,
        }
    }
}

/// Issues the first certificate of the device that the request's challenge names. The same request with the same challenge
/// gets the same certificate again.
///
/// # Errors
/// As [`super::enroll_device`]; `Conflict` (`scep-transaction`) where the transaction's name stands for another request;
/// `Pending` where somebody has to let the device in, which is then remembered for whoever polls.
pub(crate) async fn challenged(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    csr: Csr,
    transaction: ScepTransaction,
) -> Result<CertificateRow> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    let mut whose = Whose { tenant: Some(tenant.clone()), ..Whose::default() };
    let text = csr.challenge_password().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let found = match text {
        "" => Err(Refusal::credential("no-challenge", "the request has no challenge password")),
        text => find(app, Some(tenant), TokenKind::Challenge, text).await,
    };
    let outcome = match found {
        Ok((_, token)) => {
            whose.device = Some(token.device.clone());
            whose.token = Some(token.id);
            enroll(app, attempt, tenant, token, csr, transaction).await
        }
        Err(fault) => Err(fault),
    };
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

async fn enroll(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    token: EnrollTokenRow,
    csr: Csr,
    transaction: ScepTransaction,
) -> Result<CertificateRow, Fault> {
    let now = app.now();
    check_standing(&token)?;
    csr.check_identity(tenant, &token.device)?;
    let request = csr.request_hash(tenant);
    check_use(&token, &request, now)?;
    let newcomer = Newcomer {
        tenant: tenant.clone(),
        device: token.device.clone(),
        way: Way::Challenge,
        source: Some(token.id.to_string()),
        facts: DeviceFields::default(),
        csr,
    };
    let row = transaction.row(&token, &request, now);
    let credential = Challenge { token: OneTimeToken(token.id), transaction: row.clone() };
    match newcomer::enter(app, attempt, newcomer, credential).await {
        Err(Fault::Failed(Error::Pending { retry_after })) => {
            let row = ScepTransactionRow { waiting: Some(transaction.sealed), ..row };
            app.store()
                .write(tenant, "scep transaction waits", move |tx: &mut TenantTx| {
                    Box::pin(async move { keep(tx, &row).await })
                })
                .await?;
            Err(Error::Pending { retry_after }.into())
        }
        other => other,
    }
}

/// A challenge that was found to count, to be used up together with the name of its transaction.
struct Challenge {
    token: OneTimeToken,
    transaction: ScepTransactionRow,
}

#[async_trait]
impl Consume for Challenge {
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault> {
        let used = self.token.consume(tx, request, now).await?;
        keep(tx, &self.transaction).await?;
        Ok(used)
    }
}

async fn keep(tx: &mut TenantTx, row: &ScepTransactionRow) -> Result<(), Fault> {
    if tx.keep_scep_transaction(row).await? {
        return Ok(());
    }
    let error = Error::conflict("scep-transaction", "the transaction is about another request");
    Err(Fault::Refused(Refusal { cause: "scep-transaction", error }))
}

/// What the device of a transaction got for its request.
pub(crate) async fn issued_to(
    app: &App,
    tenant: &TenantId,
    transaction: ScepTransactionRow,
) -> Result<Option<CertificateRow>> {
    let now = app.now();
    app.read(tenant, "scep issued", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let row = tx.certificate_by_request(&transaction.device, &transaction.request).await?;
            Ok(row.filter(|row| usable(row, now)))
        })
    })
    .await
}
