//! `wardctl redirect`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/redirect";

#[derive(Debug, Subcommand)]
pub(crate) enum Redirect {
    /// Send the MQTT clients of the server that is asked to another one
    To {
        /// HOST or HOST:PORT
        server: String,
        /// For good; otherwise for now
        #[arg(long)]
        moved: bool,
    },
    /// Keep them again
    End,
    Show,
}

impl Redirect {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::To { server, moved } => {
                let body = json!({ "server": server, "moved": moved });
                session.out.one(&session.client.post(PATH, &body).await?.value)
            }
            Self::End => {
                session.client.delete(PATH, None).await?;
                session.out.done("clients stay")
            }
            Self::Show => session.out.one(&session.client.get(PATH).await?.value),
        }
    }
}
