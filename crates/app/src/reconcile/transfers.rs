//! Devices on their way to another tenant that have not said in time that they have wiped themselves.

use crate::App;
use crate::error::Result;
use crate::transfers;

pub use crate::transfers::OverdueStatus as TransfersStatus;

/// One look: each such device is handed over, or told of once, as the giving tenant's rule says.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<TransfersStatus> {
    transfers::look_at_overdue(app).await
}
