//! By which way a device comes in anew by itself, told from how it came in before.
//!
//! The newest certificate that was no renewal says what the device has: a symmetric key, a factory's certificate, a claim.
//! Whether that still lets somebody in is asked once for each source.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_base::Timestamp;
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_store::{ProspectRow, TenantTx};

use crate::error::Result;
use crate::provisioning::factories;

/// What was asked so far.
pub(super) struct Ways {
    policy: Arc<IdentityPolicy>,
    now: Timestamp,
    known: HashMap<(Way, String), bool>,
}

impl Ways {
    pub(super) fn new(policy: Arc<IdentityPolicy>, now: Timestamp) -> Self {
        Self { policy, now, known: HashMap::new() }
    }

    /// The way of a device with these certificates, newest first; `lost` are those that the command takes.
    pub(super) async fn own(
        &mut self,
        tx: &mut TenantTx,
        all: &[ProspectRow],
        lost: &[&ProspectRow],
    ) -> Result<Option<Way>> {
        let came = all.iter().find(|row| row.way != Way::Renewal.as_str());
        let Some((way, source)) = came.and_then(|row| Some((row.way.parse::<Way>().ok()?, row.source.clone()?))) else {
            return Ok(None);
        };
        // A device that uses the factory's own certificate has nothing else to show once that is revoked.
        if way == Way::Factory && lost.iter().any(|row| row.authority == source) {
            return Ok(None);
        }
        let key = (way, source);
        let open = match self.known.get(&key) {
            Some(open) => *open,
            None => {
                let open = self.is_open(tx, way, &key.1).await?;
                self.known.insert(key, open);
                open
            }
        };
        Ok(open.then_some(way))
    }

    async fn is_open(&self, tx: &mut TenantTx, way: Way, source: &str) -> Result<bool> {
        Ok(match way {
            Way::SymmetricKey => match source.split_once(':') {
                Some((kind, name)) => tx.enrollment(kind, name).await?.is_some_and(|row| row.revoked_at.is_none()),
                None => false,
            },
            Way::Factory => {
                let registered = tx.factory_authority(source).await?;
                self.policy.est.factory_certificates && registered.is_none_or(|row| row.status == factories::ACTIVE)
            }
            Way::Claim => tx.claim(source).await?.is_some_and(|row| {
                row.revoked_at.is_none() && self.now < row.expires_at && row.count_cap.is_none_or(|cap| row.used < cap)
            }),
            Way::Jwt => {
                let believed = tx.token_issuer(source).await?.is_some_and(|row| row.disabled_at.is_none());
                believed && self.policy.tokens.exchange
            }
            // Given by somebody for one enrolment, or no way in.
            Way::Token | Way::Challenge | Way::Approval | Way::Renewal => false,
        })
    }
}
