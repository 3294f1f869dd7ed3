//! `wardctl topic-policy`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::text_file;
use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    ("NAME", "/name"),
    ("COUNTS", "/default_version"),
    ("LATEST", "/latest_version"),
    ("DESCRIPTION", "/description"),
    ("UPDATED", "/updated_at"),
];

const ATTACHED: [Column; 4] =
    [("KIND", "/kind"), ("TARGET", "/target"), ("BY", "/attached_by"), ("ATTACHED", "/attached_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum TopicPolicy {
    /// Make a policy from a document; it holds for nobody until it is attached
    Create {
        name: String,
        /// A file with the document, JSON
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        #[arg(long)]
        description: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List,
    /// With its versions
    Show {
        name: String,
    },
    /// Add a version, which counts from now on
    Update {
        name: String,
        /// A file with the document, JSON
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        /// The version that counts now goes on to
        #[arg(long)]
        keep_default: bool,
    },
    /// Have another version count
    SetDefault {
        name: String,
        version: u64,
    },
    /// Remove a version that does not count
    RemoveVersion {
        name: String,
        version: u64,
    },
    /// Remove a policy that is attached to nobody
    Remove {
        name: String,
    },
    /// Have it hold for a device, for those that a selector selects, for a certificate or for everybody
    Attach {
        name: String,
        #[command(flatten)]
        to: Whom,
    },
    /// The other way
    Detach {
        name: String,
        #[command(flatten)]
        from: Whom,
    },
    /// Whom it is attached to
    Attachments {
        name: String,
    },
    /// Whether a device may do something with a topic, and which statement or rule says so
    Explain {
        device: String,
        /// connect, publish, retain, subscribe or receive
        action: String,
        /// A filter where it subscribes; nothing where it connects
        #[arg(default_value = "")]
        topic: String,
        /// The serial number of the connection's certificate; the one that the device uses now unless said
        #[arg(long)]
        certificate: Option<String>,
    },
}

#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = true)]
pub(crate) struct Whom {
    /// One device
    #[arg(long, conflicts_with_all = ["everybody", "certificate", "tags", "hardware", "site", "environment"])]
    device: Option<String>,
    /// Every device of the tenant
    #[arg(long, conflicts_with_all = ["certificate", "tags", "hardware", "site", "environment"])]
    everybody: bool,
    /// Connections with the certificate of this serial number
    #[arg(long, conflicts_with_all = ["tags", "hardware", "site", "environment"])]
    certificate: Option<String>,
    /// Devices with all of these tags
    #[arg(long = "tag", value_delimiter = ',')]
    tags: Vec<String>,
    /// Devices of one of these hardware revisions
    #[arg(long, value_delimiter = ',')]
    hardware: Vec<String>,
    /// Devices of a site
    #[arg(long)]
    site: Option<String>,
    /// Devices of an environment
    #[arg(long)]
    environment: Option<String>,
}

impl Whom {
    fn body(self) -> Value {
        let list = |texts: Vec<String>| (!texts.is_empty()).then(|| json!(texts));
        let selector = super::object([
            ("tags", list(self.tags)),
            ("hardware", list(self.hardware)),
            ("site", self.site.map(Value::from)),
            ("environment", self.environment.map(Value::from)),
        ]);
        super::object([
            ("selector", selector.as_object().is_some_and(|fields| !fields.is_empty()).then_some(selector)),
            ("device", self.device.map(Value::from)),
            ("certificate", self.certificate.map(Value::from)),
            ("everybody", self.everybody.then_some(json!(true))),
        ])
    }
}

fn document(file: &std::path::Path) -> Result<Value, Failure> {
    serde_json::from_str(&text_file(file)?)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())))
}

impl TopicPolicy {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.path(&["topic-policies"]).await?;
        let of = async |name: &str| session.path(&["topic-policies", name]).await;
        match self {
            Self::Create { name, document: file, description } => {
                let body = super::object([
                    ("name", Some(json!(name))),
                    ("description", description.map(Value::from)),
                    ("document", Some(document(&file)?)),
                ]);
                session.out.one(&session.client.post(&path, &body).await?.value)
            }
            Self::List => session.out.rows(&session.client.list(&path, usize::MAX).await?, &COLUMNS),
            Self::Show { name } => session.out.one(&session.client.get(&of(&name).await?).await?.value),
            Self::Update { name, document: file, keep_default } => {
                let body = json!({ "document": document(&file)?, "keep_default": keep_default });
                session.out.one(&session.client.post(&(of(&name).await? + "/versions"), &body).await?.value)
            }
            Self::SetDefault { name, version } => {
                let path = of(&name).await? + "/default";
                session.out.one(&session.client.post(&path, &json!({ "version": version })).await?.value)
            }
            Self::RemoveVersion { name, version } => {
                session.client.delete(&format!("{}/versions/{version}", of(&name).await?), None).await?;
                session.out.done(&format!("version {version} of {name} is gone"))
            }
            Self::Remove { name } => {
                session.client.delete(&of(&name).await?, None).await?;
                session.out.done(&format!("{name} is gone"))
            }
            Self::Attach { name, to } => {
                let path = of(&name).await? + "/attachments";
                session.out.one(&session.client.post(&path, &to.body()).await?.value)
            }
            Self::Detach { name, from } => {
                session.client.post(&(of(&name).await? + "/detach"), &from.body()).await?;
                session.out.done(&format!("{name} is detached"))
            }
            Self::Attachments { name } => {
                let path = of(&name).await? + "/attachments";
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &ATTACHED)
            }
            Self::Explain { device, action, topic, certificate } => {
                let path = session.path(&["devices", &device, "explain-topic"]).await?;
                let body = super::object([
                    ("action", Some(json!(action))),
                    ("topic", Some(json!(topic))),
                    ("certificate", certificate.map(Value::from)),
                ]);
                session.out.one(&session.client.post(&path, &body).await?.value)
            }
        }
    }
}
