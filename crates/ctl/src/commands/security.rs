//! `wardctl security`

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::{Session, query};

const FAILURES: [Column; 5] =
    [("HOUR", "/hour"), ("CAUSE", "/cause"), ("ISSUER", "/issuer"), ("REGION", "/region"), ("COUNT", "/count")];
const FINDINGS: [Column; 5] =
    [("AT", "/at"), ("FINDING", "/action"), ("DEVICE", "/device"), ("SEVERITY", "/severity"), ("DETAIL", "/detail")];

#[derive(Debug, Subcommand)]
pub(crate) enum Security {
    /// Signs of abuse: clones, flapping, impossible travel, surges; newest last
    Findings {
        /// How many of the newest
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Refused authentications, counted by hour, cause, issuer and region
    Failures {
        /// How far back, in hours
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

impl Security {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Findings { limit } => {
                let path = session.path(&["events"]).await? + &query(&[("action", Some("security."))]);
                let mut rows = session.client.list(&path, limit).await?;
                rows.reverse();
                session.out.rows(&rows, &FINDINGS)
            }
            Self::Failures { hours } => {
                let hours = hours.to_string();
                let path = session.path(&["security", "auth-failures"]).await? + &query(&[("hours", Some(&hours))]);
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &FAILURES)
            }
        }
    }
}
