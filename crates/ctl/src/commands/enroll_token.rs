//! `wardctl enroll-token`

use clap::Subcommand;

use super::once::{Create, Once};
use crate::failure::Failure;
use crate::session::Session;

const TOKENS: Once = Once { noun: "enroll-tokens", secret: "token" };

#[derive(Debug, Subcommand)]
pub(crate) enum EnrollToken {
    /// Make a token with which one device enrols once
    Create(Create),
    #[command(visible_alias = "ls")]
    List {
        #[arg(long)]
        device: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Revoke {
        id: String,
    },
}

impl EnrollToken {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => TOKENS.create(session, create).await,
            Self::List { device, limit } => TOKENS.list(session, device.as_deref(), limit).await,
            Self::Revoke { id } => TOKENS.revoke(session, &id).await,
        }
    }
}
