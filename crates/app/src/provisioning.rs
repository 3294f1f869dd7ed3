//! Fleet provisioning and just-in-time registration: how devices come in that nobody has named before.
//!
//! A device with a *claim* (a certificate that many devices may share) asks for a certificate, gets one that is not usable
//! yet and a token of one hour, and spends the token on a place in the fleet that a *template* describes. A device with
//! the certificate of a registered *factory* is registered when it first connects, at once or when somebody claims it.
//!
//! What is refused: a claim outside its template, beyond its count, after its end or faster than its pace; a token that
//! is spent, over, or of another connection; a name that a device in use has already. Nothing is active before its
//! pre-provisioning check said yes; a check that cannot be asked says no.

pub mod claims;
pub mod codes;
pub mod factories;
pub(crate) mod forget;
mod hook;
pub mod jit;
pub(crate) mod outbound;
pub mod pending;
pub mod register;
mod subject;
pub mod templates;
pub mod unbound;

use std::net::IpAddr;
use std::time::Duration;

use fleetward_base::{TenantId, limits};
use parking_lot::Mutex;

use crate::App;
use crate::enroll::Allowances;
use crate::error::{Error, Result};

pub use outbound::Network;
pub use register::Refused;

/// A connection that was let in with a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    pub tenant: TenantId,
    /// The claim's name.
    pub claim: String,
    /// The serial number of its certificate.
    pub serial: String,
    /// The certificate's SHA-256: what AWS calls the claim's certificate id.
    pub fingerprint: String,
    /// The one connection that this is.
    pub connection: String,
    /// What the client calls itself; nobody believes it.
    pub client_id: String,
    pub address: IpAddr,
}

/// What the process remembers of claims.
pub(crate) struct Paces {
    requests: Mutex<Allowances<(TenantId, String)>>,
    customers: Mutex<Allowances<TenantId>>,
}

impl Default for Paces {
    fn default() -> Self {
        let every = Duration::from_secs(1) / limits::CLAIM_REQUESTS_PER_SECOND;
        let guess = Duration::from_secs(60) / limits::CLAIM_CODES_TRIED_PER_MINUTE;
        Self {
            requests: Mutex::new(Allowances::new(every, limits::CLAIM_REQUESTS_BURST, limits::PACES)),
            customers: Mutex::new(Allowances::new(guess, limits::CLAIM_CODES_TRIED_PER_MINUTE, limits::PACES)),
        }
    }
}

impl Paces {
    /// Counts a request of a claim.
    ///
    /// # Errors
    /// `TooMany` where it asks faster than it may.
    fn request(&self, app: &App, claimant: &Claimant) -> Result<()> {
        let key = (claimant.tenant.clone(), claimant.claim.clone());
        if self.requests.lock().take(key, app.clock().monotonic()) {
            return Ok(());
        }
        Err(Error::TooMany { what: "requests of this claim", retry_after: Duration::from_secs(1) })
    }

    /// Counts a claim code that was no good.
    fn guess(&self, app: &App, tenant: &TenantId) -> bool {
        self.customers.lock().take(tenant.clone(), app.clock().monotonic())
    }
}
