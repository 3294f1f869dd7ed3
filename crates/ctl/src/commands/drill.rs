//! `wardctl drill`: incident commands, rehearsed. Nothing is done without `--execute --confirm NAME`.

mod report;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{revoke, rollout};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// Somebody has the key of a device, a claim or an authority
    KeyCompromise {
        #[command(flatten)]
        key: Key,
        /// Devices replace their certificate within this, and what was not is revoked; e.g. 24h
        #[arg(long, value_parser = super::seconds, value_name = "SPAN")]
        replace_within: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// An authority, a group or everything is revoked, with all that hangs on it
    RevocationCascade {
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        group: Group,
        /// Every device of the tenant
        #[arg(long)]
        everything: bool,
        #[command(flatten)]
        how: How,
    },
    /// Updates are taken back
    MassRollback {
        /// By id or name; without any, every rollout that can be taken back
        rollouts: Vec<String>,
        #[command(flatten)]
        how: How,
    },
}

/// Whose key it is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Key {
    /// A certificate, by its serial number
    #[arg(long, value_name = "SERIAL")]
    certificate: Option<String>,
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// A claim, template, token or factory, and every device that came by it
    #[arg(long, value_name = "SOURCE")]
    claim: Option<String>,
    /// An issuing authority, by its fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    authority: Option<String>,
}

/// Devices that all given conditions choose.
#[derive(Debug, Args)]
pub(crate) struct Group {
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    hardware: Vec<String>,
    #[arg(long)]
    environment: Option<String>,
    #[arg(long)]
    site: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct How {
    /// Say what it would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Not a drill any more: do it. Needs --confirm
    #[arg(long, conflicts_with = "dry_run", requires = "confirm")]
    execute: bool,
    /// What it is aimed at, once more: the name, serial number or fingerprint; `group`, `tenant` or `rollback`
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// A device that was not heard of for longer is not counted on
    #[arg(long, value_parser = super::seconds, value_name = "SPAN", default_value = "7d")]
    silent_after: u64,
    /// For the history, where it is done
    #[arg(long, default_value = "key_compromise")]
    reason: String,
}

/// A drill with the command that it stands for.
struct Plan {
    /// As the API takes it.
    drill: Value,
    /// The command that does it.
    command: String,
    /// What is typed to confirm.
    name: String,
}

impl Key {
    /// The target, what it is called, and the command.
    fn target(self) -> Option<(Value, String, String)> {
        let Self { certificate, device, claim, authority } = self;
        let of = |kind: &str, field: &str, name: String| {
            let target = super::object([("kind", Some(json!(kind))), (field, Some(json!(name)))]);
            (target, name.clone(), format!("wardctl revoke {kind} {name}"))
        };
        let lower = |text: String| text.to_lowercase();
        certificate
            .map(|serial| of("certificate", "serial", lower(serial)))
            .or_else(|| device.map(|name| of("device", "device", name)))
            .or_else(|| claim.map(|source| of("claim", "source", source)))
            .or_else(|| authority.map(|fingerprint| of("authority", "fingerprint", lower(fingerprint))))
    }
}

impl Group {
    fn target(self) -> Option<(Value, String, String)> {
        let Self { tag, hardware, environment, site } = self;
        let mut command = "wardctl revoke group".to_owned();
        let mut say = |option: &str, values: &[String]| {
            if !values.is_empty() {
                command.push_str(&format!(" --{option} {}", values.join(",")));
            }
        };
        say("tag", &tag);
        say("hardware", &hardware);
        say("environment", environment.as_slice());
        say("site", site.as_slice());
        let list = |texts: Vec<String>| (!texts.is_empty()).then(|| json!(texts));
        let selector = super::object([
            ("tags", list(tag)),
            ("hardware", list(hardware)),
            ("environment", environment.map(Value::from)),
            ("site", site.map(Value::from)),
        ]);
        let some = selector.as_object().is_some_and(|fields| !fields.is_empty());
        some.then(|| (json!({ "kind": "group", "selector": selector }), "group".to_owned(), command))
    }
}

impl Drill {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let nothing = || Failure::usage("say what it is aimed at: --device, --certificate, --claim, --authority ...");
        let (plan, how) = match self {
            Self::KeyCompromise { key, replace_within, how } => {
                let (target, name, mut command) = key.target().ok_or_else(nothing)?;
                if let Some(secs) = replace_within {
                    command.push_str(&format!(" --replace-within {secs}s"));
                }
                let drill = super::object([
                    ("scenario", Some(json!("key_compromise"))),
                    ("target", Some(target)),
                    ("replace_within_s", replace_within.map(Value::from)),
                ]);
                (Plan { drill, command, name }, how)
            }
            Self::RevocationCascade { key, group, everything, how } => {
                let all = || (json!({ "kind": "tenant" }), "tenant".to_owned(), "wardctl revoke tenant".to_owned());
                let mut given: Vec<_> =
                    [key.target(), group.target(), everything.then(all)].into_iter().flatten().collect();
                if given.len() > 1 {
                    return Err(Failure::usage("one thing at a time: a key, a group, or --everything"));
                }
                let (target, name, command) = given.pop().ok_or_else(nothing)?;
                let drill = json!({ "scenario": "revocation_cascade", "target": target });
                (Plan { drill, command, name }, how)
            }
            Self::MassRollback { rollouts, how } => {
                let mut ids = Vec::new();
                for rollout in &rollouts {
                    ids.push(rollout::id_of(session, rollout).await?);
                }
                let command = "wardctl rollout rollback, for each rollout".to_owned();
                let drill = json!({ "scenario": "mass_rollback", "rollouts": ids });
                (Plan { drill, command, name: "rollback".to_owned() }, how)
            }
        };
        how.go(session, plan).await
    }
}

impl How {
    async fn go(self, session: &Session, plan: Plan) -> Result<(), Failure> {
        if !self.dry_run && !self.execute {
            return Err(Failure::usage(format!(
                "a drill is made with --dry-run and does nothing; the command itself is `{}`, \
                 or here --execute --confirm {}",
                plan.command, plan.name
            )));
        }
        if self.execute && self.confirm.as_deref() != Some(plan.name.as_str()) {
            return Err(Failure::usage(format!("not confirmed: --confirm {}; nothing was done", plan.name)));
        }
        let body = json!({ "drill": plan.drill, "silent_after_s": self.silent_after });
        let path = session.path(&["drills"]).await?;
        let report = session.client.post(&path, &body).await?.value;
        if self.execute {
            return self.execute(session, &plan, &report).await;
        }
        match session.out {
            Format::Json => output::json(&report)?,
            Format::Table => output::line(report::text(&report, &plan.command).trim_end())?,
        }
        match report.pointer("/stranded/count").and_then(Value::as_u64) {
            None | Some(0) => Ok(()),
            Some(count) => Err(Failure::Stranded(count)),
        }
    }

    /// Gives the command itself. What was seen a moment ago is told to whoever sits there.
    async fn execute(&self, session: &Session, plan: &Plan, report: &Value) -> Result<(), Failure> {
        output::note(report::text(report, &plan.command).trim_end());
        let rollouts = report.get("rollouts").and_then(Value::as_array).cloned().unwrap_or_default();
        if plan.drill.get("scenario").and_then(Value::as_str) == Some("mass_rollback") {
            let mut done = Vec::new();
            for rollout in rollouts.iter().filter(|it| it.get("refused").is_none_or(Value::is_null)) {
                let id = output::cell(rollout.get("id"));
                let path = session.path(&["rollouts", &id, "rollback"]).await?;
                done.push(session.client.post(&path, &json!({})).await?.value);
            }
            return session.out.rows(&done, &[("NAME", "/name"), ("STATE", "/state"), ("ID", "/id")]);
        }
        let body = super::object([
            ("target", plan.drill.get("target").cloned()),
            ("reason", Some(json!(self.reason))),
            ("replace_within_s", plan.drill.get("replace_within_s").cloned()),
        ]);
        let begun = session.client.post(&session.path(&["revocations"]).await?, &body).await?.value;
        session.out.one(&revoke::follow(session, begun).await?)
    }
}
