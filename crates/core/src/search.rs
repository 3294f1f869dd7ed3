//! The language in which people ask for devices: `site:berlin AND NOT tag:beta`, as AWS's fleet index has it.
//!
//! Terms are `field:value`; a value may stand in quotes and may hold `*` and `?`. Terms are joined by `AND` (which may be
//! left out), `OR`, `NOT` and brackets. `*` alone is every device. A field that is not known is refused, so that a misspelt
//! one is not everybody. Ranges and comparisons are not offered.

mod parse;
mod tally;

use std::collections::BTreeSet;

use fleetward_base::DeviceId;

use crate::registry::{Device, Scalar};

pub use parse::BadQuery;
pub use tally::{Numbers, Tally, TooManyValues};

/// What can be asked about a device.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub device: &'a Device,
    pub online: bool,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    All,
    Term(Field, Pattern),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// What a term looks at. Each has the name that we use, and the one that AWS uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Name,
    Kind,
    /// Of a tag, which is also how a device is in a group.
    Tag,
    Class,
    Hardware,
    Firmware,
    Status,
    Owner,
    Environment,
    Site,
    Location,
    Online,
    Attribute(String),
}

impl Field {
    /// By the name that a question has for it.
    pub fn named(name: &str) -> Option<Self> {
        Self::parse(name)
    }

    /// What a device has there: nothing, one value, or of tags several.
    pub fn values(&self, Subject { device, online }: Subject<'_>) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        let some = |text: &Option<String>| text.iter().cloned().collect();
        match self {
            Self::Name => one(device.id.as_str()),
            Self::Kind => device.kind().map(one).unwrap_or_default(),
            Self::Tag => device.tags.iter().cloned().collect(),
            Self::Class => one(device.class.as_str()),
            Self::Hardware => one(&device.hardware),
            Self::Firmware => some(&device.firmware),
            Self::Status => one(device.status.as_str()),
            Self::Owner => some(&device.owner),
            Self::Environment => some(&device.environment),
            Self::Site => some(&device.site),
            Self::Location => some(&device.location),
            Self::Online => one(if online { "true" } else { "false" }),
            Self::Attribute(key) => device.attributes.get(key).map(text_of).into_iter().collect(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "name" | "thingName" | "thingId" => Self::Name,
            "type" | "thingTypeName" => Self::Kind,
            "tag" | "group" | "thingGroupNames" => Self::Tag,
            "class" => Self::Class,
            "hardware" => Self::Hardware,
            "firmware" => Self::Firmware,
            "status" => Self::Status,
            "owner" => Self::Owner,
            "environment" => Self::Environment,
            "site" => Self::Site,
            "location" => Self::Location,
            "online" | "connectivity.connected" => Self::Online,
            _ => Self::Attribute(name.strip_prefix("attributes.").filter(|key| !key.is_empty())?.to_owned()),
        })
    }
}

/// A text in which `*` is any text and `?` any character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A text that means itself.
    pub fn exact(text: &str) -> Self {
        let mut pattern = String::new();
        for character in text.chars() {
            if matches!(character, '*' | '?' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        Self(pattern)
    }

    /// A text that stands at the beginning.
    pub fn prefix(text: &str) -> Self {
        Self(Self::exact(text).0 + "*")
    }

    /// In steps that no text makes more than its length times that of the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<(char, bool)> = tokens(&self.0).collect();
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut star, mut p) = (0, None, 0);
        while at < text.len() {
            match pattern.get(p) {
                Some(('*', true)) => {
                    star = Some((p, at));
                    p += 1;
                }
                Some(&(one, wild)) if (wild && one == '?') || (!wild && text.get(at) == Some(&one)) => {
                    at += 1;
                    p += 1;
                }
                _ => {
                    // The last star takes one more.
                    let Some((of, taken)) = star else { return false };
                    star = Some((of, taken + 1));
                    (at, p) = (taken + 1, of + 1);
                }
            }
        }
        pattern.get(p..).unwrap_or_default().iter().all(|token| *token == ('*', true))
    }

    /// What a text must begin with.
    fn literal(&self) -> (String, bool) {
        let tokens: Vec<_> = tokens(&self.0).collect();
        let text: String = tokens.iter().take_while(|(_, wild)| !wild).map(|(character, _)| character).collect();
        let whole = tokens.iter().all(|(_, wild)| !wild);
        (text, whole)
    }
}

/// Characters, and whether one is a wildcard.
fn tokens(pattern: &str) -> impl Iterator<Item = (char, bool)> {
    let mut characters = pattern.chars();
    std::iter::from_fn(move || {
        let one = characters.next()?;
        match one {
            '\\' => Some((characters.next().unwrap_or('\\'), false)),
            one => Some((one, matches!(one, '*' | '?'))),
        }
    })
}

/// What every device that a question meets has, for a store that can look for it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Narrowed {
    /// The beginning of its name.
    pub prefix: Option<String>,
    pub tags: BTreeSet<String>,
}

impl Query {
    /// # Errors
    /// [`BadQuery`] says where and why.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        parse::parse(text)
    }

    /// The devices with one of these tags.
    pub fn any_tag<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Or(tags.into_iter().map(|tag| Self::Term(Field::Tag, Pattern::exact(tag))).collect())
    }

    /// The devices that have this attribute with this value.
    pub fn attribute(name: &str, value: Pattern) -> Self {
        Self::Term(Field::Attribute(name.to_owned()), value)
    }

    /// The devices of a type.
    pub fn kind(name: &str) -> Self {
        Self::Term(Field::Kind, Pattern::exact(name))
    }

    pub fn matches(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Term(field, pattern) => meets(field, pattern, subject),
            Self::Not(inner) => !inner.matches(subject),
            Self::And(all) => all.iter().all(|one| one.matches(subject)),
            Self::Or(any) => any.iter().any(|one| one.matches(subject)),
        }
    }

    /// Whether it asks who is connected.
    pub fn asks_presence(&self) -> bool {
        match self {
            Self::All => false,
            Self::Term(field, _) => *field == Field::Online,
            Self::Not(inner) => inner.asks_presence(),
            Self::And(all) | Self::Or(all) => all.iter().any(Self::asks_presence),
        }
    }

    /// What is true of every device that it meets; more may have it.
    pub fn narrowed(&self) -> Narrowed {
        let mut narrowed = Narrowed::default();
        self.narrow(&mut narrowed);
        narrowed
    }

    fn narrow(&self, into: &mut Narrowed) {
        match self {
            Self::Term(Field::Name, pattern) if into.prefix.is_none() => {
                let (text, _) = pattern.literal();
                // No name has other characters; what has some meets nothing, and is looked at all the same.
                if text.parse::<DeviceId>().is_ok() {
                    into.prefix = Some(text);
                }
            }
            Self::Term(Field::Tag, pattern) => {
                let (text, whole) = pattern.literal();
                if whole {
                    into.tags.insert(text);
                }
            }
            Self::And(all) => all.iter().for_each(|one| one.narrow(into)),
            Self::Or(any) => {
                if let [one] = any.as_slice() {
                    one.narrow(into);
                }
            }
            _ => {}
        }
    }
}

fn meets(field: &Field, pattern: &Pattern, subject: Subject<'_>) -> bool {
    field.values(subject).iter().any(|value| pattern.matches(value))
}

/// A value as a question sees it.
fn text_of(value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(value) => value.to_string(),
        Scalar::Text(value) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
