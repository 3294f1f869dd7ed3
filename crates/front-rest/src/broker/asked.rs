//! What plugins send, read: the same things under the names that each has for them.

use std::fmt;

use fleetward_app::external_broker::Client;
use fleetward_base::Secret;
use fleetward_core::topic_policy::Act;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};

/// Certificates that a client shows at most.
const CHAIN: usize = 8;

/// What is wrong with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Body,
    /// A field that is missing, or is not what it has to be.
    Field(&'static str),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("send an object in JSON, or a form"),
            Self::Field(name) => write!(f, "{name}: missing, or not what it has to be"),
        }
    }
}

/// The fields of a request.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn parse(bytes: &[u8], form: bool) -> Result<Self, Bad> {
        if form {
            let pairs = form_urlencoded::parse(bytes);
            return Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(Bad::Body),
        }
    }

    /// The first that has something in it. Some plugins send `undefined` for what is not there.
    fn text(&self, names: &[&str]) -> Option<String> {
        let texts = names.iter().filter_map(|name| match self.0.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        });
        texts.filter(|text| !text.is_empty() && text != "undefined").map(|text| text.trim().to_owned()).next()
    }

    fn need(&self, names: &[&'static str]) -> Result<String, Bad> {
        self.text(names).ok_or(Bad::Field(names.first().copied().unwrap_or_default()))
    }

    /// Who asks for something on a topic: what TLS said comes before what the client says of itself.
    fn name(&self) -> Result<String, Bad> {
        self.need(&["cert_common_name", "common_name", "username", "clientid", "client_id"])
    }
}

/// A client that connects.
#[derive(Debug)]
pub(super) struct Connection {
    client_id: String,
    user_name: String,
    password: Option<Secret<String>>,
    common_name: Option<String>,
    chain: Vec<CertificateDer<'static>>,
    address: Option<std::net::IpAddr>,
}

impl Connection {
    pub(super) fn of(fields: &Fields) -> Result<Self, Bad> {
        let pem = fields.text(&["cert_pem", "certificate"]);
        let chain = pem.map(|pem| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN).collect();
            all.ok().filter(|all| !all.is_empty()).ok_or(Bad::Field("cert_pem"))
        });
        let address = fields.text(&["peerhost", "peer_host", "address"]);
        Ok(Self {
            client_id: fields.text(&["clientid", "client_id"]).unwrap_or_default(),
            user_name: fields.text(&["username"]).unwrap_or_default(),
            password: fields.text(&["password"]).map(Secret::new),
            common_name: fields.text(&["cert_common_name", "common_name"]),
            chain: chain.transpose()?.unwrap_or_default(),
            address: address.map(|text| text.parse().map_err(|_| Bad::Field("peerhost"))).transpose()?,
        })
    }

    /// `named_by_tls`: whether the plugin has the user name from a certificate, as Mosquitto's `use_identity_as_username` does.
    pub(super) fn client(self, named_by_tls: bool) -> Client {
        let Self { client_id, user_name, password, common_name, chain, address } = self;
        Client { client_id, user_name, password, common_name, named_by_tls, chain, address }
    }
}

/// EMQX's question: an action on a topic.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) name: String,
    topic: String,
    publish: bool,
    retain: bool,
}

impl Access {
    pub(super) fn of(fields: &Fields) -> Result<Self, Bad> {
        let publish = match fields.need(&["action"])?.as_str() {
            "publish" => true,
            "subscribe" => false,
            _ => return Err(Bad::Field("action")),
        };
        let retain = fields.text(&["retain"]).is_some_and(|flag| flag == "true" || flag == "1");
        Ok(Self { name: fields.name()?, topic: fields.need(&["topic"])?, publish, retain })
    }

    pub(super) fn act(&self) -> (Act, &str) {
        match (self.publish, self.retain) {
            (true, true) => (Act::Retain, &self.topic),
            (true, false) => (Act::Publish, &self.topic),
            (false, _) => (Act::Subscribe, inner(&self.topic)),
        }
    }
}

/// Mosquitto's question: a topic and what is to be done there, as `MOSQ_ACL_*` numbers it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    topic: String,
    access: u8,
}

impl Topic {
    const READ: u8 = 1;
    const WRITE: u8 = 2;
    const SUBSCRIBE: u8 = 4;

    pub(super) fn of(fields: &Fields) -> Result<Self, Bad> {
        let access: u8 = fields.need(&["acc"])?.parse().map_err(|_| Bad::Field("acc"))?;
        if access == 0 || access > Self::READ | Self::WRITE | Self::SUBSCRIBE {
            return Err(Bad::Field("acc"));
        }
        // The user name is the certificate's, where the broker is told to take it for one.
        Ok(Self { name: fields.need(&["username", "clientid"])?, topic: fields.need(&["topic"])?, access })
    }

    pub(super) fn acts(&self) -> Vec<(Act, &str)> {
        let topic = self.topic.as_str();
        let all = [
            (Self::READ, Act::Receive, topic),
            (Self::WRITE, Act::Publish, topic),
            (Self::SUBSCRIBE, Act::Subscribe, inner(topic)),
        ];
        all.into_iter().filter(|(bit, ..)| self.access & bit != 0).map(|(_, act, topic)| (act, topic)).collect()
    }
}

/// The filter of a shared subscription, which is what the rules are about (MQTT 5.0 §4.8.2).
fn inner(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, inner)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Fields {
        Fields::parse(text.as_bytes(), false).expect("an object")
    }

    #[test]
    fn emqx() {
        let body = r#"{"clientid":"gw-1","username":"undefined","cert_common_name":"gw-1","topic":"devices/gw-1/x",
            "action":"publish","qos":1,"retain":"false"}"#;
        let asked = Access::of(&json(body)).expect("good");
        assert_eq!((asked.name.as_str(), asked.act()), ("gw-1", (Act::Publish, "devices/gw-1/x")));
        let shared = Access::of(&json(r#"{"username":"gw-1","topic":"$share/g/shared/x","action":"subscribe"}"#));
        assert_eq!(shared.expect("good").act(), (Act::Subscribe, "shared/x"), "no way around");
        for bad in [
            r#"{"username":"gw-1","topic":"x"}"#,
            r#"{"topic":"x","action":"publish"}"#,
            r#"{"username":"gw-1","topic":"x","action":"all"}"#,
        ] {
            assert!(Access::of(&json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn mosquitto() {
        let form =
            Fields::parse(b"username=gw-1&clientid=gw-1&topic=devices%2Fgw-1%2F%23&acc=4", true).expect("a form");
        let asked = Topic::of(&form).expect("good");
        assert_eq!((asked.name.as_str(), asked.acts()), ("gw-1", vec![(Act::Subscribe, "devices/gw-1/#")]));
        let both = Topic::of(&json(r#"{"username":"gw-1","clientid":"x","topic":"a","acc":3}"#)).expect("good");
        assert_eq!(both.acts(), [(Act::Receive, "a"), (Act::Publish, "a")]);
        for bad in [
            r#"{"username":"gw-1","topic":"a","acc":0}"#,
            r#"{"username":"gw-1","topic":"a","acc":8}"#,
            r#"{"username":"gw-1","topic":"a"}"#,
        ] {
            assert!(Topic::of(&json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn connections() {
        let form = Fields::parse(b"username=gw-1&password=&clientid=gw-1", true).expect("a form");
        let client = Connection::of(&form).expect("good").client(true);
        assert_eq!((client.user_name.as_str(), client.client_id.as_str()), ("gw-1", "gw-1"));
        assert!(client.password.is_none() && client.chain.is_empty());
        for bad in [r#"{"username":"x","cert_pem":"no"}"#, r#"{"username":"x","peerhost":"here"}"#] {
            assert!(Connection::of(&json(bad)).is_err(), "{bad}");
        }
        for bad in [&b"[]"[..], b"", b"null", b"\xff"] {
            assert_eq!(Fields::parse(bad, false).err(), Some(Bad::Body));
        }
    }
}
