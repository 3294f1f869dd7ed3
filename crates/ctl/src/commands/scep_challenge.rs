//! `wardctl scep-challenge`

use clap::Subcommand;

use super::once::{Create, Once};
use crate::failure::Failure;
use crate::session::Session;

const CHALLENGES: Once = Once { noun: "scep-challenges", secret: "challenge" };

#[derive(Debug, Subcommand)]
pub(crate) enum ScepChallenge {
    /// Make a challenge with which one device enrols by SCEP, once
    Create(Create),
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Revoke {
        id: String,
    },
}

impl ScepChallenge {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => CHALLENGES.create(session, create).await,
            Self::List { limit } => CHALLENGES.list(session, None, limit).await,
            Self::Revoke { id } => CHALLENGES.revoke(session, &id).await,
        }
    }
}
