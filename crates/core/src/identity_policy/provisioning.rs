//! What fleet provisioning and factories may do.

use serde::{Deserialize, Serialize};

/// The section `provisioning`. Nothing in it is wrong in itself, so there is nothing to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProvisioningPolicy {
    /// Whether the server makes keys for devices that ask for one (`$aws/certificates/create`). A key that was sent was
    /// somewhere else than on the device, so this is off.
    pub server_keys: bool,
    /// Whether a device that has a certificate in use may come anew with a claim or a factory's certificate. Who holds
    /// a claim could take the place of any device by it, so this is off.
    pub reprovision: bool,
}
