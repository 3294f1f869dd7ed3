//! The user name of a device that provisions itself over MQTT, and the topics that it then uses.
//!
//! ```text
//! user name  {idScope}/registrations/{registrationId}/api-version=2019-03-31&ClientVersion=..
//! publishes  $dps/registrations/PUT/iotdps-register/?$rid={rid}
//!            $dps/registrations/GET/iotdps-get-operationstatus/?$rid={rid}&operationId={id}
//! hears      $dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}]
//! ```

use std::fmt::Write;

use super::{decoded, pairs, rid};

/// All of its topics begin with this.
pub const PREFIX: &str = "$dps/registrations/";
/// What a device listens to.
pub const RESPONSES: &str = "$dps/registrations/res/#";
const REGISTER: &str = "PUT/iotdps-register/?";
const STATUS: &str = "GET/iotdps-get-operationstatus/?";

/// Who a device says it is, over MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub id_scope: String,
    pub registration_id: String,
    pub api_version: String,
}

impl Login {
    /// None for a user name of another kind. Some clients put a question mark before the parameters.
    pub fn parse(user_name: &str) -> Option<Self> {
        let mut parts = user_name.splitn(4, '/');
        let (scope, kind, id, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let mut found = pairs(rest.trim_start_matches('?')).filter(|(name, _)| *name == "api-version");
        let version = found.next().and_then(|(_, value)| decoded(value)).filter(|version| !version.is_empty())?;
        if kind != "registrations" || scope.is_empty() || id.is_empty() {
            return None;
        }
        Some(Self { id_scope: scope.to_owned(), registration_id: decoded(id)?, api_version: version })
    }
}

/// What a device asks for. `rid` is given back as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Register { rid: &'a str },
    Status { rid: &'a str, operation: String },
}

impl<'a> Request<'a> {
    /// None for a topic of another kind, or one without its parameters.
    pub fn parse(topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix(PREFIX)?;
        if let Some(query) = rest.strip_prefix(REGISTER) {
            return Some(Self::Register { rid: rid(query)? });
        }
        let query = rest.strip_prefix(STATUS)?;
        let operation = pairs(query).find(|(name, _)| *name == "operationId").and_then(|(_, value)| decoded(value))?;
        Some(Self::Status { rid: rid(query)?, operation })
    }

    pub fn rid(&self) -> &'a str {
        match self {
            Self::Register { rid } | Self::Status { rid, .. } => rid,
        }
    }
}

/// The topic of an answer.
pub fn response(status: u16, rid: &str, retry_after_s: Option<u64>) -> String {
    let mut topic = format!("{PREFIX}res/{status}/?$rid={rid}");
    if let Some(secs) = retry_after_s {
        write!(topic, "&retry-after={secs}").expect("a string takes it");
    }
    topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        let login = |text: &str| Login::parse(text).map(|l| (l.id_scope, l.registration_id, l.api_version));
        let good = Some(("0ne1".to_owned(), "gw-1".to_owned(), "2019-03-31".to_owned()));
        assert_eq!(
            login("0ne1/registrations/gw-1/api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2"),
            good
        );
        assert_eq!(login("0ne1/registrations/gw-1/?ClientVersion=c%2F1&api-version=2019-03-31"), good);
        for bad in [
            "",
            "gw-1",
            "0ne1/registrations/gw-1",
            "0ne1/registrations/gw-1/",
            "0ne1/registrations//api-version=1",
            "/registrations/gw-1/api-version=1",
            "hub/gw-1/?api-version=2021-04-12",
            "0ne1/registrations/gw-1/api-version=",
        ] {
            assert_eq!(login(bad), None, "{bad}");
        }
    }

    #[test]
    fn topics() {
        let register = "$dps/registrations/PUT/iotdps-register/?$rid=a3c";
        assert_eq!(Request::parse(register), Some(Request::Register { rid: "a3c" }));
        let status = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.a%2Fb";
        assert_eq!(Request::parse(status), Some(Request::Status { rid: "1", operation: "4.a/b".to_owned() }));
        for bad in [
            "$dps/registrations/PUT/iotdps-register/?$rid=",
            "$dps/registrations/PUT/iotdps-register/?$rid=a/b",
            "$dps/registrations/PUT/iotdps-register/?$rid=a+b",
            "$dps/registrations/PUT/iotdps-register/",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
            "$dps/registrations/res/200/?$rid=1",
            "$dps/x",
        ] {
            assert_eq!(Request::parse(bad), None, "{bad}");
        }
        assert_eq!(response(202, "a3c", Some(3)), "$dps/registrations/res/202/?$rid=a3c&retry-after=3");
        assert_eq!(response(401, "1", None), "$dps/registrations/res/401/?$rid=1");
    }
}
