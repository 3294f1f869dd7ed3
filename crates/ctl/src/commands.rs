//! One file per noun. A noun is a `clap` enum of verbs with a `run`.

mod access_key;
mod api_token;
mod attestation;
mod ca;
mod certificate;
mod claim;
mod claim_code;
mod command;
mod command_template;
mod completion;
mod deny_list;
mod device;
mod device_group;
mod device_type;
mod did;
mod drill;
mod enroll_token;
mod enrollment;
mod enrollment_group;
mod event;
mod factory_ca;
mod inventory;
mod issuer;
mod job;
mod key;
mod label;
mod message;
mod method;
mod once;
mod redirect;
mod release;
mod revoke;
mod rollout;
mod rotation;
mod scep_challenge;
mod security;
mod setup;
mod shadow;
mod template;
mod tenant;
mod token_issuer;
mod topic_policy;
mod transfer;
mod transparency;
mod upload;
mod vault;
mod watch;

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the first administrator's token from the one-time setup token that the server printed
    Setup(setup::Setup),
    /// Customers, each with a CA of its own
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Who signs the certificates of devices
    #[command(subcommand)]
    Issuer(issuer::Issuer),
    /// Authorities, and how one follows another
    #[command(subcommand)]
    Ca(ca::Ca),
    /// One-time tokens with which devices enrol
    #[command(subcommand)]
    EnrollToken(enroll_token::EnrollToken),
    /// Devices that wait until a person lets them in
    #[command(subcommand)]
    Enrollment(enrollment::Enrollment),
    /// Symmetric keys with which devices enrol, as Azure DPS has them
    #[command(subcommand)]
    EnrollmentGroup(enrollment_group::EnrollmentGroup),
    /// The manufacturing database: what makers say of the devices that they made
    #[command(subcommand)]
    Inventory(inventory::Inventory),
    /// Makers whose statements in the inventory are believed
    #[command(subcommand)]
    Maker(inventory::Maker),
    /// Token services whose word is taken for a device
    #[command(subcommand)]
    TokenIssuer(token_issuer::TokenIssuer),
    /// Hand the clients of a server to another one
    #[command(subcommand)]
    Redirect(redirect::Redirect),
    /// Topics that devices have beyond the built-in ones, or have not
    #[command(subcommand)]
    TopicPolicy(topic_policy::TopicPolicy),
    /// Templates by which devices that nobody has named become devices
    #[command(subcommand)]
    Template(template::Template),
    /// Certificates that devices may share, good for asking for an identity
    #[command(subcommand)]
    Claim(claim::Claim),
    /// Authorities of factories: their devices are in when they first connect, or when they are claimed
    #[command(subcommand)]
    FactoryCa(factory_ca::FactoryCa),
    /// Codes that lie in the box with a device
    #[command(subcommand)]
    ClaimCode(claim_code::ClaimCode),
    /// One-time challenges with which devices enrol by SCEP
    #[command(subcommand)]
    ScepChallenge(scep_challenge::ScepChallenge),
    /// Devices
    #[command(subcommand)]
    Device(device::Device),
    /// Certificates that are made before their device is chosen, and what becomes of them
    #[command(subcommand)]
    Certificate(certificate::Certificate),
    /// Groups of devices: who has the group's name as a tag is in it
    #[command(subcommand)]
    DeviceGroup(device_group::DeviceGroup),
    /// Types of devices
    #[command(subcommand)]
    DeviceType(device_type::DeviceType),
    /// Labels on types, groups, templates, policies and jobs
    #[command(subcommand)]
    Label(label::Label),
    /// What devices prove of themselves
    #[command(subcommand)]
    Attestation(attestation::Attestation),
    /// Devices on their way to another tenant
    #[command(subcommand)]
    Transfer(transfer::Transfer),
    /// Revoke a certificate, a device, a group, a claim, an authority or a tenant, or have certificates replaced
    #[command(subcommand)]
    Revoke(revoke::Revoke),
    /// What is refused whatever else speaks for it
    #[command(subcommand)]
    DenyList(deny_list::DenyList),
    /// Incident commands, rehearsed without harm
    #[command(subcommand)]
    Drill(drill::Drill),
    /// The log of all certificates, checked here
    #[command(subcommand)]
    Transparency(transparency::Transparency),
    /// Desired and reported state of a device
    #[command(subcommand)]
    Shadow(shadow::Shadow),
    /// Methods of devices that are connected
    #[command(subcommand)]
    Method(method::Method),
    /// Messages to devices
    #[command(subcommand)]
    Message(message::Message),
    /// Documents that devices work on
    #[command(subcommand)]
    Job(job::Job),
    /// What devices are told to do, and what came of it
    #[command(name = "command", subcommand)]
    Tell(command::DeviceCommand),
    /// Commands that are written down once and sent often
    #[command(subcommand)]
    CommandTemplate(command_template::CommandTemplate),
    /// Keys that sign releases; the private half never leaves this machine
    #[command(subcommand)]
    Key(key::Key),
    /// Signed releases
    #[command(subcommand)]
    Release(release::Release),
    /// Staged updates
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Campaigns that renew certificates
    #[command(subcommand)]
    Rotation(rotation::Rotation),
    /// What happened, as it happens
    #[command(subcommand)]
    Event(event::Event),
    /// Signs of abuse, and refused authentications
    #[command(subcommand)]
    Security(security::Security),
    /// Keys with which AWS's clients sign their requests
    #[command(subcommand)]
    AccessKey(access_key::AccessKey),
    /// Tokens for this API
    #[command(subcommand)]
    ApiToken(api_token::ApiToken),
    /// Keys that seal a tenant's secrets: rotate them, or switch them off in an emergency
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Who this token is and what it may do
    Whoami,
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Setup(setup) => setup.run(session).await,
            Self::Tenant(verb) => verb.run(session).await,
            Self::Issuer(verb) => verb.run(session).await,
            Self::Ca(verb) => verb.run(session).await,
            Self::EnrollToken(verb) => verb.run(session).await,
            Self::Enrollment(verb) => verb.run(session).await,
            Self::EnrollmentGroup(verb) => verb.run(session).await,
            Self::Inventory(verb) => verb.run(session).await,
            Self::Maker(verb) => verb.run(session).await,
            Self::TokenIssuer(verb) => verb.run(session).await,
            Self::Redirect(verb) => verb.run(session).await,
            Self::TopicPolicy(verb) => verb.run(session).await,
            Self::Template(verb) => verb.run(session).await,
            Self::Claim(verb) => verb.run(session).await,
            Self::FactoryCa(verb) => verb.run(session).await,
            Self::ClaimCode(verb) => verb.run(session).await,
            Self::ScepChallenge(verb) => verb.run(session).await,
            Self::Device(verb) => verb.run(session).await,
            Self::Certificate(verb) => verb.run(session).await,
            Self::DeviceGroup(verb) => verb.run(session).await,
            Self::DeviceType(verb) => verb.run(session).await,
            Self::Label(verb) => verb.run(session).await,
            Self::Attestation(verb) => verb.run(session).await,
            Self::Transfer(verb) => verb.run(session).await,
            Self::Revoke(verb) => verb.run(session).await,
            Self::DenyList(verb) => verb.run(session).await,
            Self::Drill(verb) => verb.run(session).await,
            Self::Transparency(verb) => verb.run(session).await,
            Self::Shadow(verb) => verb.run(session).await,
            Self::Method(verb) => verb.run(session).await,
            Self::Message(verb) => verb.run(session).await,
            Self::Job(verb) => verb.run(session).await,
            Self::Tell(verb) => verb.run(session).await,
            Self::CommandTemplate(verb) => verb.run(session).await,
            Self::Key(verb) => verb.run(session).await,
            Self::Release(verb) => verb.run(session).await,
            Self::Rollout(verb) => verb.run(session).await,
            Self::Rotation(verb) => verb.run(session).await,
            Self::Event(verb) => verb.run(session).await,
            Self::Security(verb) => verb.run(session).await,
            Self::AccessKey(verb) => verb.run(session).await,
            Self::ApiToken(verb) => verb.run(session).await,
            Self::Vault(verb) => verb.run(session).await,
            Self::Whoami => session.out.one(&session.client.get("/v1/whoami").await?.value),
            Self::Completion(completion) => completion.run(),
        }
    }
}

/// An object of the fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<serde_json::Value>); N]) -> serde_json::Value {
    fields.into_iter().filter_map(|(key, value)| value.map(|value| (key.to_owned(), value))).collect()
}

/// Adds a field to an object; anything else stays as it is.
fn put(object: &mut serde_json::Value, key: &str, value: serde_json::Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// A file of text that is sent: a certificate, a request, a template.
fn text_file(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

/// A span such as `90`, `90s`, `15m`, `24h` or `7d`, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, text.get(number.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 1,
    };
    let number: u64 = number.parse().map_err(|_| "a number of seconds, or with s, m, h or d".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, secs) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("0", 0)] {
            assert_eq!(seconds(text), Ok(secs), "{text}");
        }
        for bad in ["", "m", "1w", "-1", "1.5h", "99999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
