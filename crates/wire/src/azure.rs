//! Azure's device messages: provisioning (shared access signatures, user names, topics and bodies), and the topics of IoT Hub.
//!
//! Names on the wire are Azure's own. A device that provisions itself is addressed as
//! `{idScope}/registrations/{registrationId}`, over HTTPS in the path and over MQTT in the user name; bodies are the same both
//! ways. What it then says to its hub is in [`hub`].

pub mod hub;
pub mod message;
pub mod sas;
pub mod topic;

pub use sas::{BadSas, SasToken};
pub use topic::{Login, Request};

use percent_encoding::percent_decode_str;

/// The text behind percent signs; none where that is not UTF-8. A plus sign stays one, as Azure's clients mean it.
fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// Splits `a=1&b=2`; a part without `=` has an empty value.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').map(|part| part.split_once('=').unwrap_or((part, "")))
}

const RID_BYTES: usize = 64;

/// The number of a request in the parameters of its topic.
fn rid(query: &str) -> Option<&str> {
    let (_, rid) = pairs(query).find(|(name, _)| *name == "$rid")?;
    // It goes into the topic of the answer: nothing that is a level or a wildcard there.
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'+' | b'#' | b'$');
    ((1..=RID_BYTES).contains(&rid.len()) && rid.bytes().all(good)).then_some(rid)
}
