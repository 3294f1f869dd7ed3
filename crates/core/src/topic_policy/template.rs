//! Topics as a statement writes them.
//!
//! ```text
//! plants/${attribute:plant}/+/${device}/#
//! ```
//!
//! | in a template | stands for |
//! |---|---|
//! | `+` | one whole level |
//! | `#`, last | the level above and everything below, as in MQTT; alone: everything |
//! | `*` | any run of characters, slashes too, as in AWS's policies |
//! | `${device}`, `${tenant}` | the names |
//! | `${class}`, `${hardware}`, `${environment}`, `${site}` | fields of the record |
//! | `${attribute:NAME}` | an attribute of the record |
//! | `${tag:NAME}` | what follows in the tag `NAME=...` or `NAME:...`; without such a tag the attribute of that name |
//! | `${certificate:...}` | `serial`, `fingerprint`, `subject.cn`, `subject.o`, `issuer.cn`, `issuer.o` |
//!
//! Everything else is itself. A wildcard in the first level does not reach topics that begin with `$` (MQTT 5.0 §4.7.2).

use std::fmt;
use std::str::FromStr;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::Facts;
use super::pattern::{PLACES, Pattern, Token};
use crate::registry::Scalar;
use crate::text::text_enum;

text_enum! {
    /// What of a certificate a template may ask for.
    pub enum CertificateField("field of a certificate") {
        Serial => "serial",
        Fingerprint => "fingerprint",
        SubjectCommonName => "subject.cn",
        SubjectOrganization => "subject.o",
        IssuerCommonName => "issuer.cn",
        IssuerOrganization => "issuer.o",
    }
}

/// What a value is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Device,
    Tenant,
    Class,
    Hardware,
    Environment,
    Site,
    Tag(String),
    Attribute(String),
    Certificate(CertificateField),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Variable),
}

/// Why a template is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    #[error("1 to {} bytes", limits::MQTT_TOPIC_BYTES)]
    Length,
    #[error("more than {} levels", limits::MQTT_TOPIC_LEVELS)]
    Levels,
    #[error("control characters")]
    Control,
    #[error("+ and # are whole levels, and # the last one")]
    Wildcard,
    #[error("a ${{ that does not end")]
    Open,
    #[error("more than {} variables", limits::TOPIC_POLICY_VARIABLES)]
    Variables,
    #[error("no such variable: {0}")]
    Unknown(String),
}

/// Why a template has no pattern for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {why}")]
pub struct Unfit {
    pub variable: String,
    pub why: &'static str,
}

/// See the module. Stored and shown as it was written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

impl Template {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn begins_with_value(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Value(_)))
    }

    pub(super) fn asks_for_certificate(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Value(Variable::Certificate(_))))
    }

    /// The pattern for a device.
    ///
    /// # Errors
    /// [`Unfit`] where a value is missing or could be more than text within a level.
    pub fn fill(&self, facts: &Facts<'_>) -> Result<Pattern, Unfit> {
        self.tokens(|variable, tokens| {
            let unfit = |why| Unfit { variable: variable.to_string(), why };
            let value = facts.value(variable).ok_or_else(|| unfit("the device has none"))?;
            check_value(&value).map_err(unfit)?;
            tokens.extend(value.bytes().map(Token::Byte));
            Ok(())
        })
    }

    /// The pattern for every value that there could be: what a deny means whose value is missing.
    pub fn fill_any(&self) -> Pattern {
        let filled: Result<_, std::convert::Infallible> = self.tokens(|_, tokens| {
            tokens.push(Token::Level);
            Ok(())
        });
        match filled {
            Ok(pattern) => pattern,
            Err(never) => match never {},
        }
    }

    /// What its pattern counts for at most, whatever the device: see [`Pattern::weight`].
    pub(super) fn heaviest(&self) -> usize {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Value(_) => limits::TOPIC_POLICY_VALUE_BYTES,
        });
        // One that is longer matches nothing, and is not kept.
        (pieces.sum::<usize>() + 1).min(PLACES)
    }

    fn tokens<E>(&self, mut fill: impl FnMut(&Variable, &mut Vec<Token>) -> Result<(), E>) -> Result<Pattern, E> {
        let mut tokens = Vec::with_capacity(self.text.len());
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Value(variable) => fill(variable, &mut tokens)?,
                Piece::Text(text) => {
                    let last = at + 1 == self.pieces.len();
                    let (text, rest) = match text.strip_suffix("/#").filter(|_| last) {
                        Some(text) => (text, true),
                        None => (text.as_str(), false),
                    };
                    tokens.extend(text.bytes().map(|byte| match byte {
                        b'+' => Token::Level,
                        b'*' | b'#' => Token::Any,
                        byte => Token::Byte(byte),
                    }));
                    if rest {
                        tokens.push(Token::Rest);
                    }
                }
            }
        }
        Ok(Pattern::new(tokens))
    }
}

/// A value stands in one level and is nothing but itself there (the class of CVE-2017-7650).
fn check_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("it is empty");
    }
    if value.len() > limits::TOPIC_POLICY_VALUE_BYTES {
        return Err("it is longer than a value in a topic may be");
    }
    if value.contains(['+', '#', '*']) {
        return Err("it holds a wildcard");
    }
    if value.contains('/') {
        return Err("it holds a slash");
    }
    if value.starts_with('$') {
        return Err("it begins with $");
    }
    if value.chars().any(char::is_control) { Err("it holds control characters") } else { Ok(()) }
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        if !(1..=limits::MQTT_TOPIC_BYTES).contains(&text.len()) {
            return Err(BadTemplate::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(BadTemplate::Control);
        }
        let mut pieces = Vec::new();
        // The shape: each value is one ordinary letter in it.
        let mut shape = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(BadTemplate::Open)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Value(name.parse().map_err(|()| BadTemplate::Unknown(name.to_owned()))?));
            shape.push_str(before);
            shape.push('v');
            rest = after;
        }
        shape.push_str(rest);
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.iter().filter(|piece| matches!(piece, Piece::Value(_))).count() > limits::TOPIC_POLICY_VARIABLES {
            return Err(BadTemplate::Variables);
        }
        check_shape(&shape)?;
        Ok(Self { text: text.to_owned(), pieces })
    }
}

fn check_shape(shape: &str) -> Result<(), BadTemplate> {
    let levels = shape.split('/').count();
    if levels > limits::MQTT_TOPIC_LEVELS {
        return Err(BadTemplate::Levels);
    }
    for (at, level) in shape.split('/').enumerate() {
        let whole = level.len() == 1;
        let plus = level.contains('+') && !whole;
        let hash = level.contains('#') && (!whole || at + 1 != levels);
        if plus || hash {
            return Err(BadTemplate::Wildcard);
        }
    }
    Ok(())
}

impl FromStr for Variable {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let named = |name: &str| if name.is_empty() { Err(()) } else { Ok(name.to_owned()) };
        match name.split_once(':') {
            Some(("tag", name)) => named(name).map(Self::Tag),
            Some(("attribute", name)) => named(name).map(Self::Attribute),
            Some(("certificate", field)) => field.parse().map(Self::Certificate).map_err(drop),
            Some(_) => Err(()),
            None => Ok(match name {
                "device" => Self::Device,
                "tenant" => Self::Tenant,
                "class" => Self::Class,
                "hardware" => Self::Hardware,
                "environment" => Self::Environment,
                "site" => Self::Site,
                _ => return Err(()),
            }),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("device"),
            Self::Tenant => f.write_str("tenant"),
            Self::Class => f.write_str("class"),
            Self::Hardware => f.write_str("hardware"),
            Self::Environment => f.write_str("environment"),
            Self::Site => f.write_str("site"),
            Self::Tag(name) => write!(f, "tag:{name}"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
            Self::Certificate(field) => write!(f, "certificate:{field}"),
        }
    }
}

impl Facts<'_> {
    fn value(&self, variable: &Variable) -> Option<String> {
        let attribute = |name: &str| self.device.attributes.get(name).map(scalar);
        match variable {
            Variable::Device => Some(self.device.id.to_string()),
            Variable::Tenant => Some(self.tenant.to_string()),
            Variable::Class => Some(self.device.class.to_string()),
            Variable::Hardware => Some(self.device.hardware.clone()),
            Variable::Environment => self.device.environment.clone(),
            Variable::Site => self.device.site.clone(),
            Variable::Attribute(name) => attribute(name),
            Variable::Tag(name) => {
                let mut told = self.device.tags.iter().filter_map(|tag| {
                    let rest = tag.strip_prefix(name.as_str())?;
                    rest.strip_prefix('=').or_else(|| rest.strip_prefix(':')).map(str::to_owned)
                });
                match (told.next(), told.next()) {
                    (None, _) => attribute(name),
                    (one, None) => one,
                    // Which of them is meant nobody can say.
                    (Some(_), Some(_)) => None,
                }
            }
            Variable::Certificate(field) => {
                let certificate = self.certificate?;
                match field {
                    CertificateField::Serial => Some(certificate.serial.clone()),
                    CertificateField::Fingerprint => Some(certificate.fingerprint.clone()),
                    CertificateField::SubjectCommonName => certificate.subject_cn.clone(),
                    CertificateField::SubjectOrganization => certificate.subject_o.clone(),
                    CertificateField::IssuerCommonName => certificate.issuer_cn.clone(),
                    CertificateField::IssuerOrganization => certificate.issuer_o.clone(),
                }
            }
        }
    }
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(value) => value.to_string(),
        Scalar::Text(value) => value.clone(),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl TryFrom<String> for Template {
    type Error = BadTemplate;

    fn try_from(text: String) -> Result<Self, BadTemplate> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}
