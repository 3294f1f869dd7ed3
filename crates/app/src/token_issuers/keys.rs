//! The public keys of token services, kept in memory while they are fresh.
//!
//! Keys at a URL are asked for when they are old, and when a token names a key that is not among them; never more often than
//! `limits::TOKEN_KEYS_RETRY`, so that nobody makes this server ask by sending tokens. Where nobody answers, the old
//! ones count for a day. Each service has a lock of its own: one that is slow keeps nobody waiting but its own devices.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_pki::jwt::KeySet;
use fleetward_store::TokenIssuerRow;
use parking_lot::Mutex;

use crate::App;
use crate::error::{Error, Result};
use crate::provisioning::outbound;

/// What is known of one service.
#[derive(Default)]
struct Slot {
    /// When the row was written that this is of.
    of: Option<Timestamp>,
    keys: Option<Arc<KeySet>>,
    /// When they came, and when they were last asked for (monotonic).
    since: Duration,
    asked: Option<Duration>,
}

type Slots = HashMap<(TenantId, String), Arc<tokio::sync::Mutex<Slot>>>;

/// Of all services.
#[derive(Default)]
pub(crate) struct TokenKeys {
    slots: Mutex<Slots>,
}

impl TokenKeys {
    pub(crate) fn forget(&self, tenant: &TenantId, name: &str) {
        self.slots.lock().remove(&(tenant.clone(), name.to_owned()));
    }

    pub(crate) fn forget_all(&self, tenant: &TenantId) {
        self.slots.lock().retain(|(of, _), _| of != tenant);
    }

    fn slot(&self, tenant: &TenantId, name: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        Arc::clone(self.slots.lock().entry((tenant.clone(), name.to_owned())).or_default())
    }
}

/// The keys that tokens of this service are held against. `key_id` is what a token names: worth asking for, if it is new.
///
/// # Errors
/// `Unavailable` where the keys cannot be had.
pub(crate) async fn keys_of(
    app: &App,
    tenant: &TenantId,
    row: &TokenIssuerRow,
    key_id: Option<&str>,
) -> Result<Arc<KeySet>> {
    let slot = app.token_keys().slot(tenant, &row.name);
    let mut slot = slot.lock().await;
    if slot.of != Some(row.updated_at) {
        *slot = Slot { of: Some(row.updated_at), ..Slot::default() };
    }
    if let Some(jwks) = &row.jwks {
        if slot.keys.is_none() {
            slot.keys = Some(Arc::new(KeySet::parse(jwks.as_bytes()).map_err(Error::internal)?));
        }
        return slot.keys.clone().ok_or(UNKNOWN);
    }
    let now = app.clock().monotonic();
    let age = now.saturating_sub(slot.since);
    let known =
        slot.keys.as_ref().is_some_and(|keys| age < limits::TOKEN_KEYS_FRESH && key_id.is_none_or(|id| keys.has(id)));
    let lately = slot.asked.is_some_and(|asked| now.saturating_sub(asked) < limits::TOKEN_KEYS_RETRY);
    if !known && !lately {
        slot.asked = Some(now);
        let url = row.jwks_url.as_deref().unwrap_or_default();
        match fetch(app, url, row.anchors.as_deref()).await {
            Ok(keys) => {
                slot.keys = Some(Arc::new(keys));
                slot.since = now;
            }
            Err(why) => tracing::warn!(%tenant, issuer = row.name, %why, "the keys of a token service cannot be had"),
        }
    }
    let stale = now.saturating_sub(slot.since) >= limits::TOKEN_KEYS_STALE;
    slot.keys.clone().filter(|_| !stale).ok_or(UNKNOWN)
}

const UNKNOWN: Error = Error::Unavailable { what: "the keys of the token service" };

/// The keys at a URL, or why there are none, in words that say nothing of what answered.
pub(super) async fn fetch(app: &App, url: &str, anchors: Option<&str>) -> std::result::Result<KeySet, String> {
    let settings = app.settings().map_err(|error| error.to_string())?;
    let bytes = outbound::get(url, anchors, &settings.hook_networks, limits::TOKEN_KEYS_BYTES).await;
    KeySet::parse(&bytes.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}
