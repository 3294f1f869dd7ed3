//! The log of a tenant's certificates. Hashes are base64, as checkpoints have them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::transparency::{ConsistencyView, HeadView, InclusionView, LeafView};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

fn text(hash: &[u8; 32]) -> String {
    BASE64_STANDARD.encode(hash)
}

/// How far the log goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransparencyHead)]
pub struct TransparencyHeadView {
    pub size: u64,
    /// The root of the Merkle tree (RFC 9162), in base64.
    pub root: String,
    /// The signed note (C2SP tlog-checkpoint). Keep it: a later log must continue it.
    pub checkpoint: String,
    /// The verifier key of the note.
    pub key: String,
    pub signed_at: Time,
}

impl From<HeadView> for TransparencyHeadView {
    fn from(head: HeadView) -> Self {
        let HeadView { size, root, checkpoint, key, signed_at } = head;
        Self { size, root: text(&root), checkpoint, key, signed_at: Time(signed_at) }
    }
}

/// The proof that a certificate is in the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransparencyInclusion)]
pub struct TransparencyInclusionView {
    pub index: u64,
    /// The hash of the leaf: SHA-256 of a zero byte and the certificate.
    pub leaf: String,
    /// From the leaf upwards.
    pub proof: Vec<String>,
    /// The certificate in DER, in base64.
    pub certificate: String,
    pub head: TransparencyHeadView,
}

impl From<InclusionView> for TransparencyInclusionView {
    fn from(found: InclusionView) -> Self {
        Self {
            index: found.index,
            leaf: text(&found.leaf),
            proof: found.proof.iter().map(text).collect(),
            certificate: BASE64_STANDARD.encode(&found.certificate),
            head: found.head.into(),
        }
    }
}

/// The proof that a later log continues an earlier one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransparencyConsistency)]
pub struct TransparencyConsistencyView {
    pub from: u64,
    pub to: u64,
    pub proof: Vec<String>,
}

impl From<ConsistencyView> for TransparencyConsistencyView {
    fn from(found: ConsistencyView) -> Self {
        Self { from: found.from, to: found.to, proof: found.proof.iter().map(text).collect() }
    }
}

/// One certificate in the order of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransparencyLeaf)]
pub struct TransparencyLeafView {
    pub index: u64,
    pub serial: String,
    pub leaf: String,
}

impl From<LeafView> for TransparencyLeafView {
    fn from(found: LeafView) -> Self {
        Self { index: found.index, serial: found.serial, leaf: text(&found.leaf) }
    }
}
