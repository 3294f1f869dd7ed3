//! Azure's device provisioning messages: shared access signatures, user names, topics and bodies.
//!
//! Names on the wire are Azure's own. A device is addressed as `{idScope}/registrations/{registrationId}`, over HTTPS in the
//! path and over MQTT in the user name; bodies are the same both ways. The topics and messages of IoT Hub itself are not
//! here.

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
