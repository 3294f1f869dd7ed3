//! `wardctl message`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const RETAINED: [Column; 5] = [
    ("TOPIC", "/topic"),
    ("BYTES", "/payload_bytes"),
    ("QOS", "/qos"),
    ("SINCE", "/retained_at"),
    ("UNTIL", "/expires_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Message {
    /// Send a message to a device; it waits in the device's queue while that is away
    Send(Send),
    /// Publish a message to a topic, for every device that subscribes
    Publish(Publish),
    /// What is retained, by topic
    Retained {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// What is retained on a topic
    Show { topic: String },
    /// Take away what is retained on a topic
    Clear { topic: String },
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    device: String,
    /// Text, or `-` to read it from standard input
    payload: String,
    /// Beside the message, as NAME=VALUE; may be given more than once
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    #[arg(long)]
    message_id: Option<String>,
    #[arg(long)]
    correlation_id: Option<String>,
    /// Such as application/json
    #[arg(long)]
    content_type: Option<String>,
    /// How long it waits, such as 90s, 15m or 24h; an hour if not given
    #[arg(long, value_name = "SPAN", value_parser = super::seconds)]
    ttl: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    topic: String,
    /// Text, or `-` to read it from standard input
    payload: String,
    /// Keep it for whoever subscribes later
    #[arg(long)]
    retain: bool,
    /// 0 to 2
    #[arg(long, default_value_t = 1)]
    qos: u8,
    /// Beside the message, as NAME=VALUE; may be given more than once
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Such as application/json
    #[arg(long)]
    content_type: Option<String>,
    /// Where an answer is wanted
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// How long it is worth something, such as 90s, 15m or 24h; for good if not given
    #[arg(long, value_name = "SPAN", value_parser = super::seconds)]
    ttl: Option<u64>,
}

impl Message {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Send(send) => send.run(session).await,
            Self::Publish(publish) => publish.run(session).await,
            Self::Retained { limit } => {
                let path = session.path(&["retained-messages"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &RETAINED)
            }
            Self::Show { topic } => {
                let path = session.path(&["retained-messages", &topic]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Clear { topic } => {
                session.client.delete(&session.path(&["retained-messages", &topic]).await?, None).await?;
                session.out.done(&format!("nothing is retained on {topic}"))
            }
        }
    }
}

impl Send {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { device, payload, properties, message_id, correlation_id, content_type, ttl } = self;
        let properties: Map<String, Value> =
            properties.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let body = super::object([
            ("payload", Some(json!(text(payload)?))),
            ("properties", Some(Value::Object(properties))),
            ("message_id", message_id.map(Value::from)),
            ("correlation_id", correlation_id.map(Value::from)),
            ("content_type", content_type.map(Value::from)),
            ("ttl_s", ttl.map(Value::from)),
        ]);
        let path = session.path(&["devices", &device, "messages"]).await?;
        session.out.one(&session.client.post(&path, &body).await?.value)
    }
}

impl Publish {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = self.body()?;
        session.out.one(&session.client.post(&session.path(&["messages"]).await?, &body).await?.value)
    }

    fn body(self) -> Result<Value, Failure> {
        let Self { topic, payload, retain, qos, properties, content_type, response_topic, ttl } = self;
        let properties: Vec<Value> =
            properties.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        Ok(super::object([
            ("topic", Some(json!(topic))),
            ("payload", Some(json!(text(payload)?))),
            ("qos", Some(json!(qos))),
            ("retain", Some(json!(retain))),
            ("properties", (!properties.is_empty()).then(|| json!(properties))),
            ("content_type", content_type.map(Value::from)),
            ("response_topic", response_topic.map(Value::from)),
            ("ttl_s", ttl.map(Value::from)),
        ]))
    }
}

fn text(payload: String) -> Result<String, Failure> {
    match payload.as_str() {
        "-" => Ok(std::io::read_to_string(std::io::stdin())?),
        _ => Ok(payload),
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        publish: Publish,
    }

    #[test]
    fn properties() {
        assert_eq!(property("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(property("a="), Ok(("a".to_owned(), String::new())));
        assert!(property("a").is_err());
    }

    #[test]
    fn a_message_is_what_was_asked_for() {
        let words = "x site/mode night --retain --qos 0 --property a=1 --property a=2 --ttl 15m".split_whitespace();
        let line = Line::try_parse_from(words).expect("a command line");
        let expected = json!({
            "topic": "site/mode", "payload": "night", "retain": true, "qos": 0, "ttl_s": 900,
            "properties": [{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }],
        });
        assert_eq!(line.publish.body().expect("complete"), expected);
    }
}
