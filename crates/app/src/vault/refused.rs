//! Uses of disabled keys, journaled: at most one row a minute for each tenant, with how many there were.

use std::collections::HashMap;
use std::time::Duration;

use fleetward_base::TenantId;
use fleetward_core::journal::{Action, Actor, Entry};
use parking_lot::Mutex;
use serde_json::json;

use crate::App;
use crate::error::Result;
use crate::journal::record;

const EVERY: Duration = Duration::from_secs(60);

/// What is not told yet.
#[derive(Default)]
pub(super) struct Refused(Mutex<HashMap<String, Untold>>);

#[derive(Default)]
struct Untold {
    uses: u64,
    told_at: Option<Duration>,
}

impl Refused {
    /// Takes in what the vault counted and gives what is due.
    fn due(&self, counted: Vec<(String, u64)>, now: Duration) -> Vec<(String, u64)> {
        let mut untold = self.0.lock();
        for (owner, uses) in counted {
            untold.entry(owner).or_default().uses += uses;
        }
        // Whoever was told of and did nothing since is forgotten.
        let quiet = |of: &Untold| of.uses == 0 && of.told_at.is_none_or(|at| now.saturating_sub(at) >= EVERY);
        untold.retain(|_, of| !quiet(of));
        let due = |of: &Untold| of.uses > 0 && of.told_at.is_none_or(|at| now.saturating_sub(at) >= EVERY);
        let due = untold.iter_mut().filter(|(_, of)| due(of));
        due.map(|(owner, of)| {
            of.told_at = Some(now);
            (owner.clone(), std::mem::take(&mut of.uses))
        })
        .collect()
    }
}

/// Journals the uses of disabled keys that are due to be told; how many rows.
///
/// # Errors
/// Where the store does not take them.
pub async fn tell_refused(app: &App) -> Result<usize> {
    let due = app.vault_watch().refused.due(app.vault().take_refused(), app.clock().monotonic());
    let mut told = 0;
    for (owner, uses) in due {
        let Ok(tenant) = owner.parse::<TenantId>() else { continue };
        let entry = Entry::refused(app.now(), Actor::system("vault"), Action::VaultUseRefused);
        let entry = entry.detail(json!({ "uses": uses }));
        app.write(&tenant, "vault use refused", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) }))
            .await?;
        told += 1;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_row_a_minute_and_loses_no_count() {
        let refused = Refused::default();
        let at = Duration::from_secs;
        let counted = |uses| vec![("acme".to_owned(), uses)];
        assert_eq!(refused.due(counted(3), at(100)), counted(3));
        assert_eq!(refused.due(counted(1000), at(110)), []);
        assert_eq!(refused.due(counted(7), at(159)), []);
        assert_eq!(refused.due(Vec::new(), at(160)), counted(1007));
        assert_eq!(refused.due(Vec::new(), at(300)), []);
        assert!(refused.0.lock().is_empty(), "and is forgotten when it is quiet");
    }
}
