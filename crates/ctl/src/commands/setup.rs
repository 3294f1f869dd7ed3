//! `wardctl setup`

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The one-time token that the server printed at its first start
    #[arg(env = "FLEETWARD_SETUP_TOKEN", hide_env_values = true)]
    setup_token: String,
}

impl Setup {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let answer = session.client.post("/v1/setup", &json!({ "setup_token": self.setup_token })).await?.value;
        if session.out == Format::Json {
            return output::json(&answer);
        }
        output::note("This token is shown once. Keep it, and set it for the next commands:");
        let token = answer.get("token").and_then(|token| token.as_str()).unwrap_or_default();
        output::line(&format!("export FLEETWARD_TOKEN={token}"))
    }
}
