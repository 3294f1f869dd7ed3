//! Enrolment: how a device gets a certificate, renews it, and is let in with it.
//!
//! [`enroll_device`] takes a one-time token, [`reenroll_device`] the certificate in use; [`admit_device`] is asked by every
//! door that a device with a certificate comes through. Each looks at the registry, not only at the certificate. A
//! certificate is issued, then proven by its first use, and only then are older ones superseded and, after a grace, retired
//! ([`ladder`]): a device whose new certificate got lost on the way goes on with the old one.
//!
//! A request that comes again gets the same certificate. What is refused is journaled with its cause, within limits, and
//! costs its address a part of its allowance; what succeeds costs nothing, since a factory sits behind one address.

mod admission;
pub(crate) mod adopt;
pub(crate) mod approval;
mod bearer;
mod certificate;
mod challenge;
mod channel;
pub mod dps;
mod factory;
mod first;
mod gate;
mod hardware;
mod intake;
mod issue;
pub(crate) mod ladder;
pub(crate) mod newcomer;
pub(crate) mod provenance;
mod recognise;
pub(crate) mod refusal;
mod renewal;
mod server_key;
mod symmetric;
pub(crate) mod unlogged;

use std::net::IpAddr;

use fleetward_base::{DeviceId, RequestId, Secret, TenantId, Timestamp};
use fleetward_core::rotation::Standing;
use fleetward_store::CertificateRow;

pub(crate) use admission::rights_now;
pub use admission::{Admitted, admit_chain, admit_device, rights_by_name, still_admitted};
pub use bearer::admit_bearer;
pub use certificate::enroll_with_certificate;
pub(crate) use challenge::{ScepTransaction, challenged, issued_to};
pub use channel::{Channel, EXPORTER_BYTES, EXPORTER_LABEL, Request};
pub(crate) use first::holder;
pub use first::{enroll_by_password, enroll_device};
pub(crate) use gate::{Allowances, Gate};
pub(crate) use refusal::{Fault, Refusal, UNKNOWN_CERTIFICATE, Whose, settle};
pub use renewal::reenroll_device;
pub use server_key::{Proof, enroll_with_server_key};
pub(crate) use unlogged::Unlogged;

/// From where and under which id somebody tries.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub address: IpAddr,
    pub request_id: RequestId,
}

/// A device's name and its one-time token, symmetric key, or token of a token service. The name is empty where a token came
/// alone.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub device: String,
    pub token: Secret<String>,
}

/// A certificate that was issued, now or at an earlier time for the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    pub tenant: TenantId,
    pub device: DeviceId,
    /// In DER.
    pub certificate: Vec<u8>,
    pub serial: String,
    pub not_after: Timestamp,
}

impl Enrolled {
    fn of(tenant: &TenantId, row: CertificateRow) -> Self {
        let CertificateRow { device, der, serial, not_after, .. } = row;
        Self { tenant: tenant.clone(), device, certificate: der, serial, not_after }
    }
}

/// Whether a certificate still counts.
fn usable(row: &CertificateRow, now: Timestamp) -> bool {
    row.status.parse().is_ok_and(Standing::is_accepted) && now <= row.not_after
}
