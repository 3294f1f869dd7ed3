//! Counts for the metrics page. They read whole tables: for once a scrape, not for a request.

use fleetward_base::TenantId;

use crate::sql::{Cells, FromRow, params};
use crate::{StoreError, SystemTx};

/// How many rows of a tenant are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub tenant: Option<TenantId>,
    pub state: String,
    pub count: u64,
}

impl FromRow for Tally {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        Ok(Self { tenant: cells.tenant()?, state: cells.text()?, count: cells.count()? })
    }
}

impl SystemTx {
    /// Devices by tenant and status.
    pub async fn tally_devices(&mut self) -> Result<Vec<Tally>, StoreError> {
        const SQL: &str = "SELECT tenant_id, status, count(*) FROM device GROUP BY tenant_id, status \
             ORDER BY tenant_id, status";
        self.across().await?.query(SQL, params![]).await
    }

    /// Deployments by tenant and status.
    pub async fn tally_deployments(&mut self) -> Result<Vec<Tally>, StoreError> {
        const SQL: &str = "SELECT tenant_id, status, count(*) FROM deployment GROUP BY tenant_id, status \
             ORDER BY tenant_id, status";
        self.across().await?.query(SQL, params![]).await
    }

    /// Rollouts by tenant and state.
    pub async fn tally_rollouts(&mut self) -> Result<Vec<Tally>, StoreError> {
        const SQL: &str = "SELECT tenant_id, state, count(*) FROM rollout GROUP BY tenant_id, state \
             ORDER BY tenant_id, state";
        self.across().await?.query(SQL, params![]).await
    }
}
