//! One file for each noun: its row and the methods on it.
//!
//! Lists are in the order of their key and go on after the last one of the page before. A method that updates takes the
//! revision or version that the caller read and answers `false` where it is no longer that, or the row is gone.

mod access_keys;
mod anchors;
mod artifacts;
mod attestation_anchors;
mod attestation_references;
mod attestations;
mod auth_failures;
mod ca_rotations;
mod certificates;
mod command_templates;
mod commands;
mod crls;
mod deny_list;
mod deployments;
mod device_groups;
mod device_types;
mod devices;
mod dids;
mod dps;
mod drills;
mod ends;
mod enroll_tokens;
mod enrollment_requests;
mod enrollments;
mod factories;
mod idempotency;
mod inventory;
mod issuers;
mod job_executions;
mod jobs;
mod journal;
mod keys;
mod labels;
mod metrics;
mod mqtt;
mod other_certificates;
mod policy_sources;
mod presence;
mod provisioning;
mod releases;
mod revocations;
mod rollouts;
mod rotation_campaigns;
mod rotations;
mod scep_transactions;
mod selector;
mod servers;
mod shadow_history;
mod shadows;
mod signers;
mod standing;
mod tenants;
mod token_issuers;
mod tokens;
mod topic_policies;
mod transfers;
mod transparency;
mod vault;
mod vouched_keys;

pub use access_keys::AccessKeyRow;
pub use anchors::AnchorCount;
pub use artifacts::ArtifactRow;
pub use attestation_anchors::AttestationAnchorRow;
pub use attestation_references::AttestationReferenceRow;
pub use attestations::AttestationRow;
pub use auth_failures::AuthFailureRow;
pub use ca_rotations::CaRotationRow;
pub use certificates::CertificateRow;
pub use command_templates::CommandTemplateRow;
pub use commands::{CommandFilter, CommandRow, CommandTail};
pub use crls::{CrlRow, CrlState, PendingRow, ResponderRow, RevokedAuthorityRow, RevokedRow};
pub use deny_list::DenyRow;
pub use deployments::{DeploymentCount, DeploymentKey, DeploymentRow};
pub use device_groups::DeviceGroupRow;
pub use device_types::DeviceTypeRow;
pub use devices::{DeviceFilter, DeviceRow, HeartbeatRow};
pub use dids::DeviceDidRow;
pub use dps::DpsRegistrationRow;
pub use drills::{MetRow, ProspectRow, TookRow, WayBackRow};
pub use ends::{EndedRow, Place};
pub use enroll_tokens::EnrollTokenRow;
pub use enrollment_requests::EnrollmentRequestRow;
pub use enrollments::EnrollmentRow;
pub use factories::{ClaimCodeRow, FactoryAuthorityRow, FactoryCertificateRow, RegistrationCodeRow};
pub use idempotency::IdempotencyRow;
pub use inventory::{InventoryFilter, InventoryRow, MakerRow};
pub use issuers::{IssuerRevision, IssuerRow, UntoldRow};
pub use job_executions::{JobCandidateRow, JobExecutionKey, JobExecutionRow, JobStandingRow, PendingJobExecutionRow};
pub use jobs::{JobKey, JobRow};
pub use journal::{JournalEntry, JournalFilter, JournalRow, Seal};
pub use keys::{AuthorityRow, AuthorityStandingRow, SealedKeyRow};
pub use labels::LabelsRow;
pub use metrics::Tally;
pub use mqtt::{ExchangesRow, QueueRow, QueueSize, QueueTotal, RetainedRow, SessionRow, SubscriptionRow, WillRow};
pub use other_certificates::OtherCertificateRow;
pub use policy_sources::PolicySourceRow;
pub use presence::{PresenceRow, SeenRow};
pub use provisioning::{ClaimRow, PendingCertificateRow, TemplateRow};
pub use releases::ReleaseRow;
pub use revocations::{HeldRow, Reach, RevocationRow, SelectedRow};
pub use rollouts::RolloutRow;
pub use rotation_campaigns::{CampaignRow, MemberRow};
pub use rotations::{ExpiringRow, LadderRow, RenewalRequestRow, RotationRow};
pub use scep_transactions::ScepTransactionRow;
pub use selector::DeviceSelector;
pub use servers::ServerRow;
pub use shadow_history::{ShadowEventRow, ShadowHistoryRow};
pub use shadows::ShadowRow;
pub use signers::SignerRow;
pub use standing::{CohortRow, StandingRow};
pub use tenants::TenantRow;
pub use token_issuers::{TokenIssuerMark, TokenIssuerRow};
pub use tokens::ApiTokenRow;
pub use topic_policies::{
    TopicPolicyAttachmentRow, TopicPolicyGeneration, TopicPolicyOfRow, TopicPolicyRow, TopicPolicyVersionRow,
    TopicPolicyWeight,
};
pub use transfers::TransferRow;
pub use transparency::{LeafRow, LogRow, TileRow};
pub use vault::{VaultHoldRow, VaultKeyRow};
pub use vouched_keys::VouchedKeyRow;

use fleetward_base::TenantId;

use crate::StoreError;
use crate::sql::{Cells, FromRow};

/// A row together with whose it is, from a list across tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Of<T> {
    /// None: the installation's own.
    pub tenant: Option<TenantId>,
    pub row: T,
}

impl<T: FromRow> FromRow for Of<T> {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        Ok(Self { tenant: cells.tenant()?, row: T::from_row(cells)? })
    }
}

/// Whether a statement for one row found it.
fn hit(changed: u64) -> bool {
    changed > 0
}
