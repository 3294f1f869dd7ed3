//! What vouches for evidence, as a tenant configured it. Nothing is built in: a maker's root is trusted when somebody said
//! so.

use fleetward_attest::tpm::Hash;
use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::attestation::RootOfTrust;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::{Certificate, key};
use fleetward_store::AttestationAnchorRow;
use serde_json::json;

use super::hex;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// What an anchor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorKind {
    /// The certificate of a maker of TPMs.
    TpmRoot,
    /// The endorsement key of one TPM.
    EndorsementKey,
    /// A public key that signs tokens.
    TokenKey,
    /// The certificate that DeviceIDs come from.
    DiceRoot,
}

impl AnchorKind {
    const ALL: [Self; 4] = [Self::TpmRoot, Self::EndorsementKey, Self::TokenKey, Self::DiceRoot];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TpmRoot => "tpm-root",
            Self::EndorsementKey => "endorsement-key",
            Self::TokenKey => "token-key",
            Self::DiceRoot => "dice-root",
        }
    }

    /// What stands on it where nobody said otherwise.
    const fn root(self) -> RootOfTrust {
        match self {
            Self::TpmRoot | Self::EndorsementKey => RootOfTrust::Tpm2,
            Self::TokenKey => RootOfTrust::Software,
            Self::DiceRoot => RootOfTrust::SecureElement,
        }
    }
}

impl std::str::FromStr for AnchorKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An anchor that is to be added.
#[derive(Clone, Debug)]
pub struct NewAnchor {
    pub kind: AnchorKind,
    pub name: String,
    /// DER of a certificate or of a SubjectPublicKeyInfo; of an endorsement key the SHA-256 of its SubjectPublicKeyInfo.
    pub value: Vec<u8>,
    pub root: Option<RootOfTrust>,
}

/// An anchor as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// SHA-256 of it, hex.
    pub id: String,
    pub kind: String,
    pub name: String,
    pub root: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// Believes evidence that this vouches for, from now on. Adding it again is harmless.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`too-many-anchors`).
pub async fn add_anchor(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewAnchor) -> Result<Anchor> {
    ctx.allow(tenant, Permission::AttestationUpdate)?;
    fleetward_core::release::check_name("name", &new.name)
        .map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let id = identify(&new)?;
    let now = app.now();
    let row = AttestationAnchorRow {
        id,
        kind: new.kind.as_str().to_owned(),
        name: new.name,
        root: new.root.unwrap_or(new.kind.root()).to_string(),
        value: new.value,
        created_by: ctx.principal.actor().name,
        created_at: now,
    };
    let ctx_in = ctx.clone();
    let row = app
        .write(tenant, "add anchor", move |tx| {
            Box::pin(async move {
                if let Some(known) = tx.attestation_anchor(&row.id).await? {
                    return Ok(known);
                }
                let all = tx.attestation_anchors(None, None, limits::ATTESTATION_ANCHORS).await?;
                if u32::try_from(all.len()).is_ok_and(|count| count >= limits::ATTESTATION_ANCHORS) {
                    let reason = format!("a tenant has {} anchors at most", limits::ATTESTATION_ANCHORS);
                    return Err(Error::conflict("too-many-anchors", reason));
                }
                tx.insert_attestation_anchor(&row).await?;
                let detail = json!({ "kind": row.kind, "name": row.name, "root_of_trust": row.root });
                let entry = ctx_in.done(now, Action::AttestationAnchorAdded).subject(&row.id);
                record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
                Ok(row)
            })
        })
        .await?;
    Ok(anchor_of(row))
}

/// Its name: what evidence will be found to stand on.
fn identify(new: &NewAnchor) -> Result<String> {
    let digest = || hex(&Hash::Sha256.digest(&[&new.value]));
    match new.kind {
        AnchorKind::TpmRoot | AnchorKind::DiceRoot => {
            let read = Certificate::parse(&new.value).map_err(|bad| Error::invalid("certificate", bad.to_string()))?;
            if !read.is_authority {
                return Err(Error::invalid("certificate", "it is not that of an authority"));
            }
            Ok(digest())
        }
        AnchorKind::TokenKey => {
            key::judge(&new.value).map_err(|bad| Error::invalid("public_key", bad.to_string()))?;
            Ok(digest())
        }
        AnchorKind::EndorsementKey if new.value.len() == Hash::Sha256.size() => Ok(hex(&new.value)),
        AnchorKind::EndorsementKey => Err(Error::invalid("sha256", "64 hexadecimal digits")),
    }
}

/// A page of the anchors, by id, after `after`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn anchors(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Anchor>> {
    ctx.allow(tenant, Permission::AttestationRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "anchors", move |tx| {
            Box::pin(async move { Ok(tx.attestation_anchors(None, after.as_deref(), limit).await?) })
        })
        .await?;
    Ok(rows.into_iter().map(anchor_of).collect())
}

/// Believes nothing more on its word. Verdicts that were given stay until they are due.
///
/// # Errors
/// `NotFound`.
pub async fn remove_anchor(app: &App, ctx: &Ctx, tenant: &TenantId, id: String) -> Result<()> {
    ctx.allow(tenant, Permission::AttestationUpdate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "remove anchor", move |tx| {
        Box::pin(async move {
            let row = tx.attestation_anchor(&id).await?.ok_or(Error::NotFound { what: "anchor" })?;
            tx.remove_attestation_anchor(&id).await?;
            let entry = ctx_in.done(now, Action::AttestationAnchorRemoved).subject(&id).severity(Severity::Warning);
            record(tx, &entry.detail(json!({ "kind": row.kind, "name": row.name }))).await?;
            Ok(())
        })
    })
    .await
}

fn anchor_of(row: AttestationAnchorRow) -> Anchor {
    let AttestationAnchorRow { id, kind, name, root, created_by, created_at, .. } = row;
    Anchor { id, kind, name, root, created_by, created_at }
}
