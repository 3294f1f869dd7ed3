//! Shadows: their histories are thinned out, and what is retained for the light mode is made what the database says.

use crate::App;
use crate::error::Result;
use crate::shadow::{history, light};

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowsStatus {
    /// Changes that are told apart no longer.
    pub forgotten: u64,
    /// Retained messages that were not what the database says.
    pub restored: u64,
}

/// Thins out what grew most lately.
///
/// # Errors
/// What the store cannot do.
pub async fn thin_out(app: &App) -> Result<ShadowsStatus> {
    Ok(ShadowsStatus { forgotten: history::thin_out_grown(app).await?, ..ShadowsStatus::default() })
}

/// Goes on with the walks over all histories and all that is retained.
///
/// # Errors
/// Where the store does not say which tenants there are.
pub async fn walk(app: &App) -> Result<ShadowsStatus> {
    Ok(ShadowsStatus { forgotten: history::walk(app).await?, restored: light::walk(app).await? })
}
