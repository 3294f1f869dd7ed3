//! One append-only record of what happened: time line of a device, audit log of a tenant, feed of events.
//!
//! Each step writes exactly one [`Entry`] in its own transaction. Later, and in the order of commit, each row gets its
//! place in the tenant's log (`seq`, without gaps) and a link of a hash chain: whoever kept an old link can prove that
//! nothing before it was changed or taken out. The bytes that are hashed are fixed here, in [`chain`].

use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::text::text_enum;

text_enum! {
    /// Who acts.
    pub enum ActorKind("kind of actor") {
        /// Somebody with an API token; the name is the token's.
        Token => "token",
        /// A device, by its certificate; the name is the device's.
        Device => "device",
        /// The server itself; the name is the reconciler's.
        System => "system",
        /// Nobody known: a refused sign-in. The name is an address.
        Anonymous => "anonymous",
    }
}

text_enum! {
    /// How it ended.
    pub enum Outcome("outcome") {
        Done => "done",
        /// A rule said no.
        Refused => "refused",
        /// It was tried and did not work.
        Failed => "failed",
    }
}

text_enum! {
    /// How much it asks for attention.
    pub enum Severity("severity") {
        Info => "info",
        Notice => "notice",
        Warning => "warning",
        Critical => "critical",
    }
}

text_enum! {
    /// What was done. The part before the dot is the noun.
    pub enum Action("action") {
        TenantCreated => "tenant.created",
        TenantUpdated => "tenant.updated",
        TenantIdentityPolicyChanged => "tenant.identity_policy_changed",
        TenantMessagingChanged => "tenant.messaging_changed",
        /// Clients were sent to another server, or are no more.
        ServerRedirected => "server.redirected",
        TenantCaCreated => "tenant.ca_created",
        IssuerUpdated => "issuer.updated",
        /// The external issuer does not answer, or not with what was asked for; told once until it works again.
        IssuerFailed => "issuer.failed",
        IssuerRecovered => "issuer.recovered",
        CaRotationStarted => "ca_rotation.started",
        CaRotationAdvanced => "ca_rotation.advanced",
        CaRotationCanceled => "ca_rotation.canceled",
        CaRotationFinished => "ca_rotation.finished",
        /// An offline root is asked to sign something.
        CaRequested => "ca.requested",
        CaImported => "ca.imported",
        CaRetired => "ca.retired",
        /// An authority that vouches for devices is no more; the detail names the one that follows it.
        CaRevoked => "ca.revoked",
        /// Less than a fifth of its life is left.
        CaEndsSoon => "ca.ends_soon",
        VaultRotated => "vault.rotated",
        VaultKeyDestroyed => "vault.key_destroyed",
        VaultSealChanged => "vault.seal_changed",
        VaultDisabled => "vault.disabled",
        VaultEnabled => "vault.enabled",
        /// Something wanted keys that are disabled.
        VaultUseRefused => "vault.use_refused",
        /// The key and certificate with which SCEP is answered.
        TenantRaCreated => "tenant.ra_created",
        AccessKeyCreated => "access_key.created",
        AccessKeyDisabled => "access_key.disabled",
        AccessKeyRemoved => "access_key.removed",
        ApiTokenCreated => "api_token.created",
        ApiTokenRevoked => "api_token.revoked",
        AdminClaimed => "admin.claimed",
        SignInRefused => "sign_in.refused",
        DeviceCreated => "device.created",
        DeviceUpdated => "device.updated",
        DeviceStatusChanged => "device.status_changed",
        DeviceRevoked => "device.revoked",
        DeviceDecommissioned => "device.decommissioned",
        /// It belongs to another tenant now.
        DeviceTransferred => "device.transferred",
        /// It came from another tenant.
        DeviceReceived => "device.received",
        DeviceGroupCreated => "device_group.created",
        DeviceGroupUpdated => "device_group.updated",
        DeviceGroupRemoved => "device_group.removed",
        DeviceTypeCreated => "device_type.created",
        /// No device becomes one of it any more, or again one does.
        DeviceTypeDeprecated => "device_type.deprecated",
        DeviceTypeRemoved => "device_type.removed",
        LabelsChanged => "labels.changed",
        DeviceConnected => "device.connected",
        DeviceDisconnected => "device.disconnected",
        DeviceConnectionRefused => "device.connection_refused",
        DeviceHeartbeatMissed => "device.heartbeat_missed",
        DeviceHeartbeatBack => "device.heartbeat_back",
        TransferOffered => "transfer.offered",
        TransferCanceled => "transfer.canceled",
        /// Both agree. Whether the device is wiped first says the giving tenant's policy.
        TransferAccepted => "transfer.accepted",
        /// The device has not said in time that it has wiped itself.
        TransferUnconfirmed => "transfer.unconfirmed",
        EnrollTokenCreated => "enroll_token.created",
        EnrollTokenRevoked => "enroll_token.revoked",
        EnrollmentRefused => "enrollment.refused",
        /// A device waits for a person.
        EnrollmentAsked => "enrollment.asked",
        EnrollmentApproved => "enrollment.approved",
        EnrollmentDenied => "enrollment.denied",
        EnrollmentKeyCreated => "enrollment_key.created",
        EnrollmentKeyRotated => "enrollment_key.rotated",
        EnrollmentKeyRevoked => "enrollment_key.revoked",
        InventoryImported => "inventory.imported",
        InventoryRemoved => "inventory.removed",
        MakerRegistered => "maker.registered",
        MakerRemoved => "maker.removed",
        TokenIssuerRegistered => "token_issuer.registered",
        TokenIssuerDisabled => "token_issuer.disabled",
        TokenIssuerEnabled => "token_issuer.enabled",
        TokenIssuerRemoved => "token_issuer.removed",
        TopicPolicyCreated => "topic_policy.created",
        /// A new version, or another one that counts.
        TopicPolicyChanged => "topic_policy.changed",
        TopicPolicyVersionRemoved => "topic_policy.version_removed",
        TopicPolicyRemoved => "topic_policy.removed",
        TopicPolicyAttached => "topic_policy.attached",
        TopicPolicyDetached => "topic_policy.detached",
        /// By Azure's provisioning messages.
        DeviceRegistered => "device.registered",
        DeviceDidAdded => "device.did_added",
        DeviceDidRemoved => "device.did_removed",
        /// Issued to a claim; nobody's yet.
        CertificatePending => "certificate.pending",
        /// Certificates that no device owned in their hour are gone.
        CertificateForgotten => "certificate.forgotten",
        CertificateIssued => "certificate.issued",
        CertificateRenewed => "certificate.renewed",
        /// Its first use on a connection.
        CertificateProven => "certificate.proven",
        /// Another was proven; it still counts for its grace.
        CertificateSuperseded => "certificate.superseded",
        /// The one before it counts no longer.
        CertificateConfirmed => "certificate.confirmed",
        CertificateRetired => "certificate.retired",
        CertificateExpiring => "certificate.expiring",
        CertificateExpired => "certificate.expired",
        CertificateRevoked => "certificate.revoked",
        /// A device was asked to renew.
        RenewalAsked => "renewal.asked",
        RenewalFailuresRising => "renewal.failures_rising",
        RenewalFailuresFallen => "renewal.failures_fallen",
        RotationCreated => "rotation.created",
        RotationPhaseStarted => "rotation.phase_started",
        RotationPaused => "rotation.paused",
        RotationResumed => "rotation.resumed",
        RotationCanceled => "rotation.canceled",
        RotationFinished => "rotation.finished",
        /// A device of a rotation did not renew in time.
        RotationDeviceFailed => "rotation.device_failed",
        /// The attestation key of its TPM is known.
        AttestationActivated => "attestation.activated",
        /// A verdict, where it is another than before.
        AttestationVerdict => "attestation.verdict",
        /// Its TPM vouches for the key that it wants a certificate for.
        KeyCertified => "attestation.key_certified",
        /// Evidence that proves nothing.
        AttestationRefused => "attestation.refused",
        AttestationOverdue => "attestation.overdue",
        AttestationAnchorAdded => "attestation.anchor_added",
        AttestationAnchorRemoved => "attestation.anchor_removed",
        AttestationReferenceSet => "attestation.reference_set",
        AttestationReferenceLocked => "attestation.reference_locked",
        AttestationReferenceRemoved => "attestation.reference_removed",
        SecurityTwoPlaces => "security.certificate_in_two_places",
        SecurityTakeoverFlapping => "security.takeover_flapping",
        SecurityImpossibleTravel => "security.impossible_travel",
        SecurityMassReregistration => "security.mass_reregistration",
        SecurityClaimBurst => "security.claim_burst",
        ProvisioningTemplateCreated => "provisioning_template.created",
        ProvisioningTemplateUpdated => "provisioning_template.updated",
        ProvisioningTemplateDeleted => "provisioning_template.deleted",
        /// A claim or a factory's certificate was not let in.
        ProvisioningRefused => "provisioning.refused",
        ClaimCreated => "claim.created",
        ClaimRevoked => "claim.revoked",
        RegistrationCodeCreated => "registration_code.created",
        FactoryAuthorityRegistered => "factory_authority.registered",
        FactoryAuthorityUpdated => "factory_authority.updated",
        FactoryAuthorityRevoked => "factory_authority.revoked",
        /// A device of a factory was seen for the first time and waits to be claimed.
        FactoryCertificateSeen => "factory_certificate.seen",
        FactoryCertificateActivated => "factory_certificate.activated",
        ClaimCodeCreated => "claim_code.created",
        ClaimCodeUsed => "claim_code.used",
        ClaimCodeRevoked => "claim_code.revoked",
        /// Signed by an authority of ours, and not in the registry.
        CertificateUnlogged => "certificate.unlogged",
        RevocationStarted => "revocation.started",
        RevocationFinished => "revocation.finished",
        RevocationCanceled => "revocation.canceled",
        /// An incident was rehearsed; nothing was done.
        DrillMade => "drill.made",
        DenyListChanged => "deny_list.changed",
        ShadowUpdated => "shadow.updated",
        ShadowDeleted => "shadow.deleted",
        /// Some path of a shadow goes to and fro; it is no longer asserted.
        ShadowOscillating => "shadow.oscillating",
        /// An operator has it asserted again.
        ShadowReasserted => "shadow.reasserted",
        /// A device started with less than it had applied before.
        ShadowStaleReport => "shadow.stale_report",
        MessagePublished => "message.published",
        /// An operator took away what was retained on a topic.
        MessageCleared => "message.cleared",
        /// A device was asked to do something now.
        MethodCalled => "method.called",
        /// What it answered, or that it did not.
        MethodAnswered => "method.answered",
        SignerCreated => "signer.created",
        SignerRevoked => "signer.revoked",
        ArtifactStored => "artifact.stored",
        ReleaseCreated => "release.created",
        ReleaseRefused => "release.refused",
        RolloutCreated => "rollout.created",
        RolloutPhaseStarted => "rollout.phase_started",
        RolloutGateMet => "rollout.gate_met",
        /// What was seen changed for the worse during the soak.
        RolloutGateLost => "rollout.gate_lost",
        RolloutPaused => "rollout.paused",
        RolloutResumed => "rollout.resumed",
        RolloutCanceled => "rollout.canceled",
        RolloutRollbackStarted => "rollout.rollback_started",
        RolloutRolledBack => "rollout.rolled_back",
        RolloutFinished => "rollout.finished",
        CommandQueued => "command.queued",
        /// To the device, which has not said anything yet.
        CommandSent => "command.sent",
        CommandStarted => "command.started",
        CommandProgressed => "command.progressed",
        CommandSucceeded => "command.succeeded",
        CommandFailed => "command.failed",
        CommandRejected => "command.rejected",
        CommandTimedOut => "command.timed_out",
        CommandExpired => "command.expired",
        CommandCanceled => "command.canceled",
        CommandSuperseded => "command.superseded",
        CommandDeleted => "command.deleted",
        CommandTemplateCreated => "command_template.created",
        CommandTemplateUpdated => "command_template.updated",
        CommandTemplateRemoved => "command_template.removed",
        JobCreated => "job.created",
        JobUpdated => "job.updated",
        /// It hands out from now on.
        JobStarted => "job.started",
        JobCompleted => "job.completed",
        JobCanceled => "job.canceled",
        /// What went with the cancellation has ended.
        JobCancelDone => "job.cancel_done",
        /// Too many of its executions failed: it canceled itself.
        JobAborted => "job.aborted",
        JobDeleted => "job.deleted",
        /// After its executions.
        JobGone => "job.gone",
        JobExecutionQueued => "job_execution.queued",
        JobExecutionStarted => "job_execution.started",
        JobExecutionProgressed => "job_execution.progressed",
        JobExecutionSucceeded => "job_execution.succeeded",
        JobExecutionFailed => "job_execution.failed",
        JobExecutionRejected => "job_execution.rejected",
        JobExecutionTimedOut => "job_execution.timed_out",
        /// The device is no target of the job any more.
        JobExecutionRemoved => "job_execution.removed",
        JobExecutionCanceled => "job_execution.canceled",
        JobExecutionDeleted => "job_execution.deleted",
        DeploymentQueued => "deployment.queued",
        DeploymentStarted => "deployment.started",
        DeploymentProgressed => "deployment.progressed",
        DeploymentSucceeded => "deployment.succeeded",
        DeploymentFailed => "deployment.failed",
        DeploymentRejected => "deployment.rejected",
        DeploymentTimedOut => "deployment.timed_out",
        DeploymentCanceled => "deployment.canceled",
    }
}

/// Who acts, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    pub name: String,
}

impl Actor {
    pub fn token(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Token, name: name.into() }
    }

    pub fn device(id: &DeviceId) -> Self {
        Self { kind: ActorKind::Device, name: id.to_string() }
    }

    /// The server, in the person of one of its reconcilers.
    pub fn system(part: &str) -> Self {
        Self { kind: ActorKind::System, name: part.to_owned() }
    }

    pub fn anonymous(address: impl Into<String>) -> Self {
        Self { kind: ActorKind::Anonymous, name: address.into() }
    }
}

/// One thing that happened. Holds no secret and no payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    /// The device in whose time line it stands.
    pub device: Option<DeviceId>,
    /// What else it is about: a rollout, a release, a token, by id.
    pub subject: Option<String>,
    pub outcome: Outcome,
    pub severity: Severity,
    /// An object with what is worth knowing.
    pub detail: Value,
    pub request_id: Option<RequestId>,
}

impl Entry {
    /// Something that was done and needs nobody's attention; say the rest with the `with_` and `about` methods.
    pub fn done(at: Timestamp, actor: Actor, action: Action) -> Self {
        Self {
            at,
            actor,
            action,
            device: None,
            subject: None,
            outcome: Outcome::Done,
            severity: Severity::Info,
            detail: Value::Object(serde_json::Map::new()),
            request_id: None,
        }
    }

    /// Something that a rule refused.
    pub fn refused(at: Timestamp, actor: Actor, action: Action) -> Self {
        Self { outcome: Outcome::Refused, severity: Severity::Warning, ..Self::done(at, actor, action) }
    }

    #[must_use]
    pub fn device(mut self, device: &DeviceId) -> Self {
        self.device = Some(device.clone());
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    #[must_use]
    pub fn request(mut self, id: Option<RequestId>) -> Self {
        self.request_id = id;
        self
    }
}

/// A link of the chain: SHA-256.
pub type Link = [u8; 32];

/// What precedes the first entry of a tenant.
pub const GENESIS: Link = [0; 32];

/// The link of `entry` as number `seq` of `tenant`, after `previous`. Every field is hashed with its length before it, so
/// that no two entries have the same bytes; an absent field differs from an empty one.
pub fn chain(previous: &Link, tenant: &TenantId, seq: u64, entry: &Entry) -> Link {
    let mut hash = Sha256::new();
    hash.update(b"fleetward-journal-v1\0");
    hash.update(previous);
    hash.update(seq.to_be_bytes());
    hash.update(entry.at.millis().to_be_bytes());
    let request = entry.request_id.map(|id| id.to_string());
    let detail = entry.detail.to_string();
    for field in [
        Some(tenant.as_str()),
        Some(entry.actor.kind.as_str()),
        Some(&entry.actor.name),
        Some(entry.action.as_str()),
        entry.device.as_ref().map(DeviceId::as_str),
        entry.subject.as_deref(),
        Some(entry.outcome.as_str()),
        Some(entry.severity.as_str()),
        Some(&detail),
        request.as_deref(),
    ] {
        match field {
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
            None => hash.update([0]),
        }
    }
    hash.finalize().into()
}

/// Whether `entries`, numbered from `first_seq`, follow from `previous`; the number of the first that does not otherwise.
pub fn verify<'a>(
    mut previous: Link,
    tenant: &TenantId,
    first_seq: u64,
    entries: impl IntoIterator<Item = (&'a Entry, &'a Link)>,
) -> Result<Link, u64> {
    for (seq, (entry, link)) in (first_seq..).zip(entries) {
        if chain(&previous, tenant, seq, entry) != *link {
            return Err(seq);
        }
        previous = *link;
    }
    Ok(previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry::done(Timestamp::from_secs(1), Actor::token(name), Action::DeviceCreated)
            .device(&"gw-1".parse().expect("a name"))
            .detail(serde_json::json!({"b": 1, "a": 2}))
    }

    fn sealed(entries: &[Entry]) -> Vec<Link> {
        let tenant = "acme".parse().expect("a name");
        let mut previous = GENESIS;
        (1..)
            .zip(entries)
            .map(|(seq, entry)| {
                previous = chain(&previous, &tenant, seq, entry);
                previous
            })
            .collect()
    }

    #[test]
    fn the_bytes_of_a_link_never_change() {
        let hex: String = sealed(&[entry("ops")])[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../golden/journal-link.txt").trim(), "a released log would no longer verify");
    }

    #[test]
    fn a_change_is_found_where_it_is() {
        let tenant = "acme".parse().expect("a name");
        let mut entries = vec![entry("a"), entry("b"), entry("c")];
        let links = sealed(&entries);
        let check = |entries: &[Entry]| verify(GENESIS, &tenant, 1, entries.iter().zip(&links));
        assert_eq!(check(&entries), Ok(links[2]));
        entries[1].subject = Some(String::new());
        assert_eq!(check(&entries), Err(2));
        entries[1].subject = None;
        entries.swap(1, 2);
        assert_eq!(check(&entries), Err(2));
    }
}
