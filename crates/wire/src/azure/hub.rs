//! The user name of a device of Azure's IoT Hub, and the topics that it then uses.
//!
//! ```text
//! user name  {hub}/{device}/?api-version=2021-04-12&DeviceClientType=..
//! publishes  devices/{device}/messages/events/{properties}
//!            $iothub/twin/GET/?$rid={rid}
//!            $iothub/twin/PATCH/properties/reported/?$rid={rid}
//!            $iothub/methods/res/{status}/?$rid={rid}
//! hears      devices/{device}/messages/devicebound/{properties}
//!            $iothub/twin/res/{status}/?$rid={rid}[&$version={version}]
//!            $iothub/twin/PATCH/properties/desired/?$version={version}
//!            $iothub/methods/POST/{name}/?$rid={rid}
//! ```
//!
//! Topics below `$iothub/` do not say whose they are: they are those of the connection.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{decoded, pairs, rid};

/// The topics of twins and methods begin with this.
pub const PREFIX: &str = "$iothub/";
/// Where calls of methods come.
pub const METHODS: &str = "$iothub/methods/POST/";
/// Where answers about the twin come.
pub const TWIN_ANSWERS: &str = "$iothub/twin/res/";
/// Where changes of desired properties come.
pub const TWIN_CHANGES: &str = "$iothub/twin/PATCH/properties/desired/";
const TWIN_GET: &str = "$iothub/twin/GET/?";
const TWIN_REPORTED: &str = "$iothub/twin/PATCH/properties/reported/?";
const METHOD_ANSWERS: &str = "$iothub/methods/res/";

/// The longest name of a method.
pub const METHOD_NAME_BYTES: usize = 64;
/// The property by which a message says that it was sent to be retained, as the hub has it.
pub const RETAIN: &str = "mqtt-retain";

/// As `encodeURIComponent` and Python's `quote` leave them: what is never a delimiter.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who a device says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    pub hub: &'a str,
    pub device: &'a str,
    /// A part of the device that has a twin of its own.
    pub module: Option<&'a str>,
    pub api_version: String,
}

impl<'a> Login<'a> {
    /// None for a user name of another kind. Some clients leave the question mark out, and not all encode what follows it.
    pub fn parse(user_name: &'a str) -> Option<Self> {
        let at = user_name.find("/?").or_else(|| user_name.find("/api-version="))?;
        let (names, parameters) = (user_name.get(..at)?, user_name.get(at + 1..)?);
        let mut found = pairs(parameters.trim_start_matches('?')).filter(|(name, _)| *name == "api-version");
        let api_version = found.next().and_then(|(_, value)| decoded(value)).filter(|version| !version.is_empty())?;
        let mut names = names.split('/');
        let (hub, device, module) = (names.next()?, names.next()?, names.next());
        if hub.is_empty() || device.is_empty() || module == Some("") || names.next().is_some() {
            return None;
        }
        Some(Self { hub, device, module, api_version })
    }
}

/// What a device asks below `$iothub/`. `rid` is given back as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    TwinGet {
        rid: &'a str,
    },
    TwinReported {
        rid: &'a str,
    },
    /// The answer to a call: what the device calls its status is its own affair.
    MethodAnswer {
        status: i32,
        rid: &'a str,
    },
}

impl<'a> Request<'a> {
    /// None for a topic of another kind, or one without its parameters.
    pub fn parse(topic: &'a str) -> Option<Self> {
        if let Some(query) = topic.strip_prefix(TWIN_GET) {
            return Some(Self::TwinGet { rid: rid(query)? });
        }
        if let Some(query) = topic.strip_prefix(TWIN_REPORTED) {
            return Some(Self::TwinReported { rid: rid(query)? });
        }
        let (status, query) = topic.strip_prefix(METHOD_ANSWERS)?.split_once("/?")?;
        let digits = status.strip_prefix('-').unwrap_or(status);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self::MethodAnswer { status: status.parse().ok()?, rid: rid(query)? })
    }

    pub fn rid(&self) -> &'a str {
        match self {
            Self::TwinGet { rid } | Self::TwinReported { rid } | Self::MethodAnswer { rid, .. } => rid,
        }
    }
}

/// The topic of an answer about the twin.
pub fn twin_answer(status: u16, rid: &str, version: Option<u64>) -> String {
    let mut topic = format!("{TWIN_ANSWERS}{status}/?$rid={rid}");
    if let Some(version) = version {
        write!(topic, "&$version={version}").expect("a string takes it");
    }
    topic
}

/// The topic of a change of desired properties.
pub fn twin_change(version: u64) -> String {
    format!("{TWIN_CHANGES}?$version={version}")
}

/// The topic of a call.
pub fn method_call(name: &str, rid: &str) -> String {
    format!("{METHODS}{}/?$rid={rid}", utf8_percent_encode(name, ENCODED))
}

/// Whether a method can be called so: letters, digits and `$-_.+!*'(),~` in ASCII.
pub fn is_method_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'(),~".contains(&byte);
    (1..=METHOD_NAME_BYTES).contains(&name.len()) && name.bytes().all(good)
}

/// The properties of a message in the last level of its topic: `a=1&b=2`, in percent signs. A name without `=` has no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(String, Option<String>)>);

impl Properties {
    /// None where a part is not UTF-8 or has no name.
    pub fn parse(level: &str) -> Option<Self> {
        let mut found = Vec::new();
        for part in level.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            let name = decoded(name).filter(|name| !name.is_empty())?;
            found.push((name, value.map(|value| decoded(value).ok_or(())).transpose().ok()?));
        }
        Some(Self(found))
    }

    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), Some(value.into())));
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name)?.1.as_deref()
    }
}

impl std::fmt::Display for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "&" };
            write!(f, "{between}{}", utf8_percent_encode(name, ENCODED))?;
            if let Some(value) = value {
                write!(f, "={}", utf8_percent_encode(value, ENCODED))?;
            }
        }
        Ok(())
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the device.
    Events,
    /// To it.
    Devicebound,
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Devicebound => "devicebound",
        }
    }
}

/// The device and the last level of a topic of messages; none for any other topic.
pub fn parse_messages(topic: &str) -> Option<(&str, Way, &str)> {
    let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
    let (way, level) = rest.strip_prefix("messages/")?.split_once('/')?;
    let way = [Way::Events, Way::Devicebound].into_iter().find(|known| known.as_str() == way)?;
    (!device.is_empty() && !level.contains('/')).then_some((device, way, level))
}

/// The topic of a message.
pub fn messages(device: &str, way: Way, properties: &Properties) -> String {
    format!("devices/{device}/messages/{}/{properties}", way.as_str())
}

#[cfg(test)]
mod tests;
