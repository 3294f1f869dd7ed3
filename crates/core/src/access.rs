//! Who may do what: roles, permissions, and the table between them.
//!
//! An administrator belongs to the installation; everybody else to one tenant, and what is asked of another tenant never
//! gets as far as this table. The table is in `golden/permissions.txt` for people to read; a test holds it to the code.

use crate::text::text_enum;

text_enum! {
    /// What a principal is.
    pub enum Role("role") {
        /// Of the installation: all tenants.
        Admin => "admin",
        /// Of one tenant: everything in it.
        Owner => "owner",
        /// Of one tenant: runs the fleet, does not give access to others.
        Operator => "operator",
        /// Of one tenant: looks.
        Viewer => "viewer",
        /// Of one tenant: an MQTT broker that asks what its devices may do, and nothing else.
        Broker => "broker",
    }
}

text_enum! {
    /// One kind of act. The part before the colon is what is acted on.
    pub enum Permission("permission") {
        TenantCreate => "tenant:create",
        TenantList => "tenant:list",
        TenantRead => "tenant:read",
        TenantUpdate => "tenant:update",
        IssuerRead => "issuer:read",
        /// Of the installation only: the server asks whatever address it is given.
        IssuerUpdate => "issuer:update",
        CaRead => "ca:read",
        /// Start, advance and cancel the rotation of a tenant's issuing authority.
        CaRotate => "ca:rotate",
        /// The installation's root: requests, import, rotation.
        CaRoot => "ca:root",
        AccessKeyRead => "access-key:read",
        AccessKeyCreate => "access-key:create",
        /// Disable a key, or remove it.
        AccessKeyRevoke => "access-key:revoke",
        ApiTokenRead => "api-token:read",
        ApiTokenCreate => "api-token:create",
        ApiTokenRevoke => "api-token:revoke",
        DeviceRead => "device:read",
        DeviceCreate => "device:create",
        DeviceUpdate => "device:update",
        DeviceRevoke => "device:revoke",
        DeviceDecommission => "device:decommission",
        /// Hand a device over to another tenant, or take one.
        DeviceTransfer => "device:transfer",
        /// Verdicts, what vouches for evidence, and what is good.
        AttestationRead => "attestation:read",
        AttestationUpdate => "attestation:update",
        EnrollTokenRead => "enroll-token:read",
        EnrollTokenCreate => "enroll-token:create",
        EnrollTokenRevoke => "enroll-token:revoke",
        /// The inbox of devices that wait.
        EnrollmentRead => "enrollment:read",
        EnrollmentDecide => "enrollment:decide",
        EnrollmentKeyRead => "enrollment-key:read",
        EnrollmentKeyCreate => "enrollment-key:create",
        EnrollmentKeyRevoke => "enrollment-key:revoke",
        InventoryRead => "inventory:read",
        InventoryImport => "inventory:import",
        InventoryRemove => "inventory:remove",
        /// Whose statements in the inventory are believed.
        MakerManage => "maker:manage",
        ProvisioningRead => "provisioning:read",
        /// Templates, claims, and the authorities of factories.
        ProvisioningManage => "provisioning:manage",
        /// Token services whose word is taken for a device.
        TokenIssuerRead => "token-issuer:read",
        TokenIssuerManage => "token-issuer:manage",
        /// Which topics devices have beyond the built-in ones, or have not.
        TopicPolicyRead => "topic-policy:read",
        TopicPolicyManage => "topic-policy:manage",
        /// A claim of five minutes, for whoever installs a device.
        ProvisioningClaim => "provisioning:claim",
        DeviceActivate => "device:activate",
        ClaimCodeCreate => "claim-code:create",
        JobRead => "job:read",
        JobCreate => "job:create",
        /// Change, cancel and delete jobs and their executions.
        JobControl => "job:control",
        /// Say of an execution what its device would say.
        JobReport => "job:report",
        ShadowRead => "shadow:read",
        ShadowUpdate => "shadow:update",
        ShadowDelete => "shadow:delete",
        CommandRead => "command:read",
        CommandSend => "command:send",
        CommandCancel => "command:cancel",
        /// Write commands down that are sent often.
        CommandManage => "command:manage",
        MessagePublish => "message:publish",
        /// What is retained on topics, payloads and all.
        TopicRead => "topic:read",
        /// Publish to a topic of the tenant's devices, and clear what is retained there.
        TopicPublish => "topic:publish",
        /// Ask who may connect to an external broker, and what they may do there.
        BrokerAsk => "broker:ask",
        /// Have a device do something now, and hear what came of it.
        MethodCall => "method:call",
        SignerRead => "signer:read",
        SignerCreate => "signer:create",
        SignerRevoke => "signer:revoke",
        ArtifactCreate => "artifact:create",
        ReleaseRead => "release:read",
        ReleaseCreate => "release:create",
        RolloutRead => "rollout:read",
        RolloutCreate => "rollout:create",
        /// Pause, resume, cancel, roll back.
        RolloutControl => "rollout:control",
        RotationRead => "rotation:read",
        RotationCreate => "rotation:create",
        /// Pause, resume, cancel.
        RotationControl => "rotation:control",
        /// Rehearse an incident: what it would meet, and nothing is done.
        DrillRun => "drill:run",
        EventRead => "event:read",
        VaultRead => "vault:read",
        VaultRotate => "vault:rotate",
        /// The emergency switch.
        VaultDisable => "vault:disable",
        /// Its way back, for the installation's administrator alone.
        VaultEnable => "vault:enable",
        /// Status of the server itself.
        SystemRead => "system:read",
        /// Have the server hand its clients to another one.
        SystemManage => "system:manage",
    }
}

text_enum! {
    /// What an admitted connection of a device may do.
    pub enum DeviceRights("rights of a device") {
        /// All that is the device's own.
        Full => "full",
        /// Prove itself, update, and say how it is: for a device that is not, or no longer, trusted with the rest.
        Restricted => "restricted",
        /// Ask for an identity by fleet provisioning, and nothing else.
        Claim => "claim",
        /// Register by Azure's messages, and nothing else.
        Registrant => "registrant",
    }
}

impl DeviceRights {
    /// Whether whoever has them is no device yet: its connection is kept apart from those of devices and leaves nothing behind.
    pub const fn is_guest(self) -> bool {
        match self {
            Self::Full | Self::Restricted => false,
            Self::Claim | Self::Registrant => true,
        }
    }
}

/// Whether `role` may do `permission`, inside the tenants that it belongs to.
pub const fn allows(role: Role, permission: Permission) -> bool {
    use Permission as P;
    match role {
        Role::Admin => true,
        Role::Owner => !matches!(
            permission,
            P::TenantCreate
                | P::TenantList
                | P::IssuerUpdate
                | P::CaRoot
                | P::SystemRead
                | P::SystemManage
                | P::VaultEnable
        ),
        Role::Operator => matches!(
            permission,
            P::TenantRead
                | P::IssuerRead
                | P::CaRead
                | P::DeviceRead
                | P::DeviceCreate
                | P::DeviceUpdate
                | P::DeviceRevoke
                | P::AttestationRead
                | P::EnrollTokenRead
                | P::EnrollTokenCreate
                | P::EnrollTokenRevoke
                | P::EnrollmentRead
                | P::EnrollmentDecide
                | P::EnrollmentKeyRead
                | P::InventoryRead
                | P::InventoryImport
                | P::ProvisioningRead
                | P::TokenIssuerRead
                | P::TopicPolicyRead
                | P::ProvisioningClaim
                | P::DeviceActivate
                | P::ClaimCodeCreate
                | P::JobRead
                | P::JobCreate
                | P::JobControl
                | P::JobReport
                | P::ShadowRead
                | P::ShadowUpdate
                | P::ShadowDelete
                | P::CommandRead
                | P::CommandSend
                | P::CommandCancel
                | P::CommandManage
                | P::MessagePublish
                | P::TopicRead
                | P::TopicPublish
                | P::BrokerAsk
                | P::MethodCall
                | P::SignerRead
                | P::ArtifactCreate
                | P::ReleaseRead
                | P::ReleaseCreate
                | P::RolloutRead
                | P::RolloutCreate
                | P::RolloutControl
                | P::RotationRead
                | P::RotationCreate
                | P::RotationControl
                | P::DrillRun
                | P::EventRead
        ),
        Role::Viewer => matches!(
            permission,
            P::TenantRead
                | P::IssuerRead
                | P::CaRead
                | P::DeviceRead
                | P::AttestationRead
                | P::EnrollTokenRead
                | P::EnrollmentRead
                | P::EnrollmentKeyRead
                | P::InventoryRead
                | P::ProvisioningRead
                | P::TokenIssuerRead
                | P::TopicPolicyRead
                | P::JobRead
                | P::ShadowRead
                | P::CommandRead
                | P::TopicRead
                | P::BrokerAsk
                | P::SignerRead
                | P::ReleaseRead
                | P::RolloutRead
                | P::RotationRead
                | P::EventRead
        ),
        Role::Broker => matches!(permission, P::BrokerAsk),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_table_is_the_golden_one() {
        let mut table = format!("{:<22}", "permission");
        for role in Role::ALL {
            write!(table, "{:<10}", role.as_str()).expect("a string takes it");
        }
        for &permission in Permission::ALL {
            write!(table, "\n{:<22}", permission.as_str()).expect("a string takes it");
            for &role in Role::ALL {
                let mark = if allows(role, permission) { "yes" } else { "-" };
                write!(table, "{mark:<10}").expect("a string takes it");
            }
        }
        let table: String = table.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        assert_eq!(table, include_str!("../golden/permissions.txt"), "golden/permissions.txt should read:\n{table}");
    }

    #[test]
    fn a_lesser_role_never_may_more() {
        for &permission in Permission::ALL {
            let by_role: Vec<bool> = Role::ALL.iter().map(|&role| allows(role, permission)).collect();
            assert!(by_role.is_sorted_by(|greater, lesser| greater >= lesser), "{permission}");
        }
    }
}
