//! What vouches for an endorsement key: the tenant's list, the manufacturing database, or a root of its maker. Which of them
//! counts is decided by `core::attestation::endorsement`; here it is looked up.
//!
//! A key that the database vouches for has no anchor of its own: what is kept is where it is written,
//! [`INVENTORY`]`SERIAL`, and each piece of evidence asks whether it is still written there.

use fleetward_attest::tpm::{Public, endorsement};
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::attestation::RootOfTrust;
use fleetward_core::attestation::endorsement::{Endorsements, Voucher, Written, endorsed};
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_store::{AttestationAnchorRow, InventoryRow, TenantTx};

use super::Endorsement;
use super::anchors::AnchorKind;
use crate::App;
use crate::error::{Error, Result};

/// How the anchor of a key begins that is written down in the manufacturing database.
const INVENTORY: &str = "inventory:";

/// What vouches for a key.
pub(super) struct Vouched {
    pub(super) anchor: String,
    /// What the key's hardware is.
    pub(super) root: String,
}

/// What is configured and written of a key.
struct Known {
    listed: Option<AttestationAnchorRow>,
    roots: Vec<AttestationAnchorRow>,
    row: Option<InventoryRow>,
    written: Written,
}

/// What vouches for the endorsement key that a device shows.
///
/// # Errors
/// `Untrusted` (`endorsement`) where nothing does that the tenant's policy takes, or the database says otherwise.
pub(super) async fn vouched(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    policy: &IdentityPolicy,
    (key, identity): (&Public, &str),
    shown: &Endorsement,
) -> Result<Vouched> {
    let known = known(app, tenant, device, policy, identity).await?;
    let root = root_above(app, key, shown, &known.roots);
    let found = Endorsements { listed: known.listed.is_some(), written: known.written, chain: root.is_ok() };
    let voucher = match endorsed(policy.attestation.endorsement, found) {
        Ok(voucher) => voucher,
        // Why its chain leads nowhere helps more than that it has none.
        Err(no) => {
            let chain = root.err().flatten().filter(|_| known.written != Written::Other);
            return Err(Error::untrusted("endorsement", chain.unwrap_or_else(|| no.to_string())));
        }
    };
    let anchor = match voucher {
        Voucher::Listed => known.listed,
        Voucher::Chain => root.ok(),
        Voucher::Inventory => {
            let row = known.row.ok_or_else(|| Error::internal("written, and there is no row"))?;
            let (anchor, root) = (format!("{INVENTORY}{}", row.serial), RootOfTrust::Tpm2.to_string());
            return Ok(Vouched { anchor, root });
        }
    };
    let row = anchor.ok_or_else(|| Error::internal("an anchor without a row"))?;
    Ok(Vouched { anchor: row.id, root: row.root })
}

async fn known(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    policy: &IdentityPolicy,
    identity: &str,
) -> Result<Known> {
    let (device, identity) = (device.clone(), identity.to_owned());
    let attested = policy.enrolment.require_attested_inventory;
    app.read(tenant, "tpm anchors", move |tx| {
        Box::pin(async move {
            let listed = tx.attestation_anchor(&identity).await?;
            let listed = listed.filter(|entry| entry.kind == AnchorKind::EndorsementKey.as_str());
            let kind = AnchorKind::TpmRoot.as_str();
            let roots = tx.attestation_anchors(Some(kind), None, limits::ATTESTATION_ANCHORS).await?;
            let row = tx.inventory_by_device(&device).await?;
            let written = written(tx, &device, row.as_ref(), &identity, attested).await?;
            Ok(Known { listed, roots, row, written })
        })
    })
    .await
}

/// What the database says of the device and the key. A row without its maker's signature says nothing good where policy
/// wants one; what it says against a device counts all the same.
async fn written(
    tx: &mut TenantTx,
    device: &DeviceId,
    row: Option<&InventoryRow>,
    identity: &str,
    attested: bool,
) -> Result<Written> {
    if let Some(key) = row.and_then(|row| row.ek_hash.as_deref()) {
        let signed = !attested || row.is_some_and(|row| row.attested_by.is_some());
        return Ok(match key == identity {
            true if signed => Written::Same,
            true => Written::Nothing,
            false => Written::Other,
        });
    }
    let others = tx.inventory_with_endorsement(identity, device, 1).await?;
    Ok(if others.is_empty() { Written::Nothing } else { Written::Other })
}

/// The root that the key's certificate leads to; where it leads to none why, or nothing where there is no certificate.
fn root_above(
    app: &App,
    key: &Public,
    shown: &Endorsement,
    roots: &[AttestationAnchorRow],
) -> std::result::Result<AttestationAnchorRow, Option<String>> {
    let certificate = shown.certificate.as_ref().ok_or(None)?;
    let ders: Vec<Vec<u8>> = roots.iter().map(|root| root.value.clone()).collect();
    let found = endorsement::verify(key, certificate, &shown.chain, &ders, app.now());
    let found = found.map_err(|bad| Some(bad.to_string()))?;
    roots.iter().find(|root| root.id == found).cloned().ok_or(None)
}

/// What evidence stands on, if that still vouches for it: the anchor is there, and its kind counts by the policy of now.
///
/// # Errors
/// `Untrusted` (`anchor`).
pub(super) async fn root_of(
    tx: &mut TenantTx,
    policy: &IdentityPolicy,
    device: &DeviceId,
    anchor: &str,
    identity: &str,
) -> Result<RootOfTrust> {
    let gone = || Error::untrusted("anchor", "what vouched for the evidence was removed");
    let (voucher, root) = if anchor.starts_with(INVENTORY) {
        let row = tx.inventory_by_device(device).await?;
        let signed = |row: &InventoryRow| !policy.enrolment.require_attested_inventory || row.attested_by.is_some();
        row.filter(|row| row.ek_hash.as_deref() == Some(identity) && signed(row)).ok_or_else(gone)?;
        (Some(Voucher::Inventory), RootOfTrust::Tpm2)
    } else {
        let row = tx.attestation_anchor(anchor).await?.ok_or_else(gone)?;
        let voucher = match row.kind.parse() {
            Ok(AnchorKind::TpmRoot) => Some(Voucher::Chain),
            Ok(AnchorKind::EndorsementKey) => Some(Voucher::Listed),
            // Of tokens and of DICE there is no endorsement key.
            Ok(AnchorKind::TokenKey | AnchorKind::DiceRoot) | Err(()) => None,
        };
        (voucher, row.root.parse().map_err(Error::internal)?)
    };
    if voucher.is_some_and(|voucher| !policy.attestation.endorsement.takes(voucher)) {
        return Err(Error::untrusted("anchor", "what vouched for the endorsement key does not count any more"));
    }
    Ok(root)
}
