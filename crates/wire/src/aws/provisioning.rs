//! Fleet provisioning: the topics on which a device with a claim asks for a certificate and for its place in the fleet.
//!
//! ```text
//! $aws/certificates/create-from-csr/{json|cbor}            a certificate for a request that the device made
//! $aws/certificates/create/{json|cbor}                     a certificate with a key that the service makes
//! $aws/provisioning-templates/{name}/provision/{json|cbor} a place in the fleet, by a template
//! ```
//! Answers are told on the same topic with `/accepted` or `/rejected` behind it, in the format that its name ends with.
//! [`parse`] knows topic names, not filters. `parse` and `Display` are inverse.

mod body;

pub use body::{
    BadBody, CertificateAccepted, CsrRequest, KeysRequest, ProvisionAccepted, ProvisionRequest, RegisteredEvent,
    RejectCode, Rejected, Request, decode, encode,
};

use std::fmt;

/// What every topic about certificates begins with.
pub const CERTIFICATES: &str = "$aws/certificates/";
/// What every topic about templates begins with.
pub const TEMPLATES: &str = "$aws/provisioning-templates/";
/// What the event of a certificate that was seen for the first time is told on; the id of its authority follows.
pub const REGISTERED_EVENT: &str = "$aws/events/certificates/registered/";
/// The longest name of a template.
pub const TEMPLATE_NAME_BYTES: usize = 36;

/// How a body is written. Names and values are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Json,
    Cbor,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op<'a> {
    CreateFromCsr,
    /// The service makes the key.
    Create,
    /// By the template of this name.
    Provision(&'a str),
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Request,
    Accepted,
    Rejected,
}

/// A topic of fleet provisioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    pub op: Op<'a>,
    pub format: Format,
    pub part: Part,
}

impl Topic<'_> {
    /// A device publishes to it; on all others the service does.
    pub fn is_request(&self) -> bool {
        self.part == Part::Request
    }

    /// The topic of the answer to this one.
    #[must_use]
    pub fn answer(self, part: Part) -> Self {
        Self { part, ..self }
    }
}

/// Whether the topic or filter is one of fleet provisioning by what it begins with.
pub fn owns(topic: &str) -> bool {
    topic.starts_with(CERTIFICATES) || topic.starts_with(TEMPLATES)
}

/// The topic of fleet provisioning that `topic` is, if it is one.
pub fn parse(topic: &str) -> Option<Topic<'_>> {
    let mut rest = [""; 4];
    let (op, levels) = if let Some(tail) = topic.strip_prefix(CERTIFICATES) {
        let levels = split(tail, &mut rest)?;
        let (op, levels) = levels.split_first()?;
        match *op {
            "create-from-csr" => (Op::CreateFromCsr, levels),
            "create" => (Op::Create, levels),
            _ => return None,
        }
    } else {
        let levels = split(topic.strip_prefix(TEMPLATES)?, &mut rest)?;
        match levels {
            [name, "provision", levels @ ..] if is_template_name(name) => (Op::Provision(name), levels),
            _ => return None,
        }
    };
    let (format, end) = levels.split_first()?;
    let format = match *format {
        "json" => Format::Json,
        "cbor" => Format::Cbor,
        _ => return None,
    };
    let part = match end {
        [] => Part::Request,
        ["accepted"] => Part::Accepted,
        ["rejected"] => Part::Rejected,
        _ => return None,
    };
    Some(Topic { op, format, part })
}

/// The levels of `text`, of which there are no more than places.
fn split<'a, 'b>(text: &'a str, places: &'b mut [&'a str; 4]) -> Option<&'b [&'a str]> {
    let mut count = 0;
    for level in text.split('/') {
        *places.get_mut(count)? = level;
        count += 1;
    }
    places.get(..count)
}

/// Whether `text` can be the name of a template.
pub fn is_template_name(text: &str) -> bool {
    (1..=TEMPLATE_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            Op::CreateFromCsr => write!(f, "{CERTIFICATES}create-from-csr/")?,
            Op::Create => write!(f, "{CERTIFICATES}create/")?,
            Op::Provision(name) => write!(f, "{TEMPLATES}{name}/provision/")?,
        }
        f.write_str(match self.format {
            Format::Json => "json",
            Format::Cbor => "cbor",
        })?;
        f.write_str(match self.part {
            Part::Request => "",
            Part::Accepted => "/accepted",
            Part::Rejected => "/rejected",
        })
    }
}

#[cfg(test)]
mod tests;
