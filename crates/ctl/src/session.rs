//! Where a command goes and how it answers: server, credentials, tenant, output format.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Format;

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Options that every command has.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The server's address, e.g. https://fleet.example.com:8080
    #[arg(long, global = true, env = "FLEETWARD_URL", default_value = "https://localhost:8080")]
    url: String,
    /// An API token. Better given by the environment: other users of a machine see command lines.
    #[arg(long, global = true, env = "FLEETWARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The tenant to work in. A token of a tenant needs none.
    #[arg(long, global = true, env = "FLEETWARD_TENANT")]
    tenant: Option<String>,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, global = true, env = "FLEETWARD_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A table for people, or JSON as the API has it
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    output: Format,
    /// How long one request may take, in seconds
    #[arg(long, global = true, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

/// A command's surroundings.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) out: Format,
    tenant: Option<String>,
}

impl Session {
    pub(crate) fn open(target: Target) -> Result<Self, Failure> {
        let token = target.token.filter(|token| !token.is_empty());
        let ca_file = target.ca_file.filter(|path| !path.as_os_str().is_empty());
        let timeout = Duration::from_secs(target.timeout.max(1));
        let client = Client::new(&target.url, token, ca_file.as_deref(), timeout)?;
        Ok(Self { client, out: target.output, tenant: target.tenant.filter(|tenant| !tenant.is_empty()) })
    }

    /// The tenant to work in: the one given, or the token's own.
    pub(crate) async fn tenant(&self) -> Result<String, Failure> {
        if let Some(tenant) = &self.tenant {
            return Ok(tenant.clone());
        }
        let me = self.client.get("/v1/whoami").await?.value;
        me.get("tenant").and_then(|tenant| tenant.as_str()).map(str::to_owned).ok_or_else(|| {
            Failure::usage("say which tenant with --tenant or FLEETWARD_TENANT: this token is good for all of them")
        })
    }

    /// `/v1/tenants/TENANT` and the segments, each encoded.
    pub(crate) async fn path(&self, segments: &[&str]) -> Result<String, Failure> {
        let tenant = self.tenant().await?;
        let mut path = format!("/v1/tenants/{}", segment(&tenant));
        for part in segments {
            path.push('/');
            path.push_str(&segment(part));
        }
        Ok(path)
    }
}

/// A text as one segment of a path, or as a value of a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A query string of the pairs that have a value, with its question mark.
pub(crate) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given: Vec<String> =
        pairs.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={}", segment(value)))).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(segment("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
        assert_eq!(query(&[("tag", Some("a&b")), ("status", None)]), "?tag=a%26b");
        assert_eq!(query(&[]), "");
    }
}
