//! AWS's names for things (ARNs): `arn:aws:iot:REGION:ACCOUNT:KIND/NAME`.
//!
//! The account is a number that stands for the tenant, the same each time; the region is the one that the client signed
//! for. A name that is given is taken apart leniently, but one of another account names nothing.

use std::fmt::Write;

use aws_lc_rs::digest;
use fleetward_base::TenantId;
use fleetward_wire::aws::events::account;

use crate::answer::Refusal;

/// What stands in the names of one tenant.
pub(crate) struct Names {
    region: String,
    account: String,
}

impl Names {
    pub(crate) fn new(tenant: &TenantId, region: &str) -> Self {
        Self { region: region.to_owned(), account: account(tenant) }
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:iot:{}:{}:{kind}/{name}", self.region, self.account)
    }

    /// Kind and name out of an ARN.
    ///
    /// # Errors
    /// A refusal where it is none, or of another account.
    pub(crate) fn split<'a>(&self, arn: &'a str) -> Result<(&'a str, &'a str), Refusal> {
        let bad = || Refusal::invalid("not an ARN of AWS IoT");
        let mut parts = arn.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(bad);
        let (arn, partition, service, _region, account, rest) = (next()?, next()?, next()?, next()?, next()?, next()?);
        if arn != "arn" || !partition.starts_with("aws") || service != "iot" {
            return Err(bad());
        }
        if account != self.account {
            return Err(Refusal::not_found("The ARN is of another account"));
        }
        rest.split_once('/').ok_or_else(bad)
    }

    /// The name in an ARN of this kind, or the name itself.
    pub(crate) fn name_of<'a>(&self, kind: &str, text: &'a str) -> Result<&'a str, Refusal> {
        if !text.starts_with("arn:") {
            return Ok(text);
        }
        let (found, name) = self.split(text)?;
        if found == kind { Ok(name) } else { Err(Refusal::invalid(format!("not an ARN of a {kind}"))) }
    }
}

/// An id in the form of a UUID that is the same for the same parts.
pub(crate) fn stable_id(parts: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut id = String::new();
    for (at, byte) in context.finish().as_ref().iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("writing to a String does not fail");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_they_are_put_together() {
        let acme = Names::new(&"acme".parse().expect("a name"), "eu-central-1");
        let beta = Names::new(&"beta".parse().expect("a name"), "eu-central-1");
        let arn = acme.arn("thing", "gw:1");
        assert_eq!(acme.account().len(), 12);
        assert_eq!(acme.split(&arn), Ok(("thing", "gw:1")));
        assert_eq!(acme.name_of("thing", &arn), Ok("gw:1"));
        assert_eq!(acme.name_of("thing", "gw-1"), Ok("gw-1"));
        assert!(acme.name_of("cert", &arn).is_err());
        assert_eq!(beta.split(&arn).expect_err("of acme").kind, "ResourceNotFoundException");
        for bad in ["", "arn", "arn:aws:s3:::x/y", "arn:aws:iot:r:1", &format!("arn:aws:iot:r:{}:x", acme.account())] {
            assert_eq!(acme.split(bad).expect_err("none").kind, "InvalidRequestException", "{bad}");
        }
    }

    #[test]
    fn ids_look_like_uuids() {
        let id = stable_id(&["acme", "gw-1"]);
        assert_eq!((id.len(), id.matches('-').count()), (36, 4));
        assert_ne!(id, stable_id(&["acmeg", "w-1"]));
    }
}
