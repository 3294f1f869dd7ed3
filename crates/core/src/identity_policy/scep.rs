//! Whether SCEP is offered.

use serde::{Deserialize, Serialize};

/// The section `scep`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScepPolicy {
    /// Off until somebody needs it: its messages are older and weaker than those of EST, and it is open to whoever reaches
    /// the server.
    pub enabled: bool,
}
