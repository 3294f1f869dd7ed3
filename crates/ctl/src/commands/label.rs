//! `wardctl label`

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Label {
    /// What stands on something
    Show {
        /// type, group, template, policy, job or command
        kind: String,
        name: String,
    },
    /// Write labels, and take some away
    Set {
        /// type, group, template, policy, job or command
        kind: String,
        name: String,
        #[arg(value_name = "KEY=VALUE", required_unless_present = "remove", value_parser = pair)]
        labels: Vec<(String, String)>,
        #[arg(long, value_name = "KEY", value_delimiter = ',')]
        remove: Vec<String>,
    },
}

impl Label {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Show { kind, name } => {
                let path = session.path(&["labels", &kind, &name]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Set { kind, name, labels, remove } => {
                let path = session.path(&["labels", &kind, &name]).await?;
                session.out.one(&session.client.patch(&path, "*", &body(labels, remove)).await?.value)
            }
        }
    }
}

fn body(labels: Vec<(String, String)>, remove: Vec<String>) -> Value {
    let written = labels.into_iter().map(|(key, value)| (key, Value::from(value)));
    let labels: Map<String, Value> = remove.into_iter().map(|key| (key, Value::Null)).chain(written).collect();
    json!({ "labels": labels })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_come_and_some_go() {
        let found = body(vec![pair("team=iot").expect("a pair")], vec!["old".to_owned()]);
        assert_eq!(found, json!({ "labels": { "team": "iot", "old": null } }));
        assert!(pair("team").is_err());
    }
}
