//! The register of devices: who there is, what they are, and how their status changes.
//!
//! Presence is joined to what is read here and never written with it: it changes by the second and lives in
//! [`crate::presence`].

mod change;
mod read;
mod revoke;
mod rows;

pub use change::{amend_device, change_status, create_device, remove_device};
pub(crate) use change::{load, store_status};
pub use read::{CertificateView, DeviceFilter, DeviceView, device, device_certificates, devices};
pub use revoke::revoke_device;
pub(crate) use rows::{device_of, row_of};
