//! `wardctl tenant`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column};
use crate::session::{Session, segment};

const COLUMNS: [Column; 3] = [("NAME", "/name"), ("DISPLAY NAME", "/display_name"), ("CREATED", "/created_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant and its issuing CA
    Create {
        /// a-z, 0-9 and -, fixed for good: it stands in certificates
        name: String,
        #[arg(long)]
        display_name: Option<String>,
        /// Make the issuing CA's key in the server's PKCS#11 token: pkcs11:token=LABEL;object=LABEL
        #[arg(long, value_name = "URI")]
        issuing_key: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List,
    Show {
        name: String,
    },
    /// What holds for the identities of its devices
    #[command(subcommand)]
    Policy(Policy),
    /// How its devices are spoken to over MQTT, and their rates
    #[command(subcommand)]
    Messaging(Policy),
    /// Change what people see
    Set {
        name: String,
        #[arg(long)]
        display_name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print the policy with all its sections
    Show,
    /// Change fields; null brings back a default: certificates.leaf_days=30 certificates.backdate_minutes=null profile=aws
    Set {
        /// SECTION.FIELD=VALUE, the value as JSON or as plain text
        #[arg(required = true)]
        fields: Vec<String>,
    },
}

impl Policy {
    async fn run(self, session: &Session, of: &str) -> Result<(), Failure> {
        let path = session.path(&[of]).await?;
        let client = &session.client;
        let policy = match self {
            Self::Show => client.get(&path).await?.value,
            Self::Set { fields } => {
                let mut patch = json!({});
                for field in &fields {
                    set(&mut patch, field)?;
                }
                let etag = client.get(&path).await?.etag.unwrap_or_default();
                client.patch(&path, &etag, &patch).await?.value
            }
        };
        // A policy is JSON for people too.
        output::json(&policy)
    }
}

/// Puts `a.b=value` into the patch as `{"a": {"b": value}}`.
fn set(patch: &mut Value, field: &str) -> Result<(), Failure> {
    let (path, text) = field
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("{field:?} is not of the form SECTION.FIELD=VALUE")))?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    let mut place = patch;
    for name in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        let Some(fields) = place.as_object_mut() else {
            return Err(Failure::usage(format!("{field:?} says it twice")));
        };
        place = fields.entry(name).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

impl Tenant {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let path = |name: &str| format!("/v1/tenants/{}", segment(name));
        match self {
            Self::Create { name, display_name, issuing_key } => {
                let mut body = json!({ "name": name });
                if let Some(display_name) = display_name {
                    super::put(&mut body, "display_name", json!(display_name));
                }
                if let Some(issuing_key) = issuing_key {
                    super::put(&mut body, "issuing_key", json!(issuing_key));
                }
                session.out.one(&client.post("/v1/tenants", &body).await?.value)
            }
            Self::List => session.out.rows(&client.list("/v1/tenants", usize::MAX).await?, &COLUMNS),
            Self::Show { name } => session.out.one(&client.get(&path(&name)).await?.value),
            Self::Policy(policy) => policy.run(session, "identity-policy").await,
            Self::Messaging(messaging) => messaging.run(session, "messaging").await,
            Self::Set { name, display_name } => {
                let found = client.get(&path(&name)).await?;
                let etag = found.etag.unwrap_or_default();
                session
                    .out
                    .one(&client.patch(&path(&name), &etag, &json!({ "display_name": display_name })).await?.value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_a_patch() {
        let mut patch = json!({});
        for field in ["a.b=1", "a.c=null", "d.e=text", "f=[\"x\"]"] {
            set(&mut patch, field).expect("of the form");
        }
        assert_eq!(patch, json!({ "a": { "b": 1, "c": null }, "d": { "e": "text" }, "f": ["x"] }));
        assert!(set(&mut patch, "a.b").is_err());
    }
}
