//! Templates, claims, factories and claim codes.

use fleetward_app::provisioning::claims::{Claim, MadeClaim};
use fleetward_app::provisioning::codes::ClaimCode;
use fleetward_app::provisioning::factories::Factory;
use fleetward_app::provisioning::jit::Arrived;
use fleetward_app::provisioning::templates::Template;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// A provisioning template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProvisioningTemplate)]
pub struct TemplateView {
    pub name: String,
    /// The template as AWS has it.
    pub body: Value,
    /// What in it has no meaning here, or another one.
    pub warnings: Vec<String>,
    pub hook_url: Option<String>,
    /// The certificates in PEM that the hook's server is held to; absent for the public ones.
    pub hook_ca: Option<String>,
    pub enabled: bool,
    /// The secret of a hook that is new, shown this once: requests are signed with it (Standard Webhooks).
    pub hook_secret: Option<String>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: u64,
}

impl TemplateView {
    pub(crate) fn new(template: Template, hook_secret: Option<String>) -> Self {
        Self {
            name: template.name,
            body: serde_json::from_str(&template.body).unwrap_or_default(),
            warnings: template.warnings,
            hook_url: template.hook_url,
            hook_ca: template.hook_ca,
            enabled: template.enabled,
            hook_secret,
            created_by: template.created_by,
            created_at: Time(template.created_at),
            updated_at: Time(template.updated_at),
            revision: template.revision,
        }
    }
}

/// A claim: a certificate that devices may share, good for asking for an identity.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Claim)]
pub struct ClaimView {
    pub name: String,
    /// claim, or user for that of a trusted user.
    pub kind: String,
    pub template: String,
    /// SHA-256 of the certificate.
    pub certificate_id: String,
    /// open, full, expired or revoked.
    pub state: &'static str,
    /// How many devices may come with it; `null` for no bound.
    pub count_cap: Option<u64>,
    pub used: u64,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub revoked_at: Option<Time>,
}

impl ClaimView {
    pub(crate) fn new(claim: Claim, now: fleetward_base::Timestamp) -> Self {
        let full = claim.count_cap.is_some_and(|cap| claim.used >= cap);
        let state = match claim.revoked_at {
            Some(_) => "revoked",
            None if claim.expires_at <= now => "expired",
            None if full => "full",
            None => "open",
        };
        Self {
            name: claim.name,
            kind: claim.kind,
            template: claim.template,
            certificate_id: claim.certificate_id,
            state,
            count_cap: claim.count_cap,
            used: claim.used,
            created_by: claim.created_by,
            created_at: Time(claim.created_at),
            expires_at: Time(claim.expires_at),
            revoked_at: claim.revoked_at.map(Time),
        }
    }
}

/// A claim that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewClaim)]
pub struct NewClaimView {
    pub name: String,
    /// SHA-256 of the certificate.
    pub certificate_id: String,
    pub certificate_pem: String,
    pub expires_at: Time,
}

impl From<MadeClaim> for NewClaimView {
    fn from(made: MadeClaim) -> Self {
        Self {
            name: made.name,
            certificate_id: made.certificate_id,
            certificate_pem: made.certificate_pem,
            expires_at: Time(made.expires_at),
        }
    }
}

/// The claim of a trusted user, as AWS answers it.
#[derive(Serialize, ToSchema)]
#[schema(as = ProvisioningClaim)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningClaimView {
    pub certificate_id: String,
    pub certificate_pem: String,
    /// Seconds since 1970: five minutes from now.
    pub expiration: i64,
    pub key_pair: KeyPairView,
}

/// A key that the server made and does not keep.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyPair)]
#[serde(rename_all = "PascalCase")]
pub struct KeyPairView {
    pub public_key: String,
    pub private_key: String,
}

/// A code that a factory's authority has to sign.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegistrationCode)]
pub struct RegistrationCodeView {
    /// The common name of the verification certificate.
    pub code: String,
    pub expires_at: Time,
}

/// The authority of a factory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Factory)]
pub struct FactoryView {
    /// SHA-256 of its certificate.
    pub id: String,
    pub name: String,
    pub certificate_pem: String,
    /// provision or register.
    pub mode: &'static str,
    pub template: Option<String>,
    /// active, disabled or revoked.
    pub status: String,
    pub not_after: Time,
    pub created_by: String,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
    pub revision: u64,
}

impl From<Factory> for FactoryView {
    fn from(factory: Factory) -> Self {
        Self {
            id: factory.id,
            name: factory.name,
            certificate_pem: factory.certificate_pem,
            mode: factory.mode.as_str(),
            template: factory.template,
            status: factory.status,
            not_after: Time(factory.not_after),
            created_by: factory.created_by,
            created_at: Time(factory.created_at),
            revoked_at: factory.revoked_at.map(Time),
            revision: factory.revision,
        }
    }
}

/// A factory's certificate that came to a door.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FactoryCertificate)]
pub struct FactoryCertificateView {
    /// SHA-256 of the certificate.
    pub id: String,
    /// The authority that issued it.
    pub factory: String,
    /// What its subject calls the device.
    pub name: String,
    pub serial_number: Option<String>,
    /// The device that it became.
    pub device: Option<String>,
    /// pending_activation or active.
    pub status: String,
    pub address: Option<String>,
    pub first_seen_at: Time,
    pub activated_at: Option<Time>,
    pub activated_by: Option<String>,
}

impl From<Arrived> for FactoryCertificateView {
    fn from(row: Arrived) -> Self {
        Self {
            id: row.id,
            factory: row.authority,
            name: row.name,
            serial_number: row.serial_number,
            device: row.device.map(|device| device.to_string()),
            status: row.status,
            address: row.address,
            first_seen_at: Time(row.first_seen_at),
            activated_at: row.activated_at.map(Time),
            activated_by: row.activated_by,
        }
    }
}

/// A claim code, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaimCode)]
pub struct ClaimCodeView {
    pub id: String,
    /// device or serial: what the subject is.
    pub kind: String,
    pub subject: String,
    /// open, used, expired or revoked.
    pub state: &'static str,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub used_at: Option<Time>,
    pub used_by: Option<String>,
    pub revoked_at: Option<Time>,
}

impl ClaimCodeView {
    pub(crate) fn new(code: ClaimCode, now: fleetward_base::Timestamp) -> Self {
        let state = match (code.used_at, code.revoked_at) {
            (Some(_), _) => "used",
            (None, Some(_)) => "revoked",
            (None, None) if code.expires_at <= now => "expired",
            (None, None) => "open",
        };
        Self {
            id: code.id.to_string(),
            kind: code.kind,
            subject: code.subject,
            state,
            created_by: code.created_by,
            created_at: Time(code.created_at),
            expires_at: Time(code.expires_at),
            used_at: code.used_at.map(Time),
            used_by: code.used_by,
            revoked_at: code.revoked_at.map(Time),
        }
    }
}

/// A claim code with its secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewClaimCode)]
pub struct NewClaimCodeView {
    pub id: String,
    pub code: String,
    /// What a QR code of it says.
    pub uri: String,
    pub expires_at: Time,
}

/// What a claim code brought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaimedDevice)]
pub struct ClaimedView {
    /// device or serial: what the subject is.
    pub kind: String,
    pub subject: String,
    /// The device, where it has been here already; else it is let in when it comes.
    pub device: Option<String>,
}
