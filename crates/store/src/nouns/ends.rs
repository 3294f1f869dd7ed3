//! What the journal says of sessions that ended, for the servers that did not end them.

use fleetward_base::DeviceId;

use super::Of;
use crate::sql::{Sql, from_row, params};
use crate::{StoreError, SystemTx};

/// Something in the journal that may have ended sessions. `xid` and `id` are where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRow {
    pub xid: i64,
    pub id: i64,
    pub action: String,
    pub device: Option<DeviceId>,
}

from_row!(EndedRow { xid: int, id: int, action: text, device: opt_id });

/// A place in the journal, as all tenants share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub xid: i64,
    pub id: i64,
}

from_row!(Place { xid: int, id: int });

/// What may end a session on a server that did not do it itself, change what it may, or what is said of a certificate.
macro_rules! ends {
    () => {
        "('attestation.overdue', 'attestation.verdict', 'ca.revoked', 'certificate.forgotten', 'certificate.retired', \
         'certificate.revoked', 'claim.revoked', 'deny_list.changed', 'device.decommissioned', 'device.revoked', \
         'device.status_changed', 'device.transferred', 'device.updated', 'factory_authority.revoked')"
    };
}

impl SystemTx {
    /// Where a follower begins that wants to hear of what ends from now on.
    pub async fn ends_head(&mut self) -> Result<Place, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "SELECT 0, coalesce(max(id), 0) FROM journal",
            postgres: "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) - 1, \
                 9223372036854775807",
        };
        self.across().await?.query_one(SQL, params![]).await
    }

    /// What may have ended sessions after `after`, in an order in which nothing is ever put in front of what was read.
    pub async fn ends_after(&mut self, after: Place, limit: u32) -> Result<Vec<Of<EndedRow>>, StoreError> {
        // across tenants: one follower hears of the ends of all.
        const SQL: Sql = Sql {
            sqlite: concat!(
                "SELECT tenant_id, $1, id, action, device FROM journal WHERE id > $2 AND action IN ",
                ends!(),
                " ORDER BY id LIMIT $3"
            ),
            postgres: concat!(
                "SELECT tenant_id, xid, id, action, device FROM journal WHERE (xid, id) > ($1, $2) \
                 AND xid < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AND action IN ",
                ends!(),
                " ORDER BY xid, id LIMIT $3"
            ),
        };
        self.across().await?.query(SQL, params![after.xid, after.id, limit]).await
    }
}
