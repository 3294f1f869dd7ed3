//! The manufacturing database, enrolment keys and identifiers of devices.

use fleetward_app::dids::DeviceDidRow;
use fleetward_app::enrollment_keys::Enrollment;
use fleetward_app::inventory::{Imported, InventoryRow, MakerRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// What is known of one device from its making.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InventoryRow)]
pub struct InventoryRowView {
    pub serial: String,
    /// The name that it enrols under.
    pub device: String,
    pub class: Option<String>,
    pub hardware: Option<String>,
    /// SHA-256 of its endorsement key.
    pub ek_hash: Option<String>,
    pub batch: Option<String>,
    pub maker: Option<String>,
    /// software, secure-element, tpm2, trusted-execution or dice.
    pub root_of_trust: Option<String>,
    /// What its maker signed: a compact JWS.
    pub attestation: Option<String>,
    /// The maker's key under which that was verified.
    pub attested_by: Option<String>,
    pub imported_at: Time,
    pub updated_at: Time,
}

impl InventoryRowView {
    pub fn new(row: InventoryRow) -> Self {
        Self {
            serial: row.serial,
            device: row.device.to_string(),
            class: row.class,
            hardware: row.hardware,
            ek_hash: row.ek_hash,
            batch: row.batch,
            maker: row.maker,
            root_of_trust: row.root_of_trust,
            attestation: row.attestation,
            attested_by: row.attested_by,
            imported_at: Time(row.imported_at),
            updated_at: Time(row.updated_at),
        }
    }
}

/// What came of an import.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedInventory)]
pub struct ImportedView {
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Rows that were not taken, all of them.
    pub faulty: u64,
    /// The first of them.
    pub faults: Vec<ImportFaultView>,
}

/// A row that was not taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportFault)]
pub struct ImportFaultView {
    /// Counted from 1.
    pub line: u64,
    pub field: Option<&'static str>,
    pub why: String,
}

impl ImportedView {
    pub fn new(imported: Imported) -> Self {
        let faults = imported.faults.into_iter();
        Self {
            added: imported.added,
            changed: imported.changed,
            unchanged: imported.unchanged,
            faulty: imported.faulty,
            faults: faults.map(|f| ImportFaultView { line: f.line, field: f.field, why: f.why }).collect(),
        }
    }
}

/// A maker whose statements are believed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Maker)]
pub struct MakerView {
    pub name: String,
    /// SHA-256 of its public key.
    pub key_id: String,
    pub created_by: String,
    pub created_at: Time,
}

impl MakerView {
    pub fn new(row: MakerRow) -> Self {
        Self { name: row.name, key_id: row.key_id, created_by: row.created_by, created_at: Time(row.created_at) }
    }
}

/// An enrolment by symmetric key, without its keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnrollmentKey)]
pub struct EnrollmentKeyView {
    /// group or individual.
    pub kind: &'static str,
    pub name: String,
    pub class: Option<String>,
    pub hardware: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub payload: Option<serde_json::Value>,
    pub created_by: String,
    pub created_at: Time,
    pub rotated_at: Option<Time>,
    pub revoked_at: Option<Time>,
    pub revision: u64,
}

impl EnrollmentKeyView {
    pub fn new(row: Enrollment) -> Self {
        Self {
            kind: row.kind,
            name: row.name,
            class: row.class,
            hardware: row.hardware,
            payload: row.payload,
            created_by: row.created_by,
            created_at: Time(row.created_at),
            rotated_at: row.rotated_at.map(Time),
            revoked_at: row.revoked_at.map(Time),
            revision: row.revision,
        }
    }
}

/// The keys of an enrolment, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = EnrollmentKeys)]
pub struct ShownKeysView {
    /// group or individual.
    pub kind: &'static str,
    pub name: String,
    /// Base64.
    pub primary_key: String,
    pub secondary_key: String,
    /// What devices are told to address.
    pub id_scope: String,
}

/// The name by which devices without a credential address the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IdScope)]
pub struct IdScopeView {
    pub id_scope: String,
}

/// What the holder of an identifier is to sign.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DidChallenge)]
pub struct DidChallengeView {
    pub nonce: String,
    pub audience: String,
    pub expires_at: Time,
}

/// An identifier whose key a device holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceDid)]
pub struct DeviceDidView {
    pub did: String,
    /// The verification method that proved it.
    pub key_id: String,
    pub added_by: String,
    pub added_at: Time,
}

impl DeviceDidView {
    pub fn new(row: DeviceDidRow) -> Self {
        Self { did: row.did, key_id: row.key_id, added_by: row.added_by, added_at: Time(row.added_at) }
    }
}

/// The identifiers of a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceDids)]
pub struct DeviceDidsView {
    pub items: Vec<DeviceDidView>,
}
