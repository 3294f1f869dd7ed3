//! Documents with the facts of one device put in: what is asked with every message.

use std::sync::Arc;

use fleetward_base::TenantId;

use super::pattern::Pattern;
use super::{Act, Document, EVENTS, Effect, Statement, Weight};
use crate::registry::Device;

/// What of a certificate templates may ask for. A name that is there twice is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    pub serial: String,
    pub fingerprint: String,
    pub subject_cn: Option<String>,
    pub subject_o: Option<String>,
    pub issuer_cn: Option<String>,
    pub issuer_o: Option<String>,
}

/// What templates are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub tenant: &'a TenantId,
    pub device: &'a Device,
    /// None for a connection without one.
    pub certificate: Option<&'a CertificateFacts>,
}

/// A version of a document that is attached to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    pub policy: String,
    pub version: u64,
    pub document: Document,
}

/// Where a rule was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub policy: Arc<str>,
    pub version: u64,
    /// From 0, as in the document.
    pub statement: usize,
    /// Empty where the rule speaks of no topic.
    pub template: Arc<str>,
}

/// A template that does not count for this device as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub origin: Origin,
    pub effect: Effect,
    /// Which variable, and why.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    acts: Acts,
    pattern: Pattern,
    origin: Origin,
}

/// A set of [`Act`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acts(u8);

impl Acts {
    fn of<'a>(acts: impl IntoIterator<Item = &'a Act>) -> Self {
        Self(acts.into_iter().fold(0, |bits, act| bits | (1 << *act as u8)))
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the statements say of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied,
    /// Nothing: the built-in rules decide.
    Silent,
}

/// A verdict with the statement that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained<'a> {
    pub verdict: Verdict,
    /// None where nothing is said.
    pub by: Option<&'a Origin>,
}

/// What statements and built-in rules come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged<'a> {
    Denied(&'a Origin),
    Allowed(&'a Origin),
    BuiltIn,
    /// Nothing allows it.
    Nothing,
}

impl Judged<'_> {
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_) | Self::BuiltIn)
    }
}

/// See the module. Empty for a device that nothing is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    connect_denied: Option<Origin>,
    /// The rule with which they were more than a device may have: it may do nothing.
    over: Option<Origin>,
    weight: Weight,
    deny: Vec<Rule>,
    allow: Vec<Rule>,
    left_out: Vec<LeftOut>,
}

impl Compiled {
    pub fn new(attached: &[Attached], facts: &Facts<'_>) -> Self {
        let mut compiled = Self::default();
        for Attached { policy, version, document } in attached {
            let policy: Arc<str> = policy.as_str().into();
            for (at, statement) in document.statements.iter().enumerate() {
                let origin =
                    Origin { policy: Arc::clone(&policy), version: *version, statement: at, template: "".into() };
                compiled.add(statement, &origin, facts);
                if compiled.over.is_some() {
                    return compiled.closed();
                }
            }
        }
        compiled
    }

    /// Without what was gathered: which of it would count, and which not, nobody has decided.
    fn closed(self) -> Self {
        Self { over: self.over, left_out: self.left_out, ..Self::default() }
    }

    fn add(&mut self, statement: &Statement, origin: &Origin, facts: &Facts<'_>) {
        let Statement { effect, actions, topics } = statement;
        if *effect == Effect::Deny && actions.contains(&Act::Connect) && self.connect_denied.is_none() {
            self.connect_denied = Some(origin.clone());
        }
        let acts = Acts::of(actions);
        for template in topics {
            let origin = Origin { template: template.as_str().into(), ..origin.clone() };
            let pattern = match template.fill(facts) {
                Ok(pattern) => pattern,
                Err(unfit) => {
                    self.left_out.push(LeftOut { origin: origin.clone(), effect: *effect, why: unfit.to_string() });
                    match effect {
                        Effect::Allow => continue,
                        Effect::Deny => template.fill_any(),
                    }
                }
            };
            self.weight.add(pattern.weight());
            if let Some(why) = self.weight.over(Weight::OF_DEVICE) {
                let why = format!("{why} hold for the device, which may do nothing until it is fewer");
                self.left_out.push(LeftOut { origin: origin.clone(), effect: *effect, why });
                self.over = Some(origin);
                return;
            }
            let rule = Rule { acts, pattern, origin };
            match effect {
                Effect::Allow => self.allow.push(rule),
                Effect::Deny => self.deny.push(rule),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.over.is_none() && self.connect_denied.is_none() && self.deny.is_empty() && self.allow.is_empty()
    }

    /// Templates that do not count as they are written.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The statement that keeps the device out; or the first one too many, where more holds for it than it may have.
    pub fn connect_denied(&self) -> Option<&Origin> {
        self.over.as_ref().or(self.connect_denied.as_ref())
    }

    /// Statements and built-in rules put together, as the door does it and as it is explained. `more` says whether the
    /// device may have what statements allow: one in quarantine keeps what is left to it, and what is denied.
    pub fn judge(&self, act: Act, topic: &str, device: &str, more: bool, built_in: impl Fn(Act) -> bool) -> Judged<'_> {
        let explained = self.explain(act, topic, device);
        match explained {
            Explained { verdict: Verdict::Denied, by: Some(by) } => return Judged::Denied(by),
            _ if built_in(act) => return Judged::BuiltIn,
            _ => {}
        }
        let Explained { verdict: Verdict::Allowed, by: Some(by) } = explained else { return Judged::Nothing };
        // What may not be published is not retained either.
        let published = act != Act::Retain
            || built_in(Act::Publish)
            || self.explain(Act::Publish, topic, device).verdict == Verdict::Allowed;
        if more && published { Judged::Allowed(by) } else { Judged::Nothing }
    }

    /// Whether `device`, whose policies these are, may do `act` on `topic`, which is a filter where it subscribes.
    pub fn decide(&self, act: Act, topic: &str, device: &str) -> Verdict {
        if self.is_empty() {
            return Verdict::Silent;
        }
        self.explain(act, topic, device).verdict
    }

    /// As [`Self::decide`], and which statement said it.
    pub fn explain(&self, act: Act, topic: &str, device: &str) -> Explained<'_> {
        if let Some(by) = &self.over {
            return Explained { verdict: Verdict::Denied, by: Some(by) };
        }
        if act == Act::Connect {
            let by = self.connect_denied.as_ref();
            return Explained { verdict: if by.is_some() { Verdict::Denied } else { Verdict::Silent }, by };
        }
        let denies = |rule: &&Rule| {
            let hit = match act {
                Act::Subscribe => rule.pattern.meets(topic),
                _ => rule.pattern.matches(topic),
            };
            rule.acts.meets(denied_by(act)) && hit
        };
        if let Some(rule) = self.deny.iter().find(denies) {
            return Explained { verdict: Verdict::Denied, by: Some(&rule.origin) };
        }
        let allows = |rule: &&Rule| {
            let hit = match act {
                Act::Subscribe => rule.pattern.covers(topic),
                _ => rule.pattern.matches(topic),
            };
            rule.acts.meets(Acts::of(&[act])) && hit
        };
        let by = self.allow.iter().find(allows).filter(|_| !is_reserved(act, topic, device));
        Explained {
            verdict: if by.is_some() { Verdict::Allowed } else { Verdict::Silent },
            by: by.map(|rule| &rule.origin),
        }
    }
}

/// Which acts a deny may name to deny this one: who may not subscribe to a topic may not have from it either what came
/// before, and what may not be published may not be retained.
fn denied_by(act: Act) -> Acts {
    match act {
        Act::Receive => Acts::of(&[Act::Receive, Act::Subscribe]),
        Act::Retain => Acts::of(&[Act::Retain, Act::Publish]),
        act => Acts::of(&[act]),
    }
}

/// What no statement can allow: what begins with `$`, events aside, and to speak for the server to a device: of its identity and with the
/// messages of a hub to another one, of the configuration that is wanted to any.
fn is_reserved(act: Act, topic: &str, device: &str) -> bool {
    if topic.starts_with('$') {
        return !(matches!(act, Act::Subscribe | Act::Receive) && topic.starts_with(EVENTS));
    }
    matches!(act, Act::Publish | Act::Retain)
        && match spoken_on(topic) {
            Some((_, "config")) => true,
            Some((whose, _)) => whose != device,
            None => false,
        }
}

/// The device to which the server speaks on this topic or below it, and of what: its `identity`, the `messages` of a hub or its
/// `config`.
pub fn spoken_on(topic: &str) -> Option<(&str, &str)> {
    let mut levels = topic.split('/');
    match (levels.next(), levels.next(), levels.next()) {
        (Some("devices"), Some(device), Some(of @ ("identity" | "messages" | "config"))) => Some((device, of)),
        _ => None,
    }
}
