//! Progress of a benchmark on standard error, where that is a terminal; nothing otherwise.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps.
pub(crate) fn bar(what: &str, total: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{msg:28} {bar:40} {pos}/{len} {per_sec}").expect("the template is right");
    bar.set_style(style);
    bar.set_message(what.to_owned());
    bar
}

/// A moving sign for a stretch whose length is known by the clock only.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(ProgressStyle::with_template("{msg:28} {spinner} {elapsed}").expect("the template is right"));
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}
