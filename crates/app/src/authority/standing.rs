//! Where an authority stands: shown before it signs, signing, no longer signing, forgotten, revoked.

use fleetward_base::Timestamp;
use fleetward_pki::trust::Kind;
use fleetward_store::{AuthorityRow, AuthorityStandingRow, TenantTx};

use crate::error::Result;

/// It is shown and does not sign yet.
pub(crate) const NEXT: &str = "next";
/// It signs. So does one of which nothing is said.
pub(crate) const CURRENT: &str = "current";
/// It signs no more; what it signed counts.
pub(crate) const RETIRING: &str = "retiring";
/// It vouches for nothing any more.
pub(crate) const RETIRED: &str = "retired";

/// It vouches for nothing, and its parent says so in its list.
pub(crate) const REVOKED: &str = "revoked";

/// Whether one that stands so vouches for nothing any more.
pub(crate) fn is_over(standing: &str) -> bool {
    matches!(standing, RETIRED | REVOKED)
}

/// Where the authority with this fingerprint stands.
pub(crate) fn standing_of<'a>(standings: &'a [AuthorityStandingRow], fingerprint: &str) -> &'a str {
    let row = standings.iter().find(|row| row.fingerprint == fingerprint);
    row.map_or(CURRENT, |row| row.standing.as_str())
}

pub(crate) async fn put(tx: &mut TenantTx, fingerprint: &str, standing: &str, since: Timestamp) -> Result<()> {
    let row = AuthorityStandingRow { fingerprint: fingerprint.to_owned(), standing: standing.to_owned(), since };
    tx.put_authority_standing(&row).await?;
    Ok(())
}

/// Those of one kind that stand so, the oldest first. Two servers that start at the same moment on an empty database may
/// each make one, and both settle on the same.
pub(crate) async fn with_standing(tx: &mut TenantTx, kind: &str, standing: &str) -> Result<Vec<AuthorityRow>> {
    let standings = tx.authority_standings().await?;
    let rows = tx.authorities().await?.into_iter();
    let mut rows: Vec<AuthorityRow> =
        rows.filter(|row| row.kind == kind && standing_of(&standings, &row.fingerprint) == standing).collect();
    rows.sort_by(|one, other| (one.created_at, &one.fingerprint).cmp(&(other.created_at, &other.fingerprint)));
    Ok(rows)
}

/// What an authority that stands so vouches for; `None` where for no device.
pub(crate) fn vouches_as(row: &AuthorityRow, standing: &str) -> Option<Kind> {
    match row.kind.as_str() {
        _ if is_over(standing) => None,
        super::ISSUING | super::EXTERNAL => Some(Kind::Issuing),
        super::FACTORY => Some(Kind::Factory),
        _ => None,
    }
}
