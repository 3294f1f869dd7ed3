//! Provisioning templates: what becomes of a device that comes with a claim or a factory certificate.
//!
//! A template is a document of AWS, taken as it is: parameters, mappings, resources, device configuration, and the
//! functions `Ref`, `Fn::Join`, `Fn::Sub`, `Fn::Select`, `Fn::Split` and `Fn::FindInMap`, nested. [`Template::parse`] reads it
//! and refuses what could never be evaluated, with the path; [`Template::evaluate`] turns it with the device's parameters
//! and its certificate's subject into a [`Plan`]; [`Plan::fields`] says what that means for the device's record here.
//!
//! Nothing loops: functions are a tree that is walked once, so that its depth and a budget of written bytes bound every
//! evaluation. A device never sets a pseudo parameter: what begins with `AWS::` comes from its certificate only.

mod evaluate;
mod parse;
mod plan;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::text::text_enum;

pub use evaluate::{PSEUDO, check_given};
pub use plan::{Override, Overrides, Plan};

text_enum! {
    /// What happens to a device of a factory that comes for the first time.
    pub enum Mode("mode of a factory") {
        /// It is registered and let in within its first connection.
        Provision => "provision",
        /// It waits for an operator, or for somebody with its claim code.
        Register => "register",
    }
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub(crate) mappings: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
    pub(crate) thing: Thing,
    /// `None` where the template says nothing of it: active.
    pub(crate) status: Option<Expr>,
    /// Kept for reference: rights follow from a device's name and status here.
    pub(crate) policies: Vec<Policy>,
    pub(crate) configuration: BTreeMap<String, Expr>,
    /// What the template asks for that has no meaning here, or another one.
    pub warnings: Vec<String>,
}

/// A declared parameter. Its type is always a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) default: Option<String>,
}

/// The thing of a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Thing {
    /// Where it stands in the template, for errors.
    pub(crate) path: String,
    pub(crate) name: Option<Expr>,
    pub(crate) attributes: Option<Expr>,
    pub(crate) kind: Option<Expr>,
    pub(crate) groups: Option<Expr>,
    pub(crate) billing_group: Option<Expr>,
    pub(crate) overrides: Overrides,
}

/// A policy of a template: a name, or a document that nobody here reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Policy {
    Named(Expr),
    Inline,
}

/// A value of a template before it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Text(String),
    /// A number, a truth or null: as it is in a configuration, as its text elsewhere.
    Plain(Value),
    Ref(String),
    Join(String, Box<Expr>),
    Sub(Vec<Piece>, BTreeMap<String, Expr>),
    Select(Box<Expr>, Box<Expr>),
    Split(String, Box<Expr>),
    FindInMap(Box<[Expr; 3]>),
    List(Vec<Expr>),
    Map(BTreeMap<String, Expr>),
}

/// A piece of the text of `Fn::Sub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Variable(String),
}

/// What is wrong with a template or with what it was given, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Such as `Resources.thing.Properties.ThingName`; empty for the whole.
    pub path: String,
    pub why: String,
}

impl TemplateError {
    pub(crate) fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.path, self.why) }
    }
}

impl std::error::Error for TemplateError {}

/// What the parameters of a request are evaluated to, key by key.
pub type Configuration = Map<String, Value>;

#[cfg(test)]
mod tests;
