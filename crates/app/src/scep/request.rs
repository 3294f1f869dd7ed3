//! Requests for a certificate, and what became of them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use fleetward_pki::scep::{FailInfo, MessageType, Refused};
use fleetward_pki::{Csr, csr};
use fleetward_store::{ScepTransactionRow, TenantTx};
use fleetward_vault::Purpose;
use rustls_pki_types::CertificateDer;

use super::{Asking, Fate, told};
use crate::enroll::{ScepTransaction, challenged, issued_to, reenroll_device};
use crate::error::{Error, Result};

/// What a request that waits is sealed for, beside its tenant.
const WAITING: &str = "scep-waiting";

impl Asking<'_> {
    /// PKCSReq and RenewalReq (RFC 8894 §3.3.1). What tells them apart is who signed: a device renews with the certificate
    /// that it has, and older clients call that a PKCSReq too (§3.3.1.2 made a type of it).
    pub(super) async fn certificate(&self, csr: Csr, der: &[u8]) -> Result<Fate> {
        let request = csr.request_hash(self.tenant);
        let known = self.transaction().await?;
        if known.is_some_and(|row| row.request != request) {
            let text = "the transaction is about another request";
            return Ok(self.refuse(Refused::new(FailInfo::BadRequest, text)).await);
        }
        let signer = self.message.signer();
        let foreign = signer.issuer != signer.subject;
        let renews = self.message.kind == Some(MessageType::RenewalReq);
        if renews || (foreign && csr.challenge_password().is_none_or(<[u8]>::is_empty)) {
            return self.renewal(&request, der).await;
        }
        // The answer is encrypted to the signer's key, and the challenge is good for the device's own key alone.
        if signer.spki != csr.spki() {
            let text = "the message is not signed with the key that is to be certified";
            return Ok(self.refuse(Refused::new(FailInfo::BadRequest, text)).await);
        }
        self.first(csr, der).await
    }

    async fn first(&self, csr: Csr, der: &[u8]) -> Result<Fate> {
        let (id, key) = (self.message.transaction_id.clone(), self.key());
        let transaction = ScepTransaction { id, key, sealed: self.seal(der)? };
        match challenged(self.app, self.attempt, self.tenant, csr, transaction).await {
            Ok(row) => Ok(Fate::Certificate(row.der)),
            Err(error) => told(error),
        }
    }

    async fn renewal(&self, request: &[u8], der: &[u8]) -> Result<Fate> {
        // That the signer holds the key of its certificate is shown by the message, as elsewhere by the hand-shake.
        let presented = CertificateDer::from(self.message.signer().der.as_slice());
        let renewed = match reenroll_device(self.app, self.attempt, Some(self.tenant), &presented, der).await {
            Ok(renewed) => renewed,
            Err(error) => return told(error),
        };
        let row = ScepTransactionRow {
            id: self.message.transaction_id.clone(),
            device: renewed.device,
            request: request.to_vec(),
            asker: self.key(),
            waiting: None,
            created_at: self.app.now(),
        };
        let kept = self.app.write(self.tenant, "scep renewal", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.keep_scep_transaction(&row).await?) })
        });
        kept.await?;
        Ok(Fate::Certificate(renewed.certificate))
    }

    /// CertPoll (RFC 8894 §3.3.3): by the name of the transaction, for the key that began it.
    pub(super) async fn poll(&self, subject: &[u8]) -> Result<Fate> {
        let key = self.key();
        let known = self.transaction().await?.filter(|row| verify_slices_are_equal(&row.asker, &key).is_ok());
        let unknown = || Refused::new(FailInfo::BadCertId, "there is no such transaction");
        let Some(row) = known else { return Ok(self.refuse(unknown()).await) };
        let Some(sealed) = &row.waiting else {
            let issued = issued_to(self.app, self.tenant, row).await?;
            return Ok(match issued {
                Some(row) => Fate::Certificate(row.der),
                None => self.refuse(unknown()).await,
            });
        };
        let bound = [self.tenant.as_str(), WAITING, &row.id];
        let der = self.app.vault().open(Purpose::Secret, &bound, sealed)?;
        let csr = csr::parse(der.expose()).map_err(Error::internal)?;
        if csr.subject() != subject {
            return Ok(self.refuse(unknown()).await);
        }
        self.first(csr, der.expose()).await
    }

    async fn transaction(&self) -> Result<Option<ScepTransactionRow>> {
        let id = self.message.transaction_id.clone();
        let read = self.app.read(self.tenant, "scep transaction", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.scep_transaction(&id).await?) })
        });
        read.await
    }

    /// What the key that asks is remembered by.
    fn key(&self) -> Vec<u8> {
        digest(&SHA256, &self.message.signer().spki).as_ref().to_vec()
    }

    /// There is a challenge in it, so it is not kept as it is.
    fn seal(&self, der: &[u8]) -> Result<Vec<u8>> {
        let bound = [self.tenant.as_str(), WAITING, &self.message.transaction_id];
        Ok(self.app.vault().seal(self.app.rng().as_ref(), Purpose::Secret, &bound, der)?)
    }
}
