//! Memory follows the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetward_base::{TenantId, limits};
use fleetward_store::{Of, SystemTx, VaultHoldRow, VaultKeyRow};

use super::refused::Refused;
use super::stored;
use crate::App;
use crate::error::{Error, Result};

/// What the process knows of the store's vault.
#[derive(Default)]
pub(crate) struct Watch {
    /// The number of the change that memory is up to; `None` before the first look. Held while it is brought up.
    seen: tokio::sync::Mutex<Option<u64>>,
    /// When the store was last asked, in milliseconds of the monotonic clock.
    asked_at: AtomicU64,
    pub(super) refused: Refused,
}

impl Watch {
    fn is_stale(&self, now: Duration) -> bool {
        let asked_at = Duration::from_millis(self.asked_at.load(Ordering::Acquire));
        now.saturating_sub(asked_at) > limits::VAULT_STALE
    }
}

type Change = (u64, Vec<Of<VaultKeyRow>>, Vec<Of<VaultHoldRow>>);

/// Brings memory up to what the store has. Keys that were disabled are dropped first, even where what is new does not open.
///
/// # Errors
/// Where the store or the seal does not answer, or a key does not open.
pub async fn refresh(app: &App) -> Result<()> {
    let watch = app.vault_watch();
    let mut seen = watch.seen.lock().await;
    let asked_at = app.clock().monotonic();
    let before = *seen;
    let change = app
        .store()
        .system_read("vault", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let epoch = tx.vault_epoch().await?;
                if before == Some(epoch) {
                    return Ok::<Option<Change>, Error>(None);
                }
                Ok(Some((epoch, tx.all_vault_keys().await?, tx.vault_holds().await?)))
            })
        })
        .await?;
    if let Some((epoch, keys, holds)) = change {
        app.vault()
            .disable(holds.into_iter().map(|of| of.tenant.map_or_else(String::new, |tenant| tenant.to_string())));
        drop_disabled(app);
        let keys = keys.iter().map(stored).collect::<Result<Vec<_>>>()?;
        app.vault().load(&keys).await?;
        *seen = Some(epoch);
    }
    let millis = u64::try_from(asked_at.as_millis()).unwrap_or(u64::MAX);
    watch.asked_at.store(millis, Ordering::Release);
    Ok(())
}

/// Drops from memory what was opened with keys that may not be used any more. Whoever keeps an opened key of a tenant stands
/// here, and asks [`usable`] before each use: what is opened in this very moment is put back into memory after this.
fn drop_disabled(app: &App) {
    let of = |tenant: &TenantId| app.vault().is_usable(tenant.as_str());
    app.authorities().keep_opened(of);
    app.publication().keep_opened(of);
    app.logs().keep_opened(of);
}

/// Whether the tenant's keys may be used, by what the store said at most [`limits::VAULT_STALE`] ago.
///
/// # Errors
/// `Unavailable` where they are disabled, or the store does not say.
pub(crate) async fn usable(app: &App, tenant: &TenantId) -> Result<()> {
    let stale = app.vault_watch().is_stale(app.clock().monotonic());
    // What another server made a moment ago is not known here yet.
    if stale || !app.vault().knows(tenant.as_str()) {
        refresh(app).await?;
    }
    Ok(app.vault().check(tenant.as_str())?)
}
