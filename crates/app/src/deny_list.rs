//! What is refused whatever else speaks for it: serial numbers, public keys, pieces of hardware.
//!
//! Revoking ends what was issued; this keeps out what may come again: the key that a stolen device still has, with which it
//! would ask for a new certificate, or the board itself. Every door looks here from memory. A change is a journal row, by
//! which other servers on the same database hear of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{DenyRow, SystemTx};
use parking_lot::RwLock;
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// The serial number of a certificate.
    Serial,
    /// SHA-256 of a public key (SubjectPublicKeyInfo).
    Key,
    /// A hardware identity: SHA-256 of an endorsement key, or what the maker wrote on the board.
    Hardware,
}

impl Denied {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Key => "key",
            Self::Hardware => "hardware",
        }
    }

    /// # Errors
    /// `Invalid` where it is none of the three.
    pub fn parse(text: &str) -> Result<Self> {
        [Self::Serial, Self::Key, Self::Hardware]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid("kind", "serial, key or hardware"))
    }

    /// The value in the one form that is compared.
    fn normal(self, value: &str) -> Result<String> {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lower = || value.to_ascii_lowercase();
        match self {
            Self::Serial if (1..=40).contains(&value.len()) && hex(value) => Ok(lower()),
            Self::Serial => Err(Error::invalid("value", "a serial number in hexadecimal digits")),
            Self::Key if value.len() == 64 && hex(value) => Ok(lower()),
            Self::Key => Err(Error::invalid("value", "the SHA-256 of a public key: 64 hexadecimal digits")),
            Self::Hardware
                if (1..=limits::DENY_LIST_VALUE_BYTES).contains(&value.len())
                    && !value.chars().any(char::is_control) =>
            {
                Ok(lower())
            }
            Self::Hardware => Err(Error::invalid("value", format!("1 to {} bytes", limits::DENY_LIST_VALUE_BYTES))),
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyView {
    pub kind: String,
    pub value: String,
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

type List = HashMap<&'static str, HashSet<String>>;

/// All lists, in memory.
#[derive(Debug, Default)]
pub(crate) struct DenyLists {
    /// Held while they are loaded: an older one must not be put in after a newer one.
    refreshing: tokio::sync::Mutex<()>,
    known: RwLock<HashMap<TenantId, Arc<List>>>,
}

impl DenyLists {
    /// Whether one of these stands on the tenant's list.
    pub(crate) fn has<'a>(&self, tenant: &TenantId, shown: impl IntoIterator<Item = (Denied, &'a str)>) -> bool {
        let Some(list) = self.known.read().get(tenant).cloned() else { return false };
        shown.into_iter().any(|(kind, value)| list.get(kind.as_str()).is_some_and(|values| values.contains(value)))
    }

    /// Whether something of this kind stands on the tenant's list, so that it has to be looked for.
    pub(crate) fn has_any(&self, tenant: &TenantId, kind: Denied) -> bool {
        self.known.read().get(tenant).is_some_and(|list| list.contains_key(kind.as_str()))
    }
}

/// How a public key stands on a list.
pub(crate) fn key_hash(spki: &[u8]) -> String {
    use std::fmt::Write;
    digest(&SHA256, spki).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
        hex
    })
}

/// Whether a piece of hardware is refused in a tenant: by what it proved, or by what is written of it. Letters are taken as
/// small ones.
pub fn is_denied_hardware(app: &App, tenant: &TenantId, hardware: &str) -> bool {
    app.deny_lists().has(tenant, [(Denied::Hardware, hardware.to_ascii_lowercase().as_str())])
}

/// Whether this certificate is refused: by its serial number or its key.
pub(crate) fn is_denied_certificate(app: &App, tenant: &TenantId, serial: &str, der: &[u8]) -> bool {
    if app.deny_lists().has(tenant, [(Denied::Serial, serial)]) {
        return true;
    }
    // The key is read only where there are keys to compare with.
    app.deny_lists().has_any(tenant, Denied::Key)
        && fleetward_pki::Certificate::parse(der).is_ok_and(|certificate| is_denied_key(app, tenant, &certificate.spki))
}

/// Whether this public key is refused.
pub(crate) fn is_denied_key(app: &App, tenant: &TenantId, spki: &[u8]) -> bool {
    app.deny_lists().has_any(tenant, Denied::Key)
        && app.deny_lists().has(tenant, [(Denied::Key, key_hash(spki).as_str())])
}

/// Whether the public key with this SHA-256 is refused.
pub(crate) fn is_denied_hash(app: &App, tenant: &TenantId, hash: &str) -> bool {
    app.deny_lists().has_any(tenant, Denied::Key) && app.deny_lists().has(tenant, [(Denied::Key, hash)])
}

/// Loads all lists.
pub(crate) async fn refresh(app: &App) -> Result<()> {
    let _turn = app.deny_lists().refreshing.lock().await;
    let rows = app
        .store()
        .system_read("deny lists", |tx: &mut SystemTx| Box::pin(async move { Ok::<_, Error>(tx.all_denied().await?) }))
        .await?;
    let mut lists: HashMap<TenantId, List> = HashMap::new();
    for of in rows {
        let (Some(tenant), Ok(kind)) = (of.tenant, Denied::parse(&of.row.kind)) else { continue };
        lists.entry(tenant).or_default().entry(kind.as_str()).or_default().insert(of.row.value);
    }
    let lists = lists.into_iter().map(|(tenant, list)| (tenant, Arc::new(list))).collect();
    *app.deny_lists().known.write() = lists;
    Ok(())
}

/// Puts something on the tenant's list. Live sessions with it end right after the commit. Asking twice is harmless.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`deny-list-full`); `Denied`.
pub async fn deny(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    kind: Denied,
    value: &str,
    reason: &str,
) -> Result<DenyView> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let value = kind.normal(value)?;
    check_line("reason", reason, limits::REVOCATION_REASON_BYTES)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    let row = DenyRow {
        kind: kind.as_str().to_owned(),
        value,
        reason: reason.to_owned(),
        created_by: ctx.principal.actor().name,
        created_at: now,
    };
    let row_in = row.clone();
    app.write(tenant, "deny", move |tx| {
        Box::pin(async move {
            if tx.count_denied().await? >= limits::DENY_LIST_ENTRIES {
                return Err(Error::conflict("deny-list-full", "the deny list is full"));
            }
            if tx.deny(&row_in).await? {
                let detail = json!({ "denied": row_in.kind, "reason": row_in.reason });
                let entry = ctx_in.done(now, Action::DenyListChanged).subject(&row_in.value);
                record(tx, &entry.severity(Severity::Warning).detail(detail)).await?;
            }
            Ok(())
        })
    })
    .await?;
    refresh(app).await?;
    if let Some(links) = app.links() {
        links.recheck_all(tenant);
    }
    Ok(view(row))
}

/// Takes something off the list again.
///
/// # Errors
/// `NotFound` where it does not stand there.
pub async fn allow(app: &App, ctx: &Ctx, tenant: &TenantId, kind: Denied, value: &str) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let value = kind.normal(value).map_err(|_| Error::NotFound { what: "entry" })?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "allow again", move |tx| {
        Box::pin(async move {
            if !tx.undeny(kind.as_str(), &value).await? {
                return Err(Error::NotFound { what: "entry" });
            }
            let entry = ctx_in.done(now, Action::DenyListChanged).subject(&value).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "allowed": kind.as_str() }))).await?;
            Ok(())
        })
    })
    .await?;
    refresh(app).await
}

/// A page of the list, in the order of kind and value.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn entries(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<(String, String)>,
    limit: u32,
) -> Result<Vec<DenyView>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "deny list", move |tx| {
            Box::pin(async move {
                let after = after.as_ref().map(|(kind, value)| (kind.as_str(), value.as_str()));
                Ok(tx.deny_list(after, limit).await?)
            })
        })
        .await?;
    Ok(rows.into_iter().map(view).collect())
}

fn view(row: DenyRow) -> DenyView {
    let DenyRow { kind, value, reason, created_by, created_at } = row;
    DenyView { kind, value, reason, created_by, created_at }
}
