//! A job as a person sees it: one bar over its devices, and how many stand where.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;

use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Format};

/// How the devices of a job can stand, in the order of their work, with the mark of each in a bar.
const STANDINGS: [(&str, char); 8] = [
    ("succeeded", '#'),
    ("failed", 'x'),
    ("timed_out", 'x'),
    ("rejected", 'x'),
    ("in_progress", '-'),
    ("queued", '.'),
    ("removed", ' '),
    ("canceled", ' '),
];
const WIDTH: u64 = 30;

pub(super) fn count(job: &Value, status: &str) -> u64 {
    job.pointer("/counts").and_then(|counts| counts.get(status)).and_then(Value::as_u64).unwrap_or(0)
}

/// A job as a person sees it: a bar over its devices, and the counts.
pub(super) fn text(job: &Value) -> String {
    let at = |at: &str| output::cell(job.pointer(at));
    let total: u64 = STANDINGS.iter().map(|(status, _)| count(job, status)).sum();
    let mut text = format!("{}  {}  {}\n", at("/id"), at("/status"), at("/selection"));
    text.push_str(&format!("[{}] {}/{total}\n", bar(job, total), count(job, "succeeded")));
    let counts = STANDINGS.iter().map(|(status, _)| (count(job, status), status)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, status)| format!("{count} {}", status.replace('_', " "))).collect();
    if !counts.is_empty() {
        text.push_str(&format!("{}\n", counts.join(", ")));
    }
    if let Some(reason) = job.get("reason_code").and_then(Value::as_str) {
        text.push_str(&format!("because: {}\n", output::cell(Some(&Value::from(reason)))));
    }
    text
}

fn bar(job: &Value, total: u64) -> String {
    let (mut done, mut filled, mut bar) = (0_u64, 0_u64, String::new());
    for (status, mark) in STANDINGS {
        done = done.saturating_add(count(job, status));
        let until = done.saturating_mul(WIDTH).checked_div(total).unwrap_or(0);
        let width = until.saturating_sub(filled);
        bar.extend(std::iter::repeat_n(mark, usize::try_from(width).unwrap_or(0)));
        filled = filled.max(until);
    }
    let rest = WIDTH.saturating_sub(filled);
    bar.extend(std::iter::repeat_n(' ', usize::try_from(rest).unwrap_or(0)));
    bar
}

/// Shows a job again and again: over itself on a terminal, a line for each change elsewhere.
pub(super) struct Live {
    format: Format,
    /// As JSON, each change and not the last alone.
    each: bool,
    terminal: bool,
    lines: Cell<usize>,
    last: RefCell<String>,
}

impl Live {
    pub(super) fn new(format: Format, each: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { format, each, terminal, lines: Cell::new(0), last: RefCell::new(String::new()) }
    }

    pub(super) fn show(&self, job: &Value) -> Result<(), Failure> {
        let picture = text(job);
        if picture == *self.last.borrow() {
            return Ok(());
        }
        match self.format {
            Format::Json if self.each => output::json_line(job)?,
            Format::Json => {}
            Format::Table if self.terminal => {
                let lines = self.lines.replace(picture.lines().count());
                // Up over the last picture, and clear to the end of the screen.
                let over = if lines > 0 { format!("\u{1b}[{lines}A\u{1b}[J") } else { String::new() };
                output::line(&format!("{over}{}", picture.trim_end()))?;
            }
            Format::Table => output::line(&summary(job))?,
        }
        self.last.replace(picture);
        Ok(())
    }

    /// The last word: for scripts the whole resource.
    pub(super) fn end(&self, job: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json if !self.each => output::json(job),
            Format::Json | Format::Table => Ok(()),
        }
    }
}

/// The picture in one line.
fn summary(job: &Value) -> String {
    text(job).lines().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_seen_at_a_glance() {
        let job = json!({
            "id": "reboot", "status": "in_progress", "selection": "snapshot", "reason_code": null,
            "counts": { "succeeded": 5, "failed": 1, "timed_out": 1, "in_progress": 1, "queued": 2, "canceled": 0 },
        });
        let expected = "reboot  in_progress  snapshot\n[###############xxxxxx---......] 5/10\n\
             5 succeeded, 1 failed, 1 timed out, 1 in progress, 2 queued\n";
        assert_eq!(text(&job), expected);
        assert!(!summary(&job).contains('\n') && summary(&job).ends_with("2 queued"));
        let empty = json!({ "id": "x", "status": "scheduled", "selection": "continuous", "counts": {} });
        assert_eq!(text(&empty), format!("x  scheduled  continuous\n[{}] 0/0\n", " ".repeat(30)));
    }
}
