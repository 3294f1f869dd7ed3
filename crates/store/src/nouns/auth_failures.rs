//! Refused authentications, counted by the hour.

use fleetward_base::Timestamp;

use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

/// How often within one hour somebody was refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFailureRow {
    /// When the hour began.
    pub hour: Timestamp,
    pub cause: String,
    /// Whose credential was shown.
    pub issuer: String,
    /// Where it came from.
    pub region: String,
    pub count: u64,
}

from_row!(AuthFailureRow { hour: time, cause: text, issuer: text, region: text, count: count });

impl TenantTx {
    /// Adds to what was counted of the same hour, cause, issuer and region.
    pub async fn add_auth_failures(&mut self, row: &AuthFailureRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO auth_failure (tenant_id, hour, cause, issuer, region, count) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, hour, cause, issuer, region) \
             DO UPDATE SET count = auth_failure.count + excluded.count";
        let params = params![self.scope.key(), row.hour, &row.cause, &row.issuer, &row.region, row.count];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// What was counted in the hours from `since` on, the newest hour first, by cause, issuer and region within it; `after` is
    /// the last one seen.
    pub async fn auth_failures(
        &mut self,
        since: Timestamp,
        after: Option<&AuthFailureRow>,
        limit: u32,
    ) -> Result<Vec<AuthFailureRow>, StoreError> {
        const SQL: &str = "SELECT hour, cause, issuer, region, count FROM auth_failure \
             WHERE tenant_id = $1 AND hour >= $2 AND hour <= $3 \
             AND (hour < $3 OR (cause, issuer, region) > ($4, $5, $6)) \
             ORDER BY hour DESC, cause, issuer, region LIMIT $7";
        let last = after.map_or(Timestamp::from_millis(i64::MAX), |row| row.hour);
        let text = |field: fn(&AuthFailureRow) -> &str| after.map_or("", field);
        let params = params![
            self.scope.key(),
            since,
            last,
            text(|row| &row.cause),
            text(|row| &row.issuer),
            text(|row| &row.region),
            limit
        ];
        self.conn.query(SQL, params).await
    }

    /// Forgets the hours before `before`; how many lines.
    pub async fn forget_auth_failures(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM auth_failure WHERE tenant_id = $1 AND hour < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}
