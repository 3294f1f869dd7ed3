//! What the API shows: one struct for each kind of resource, apart from what is stored.
//!
//! A field is never renamed or removed within `/v1`. Times are RFC 3339 in UTC; absent values are `null`, so that a client
//! sees which fields there are.

mod access;
mod attestation;
mod bootstrap;
mod ca_request;
mod ca_rotation;
mod command;
mod device;
mod drill;
mod event;
mod issuer;
mod job;
mod messaging;
mod provisioning;
mod release;
mod revocation;
mod rollout;
mod rotation;
mod shadow;
mod token_issuer;
mod topic_policy;
mod transfer;
mod transparency;

use fleetward_base::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

pub use access::*;
pub use attestation::*;
pub use bootstrap::*;
pub use ca_request::*;
pub use ca_rotation::*;
pub use command::*;
pub use device::*;
pub use drill::*;
pub use event::*;
pub use issuer::*;
pub use job::*;
pub use messaging::*;
pub use provisioning::*;
pub use release::*;
pub use revocation::*;
pub use rollout::*;
pub use rotation::*;
pub use shadow::*;
pub use token_issuer::*;
pub use topic_policy::*;
pub use transfer::*;
pub use transparency::*;

/// A moment, shown as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
    }
}
impl ToSchema for Time {}
