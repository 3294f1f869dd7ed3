//! Repeating an answer until somebody stops it.

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use crate::client::pause;
use crate::failure::Failure;
use crate::output;

pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Runs `show` once, or again and again on a cleared screen.
pub(super) async fn repeat<F: Future<Output = Result<(), Failure>>>(
    watch: bool,
    show: impl Fn() -> F,
) -> Result<(), Failure> {
    loop {
        if watch && std::io::stdout().is_terminal() {
            output::line("\u{1b}[2J\u{1b}[H")?;
        }
        show().await?;
        if !watch {
            return Ok(());
        }
        pause(EVERY).await;
    }
}
