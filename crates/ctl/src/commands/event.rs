//! `wardctl event`

use std::ops::ControlFlow;

use clap::Subcommand;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};
use crate::stream::follow;

const COLUMNS: [Column; 6] = [
    ("AT", "/at"),
    ("ACTION", "/action"),
    ("DEVICE", "/device"),
    ("OUTCOME", "/outcome"),
    ("ACTOR", "/actor/name"),
    ("DETAIL", "/detail"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// What happened, newest last
    #[command(visible_alias = "ls")]
    List {
        #[arg(long)]
        device: Option<String>,
        /// Only this action, e.g. rollout.paused
        #[arg(long)]
        action: Option<String>,
        /// How many of the newest
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// What happens from now on, one line each
    Watch {
        #[arg(long)]
        device: Option<String>,
    },
    /// Check the hash chain of the tenant's audit log
    Verify,
}

impl Event {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List { device, action, limit } => {
                let segments: Vec<&str> = match &device {
                    Some(device) => vec!["devices", device, "events"],
                    None => vec!["events"],
                };
                let filter = query(&[("action", action.as_deref())]);
                let path = session.path(&segments).await? + &filter;
                let mut rows = session.client.list(&path, limit).await?;
                rows.reverse();
                session.out.rows(&rows, &COLUMNS)
            }
            Self::Watch { device } => watch(session, device.as_deref()).await,
            Self::Verify => {
                let answer = session.client.get(&session.path(&["audit", "verify"]).await?).await?.value;
                session.out.one(&answer)?;
                match answer.get("ok").and_then(Value::as_bool) {
                    Some(true) => Ok(()),
                    _ => Err(Failure::other("the audit log is not what was written")),
                }
            }
        }
    }
}

/// One line for each event from now on.
pub(super) async fn watch(session: &Session, device: Option<&str>) -> Result<(), Failure> {
    let path = session.path(&["events", "stream"]).await? + &query(&[("device", device)]);
    follow(&session.client, &path, |event| {
        match session.out {
            Format::Json => output::json_line(event)?,
            Format::Table => output::line(&sentence(event))?,
        }
        Ok(ControlFlow::Continue(()))
    })
    .await
}

/// An event in one line for people.
fn sentence(event: &Value) -> String {
    let at = |pointer: &str| output::cell(event.pointer(pointer));
    let mut text = format!("{}  {:<26}  {}", at("/at"), at("/action"), at("/device"));
    if event.get("outcome").and_then(Value::as_str).is_some_and(|outcome| outcome != "done") {
        text.push_str(&format!("  {}", at("/outcome")));
    }
    if event.get("detail").and_then(Value::as_object).is_some_and(|detail| !detail.is_empty()) {
        text.push_str(&format!("  {}", at("/detail")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sentence_says_what_is_unusual() {
        let event = json!({"at": "T", "action": "device.created", "device": "gw", "outcome": "done", "detail": {}});
        assert_eq!(sentence(&event), "T  device.created              gw");
        let event = json!({"at": "T", "action": "x", "outcome": "refused", "detail": {"why": "late"}});
        assert!(sentence(&event).ends_with("refused  {\"why\":\"late\"}"), "{}", sentence(&event));
    }
}
