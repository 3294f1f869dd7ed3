//! `wardctl method`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// What a request takes besides the device's own time.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(crate) enum Method {
    /// Have a connected device do something now, and print what it answered
    Call {
        device: String,
        name: String,
        /// JSON, or `-` to read it from standard input
        #[arg(long, default_value = "null")]
        payload: String,
        /// How long the device may take, in seconds
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        deadline: u64,
    },
}

impl Method {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Call { device, name, payload, deadline } = self;
        let body = json!({ "payload": read(&payload)?, "timeout_s": deadline });
        let path = session.path(&["devices", &device, "methods", &name]).await?;
        let within = Duration::from_secs(deadline).saturating_add(MARGIN);
        // An answer is JSON for people too.
        output::json(&session.client.post_within(&path, &body, within).await?.value)
    }
}

fn read(text: &str) -> Result<Value, Failure> {
    let text = match text {
        "-" => std::io::read_to_string(std::io::stdin())?,
        text => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the payload is not JSON: {error}")))
}
