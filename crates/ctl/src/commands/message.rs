//! `wardctl message`

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Message {
    /// Send a message to a device; it waits in the device's queue while that is away
    Send {
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
    },
}

impl Message {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Send { device, payload, properties, message_id, correlation_id, content_type, ttl } = self;
        let payload = match payload.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())?,
            _ => payload,
        };
        let properties: Map<String, Value> =
            properties.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let body = super::object([
            ("payload", Some(json!(payload))),
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

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties() {
        assert_eq!(property("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(property("a="), Ok(("a".to_owned(), String::new())));
        assert!(property("a").is_err());
    }
}
