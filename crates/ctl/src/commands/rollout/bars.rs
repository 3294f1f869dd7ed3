//! A rollout as a person sees it: one bar for each phase, counts, and the reason where it stands still.

use std::cell::Cell;
use std::io::IsTerminal;

use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Format};

const WIDTH: u64 = 30;

fn number(value: &Value, at: &str) -> u64 {
    value.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

fn text_at(value: &Value, at: &str) -> String {
    output::cell(value.pointer(at))
}

/// The whole picture.
pub(super) fn text(rollout: &Value) -> String {
    let mut text = format!(
        "{}  {}@{}  {}\nid {}\n",
        text_at(rollout, "/name"),
        text_at(rollout, "/release/name"),
        text_at(rollout, "/release/version"),
        text_at(rollout, "/state"),
        text_at(rollout, "/id"),
    );
    let current = number(rollout, "/phase");
    for (index, phase) in (0..).zip(rollout.get("phases").and_then(Value::as_array).into_iter().flatten()) {
        text.push_str(&phase_line(index, current, phase));
    }
    let counts: Vec<String> = rollout
        .get("counts")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(status, count)| format!("{count} {}", status.replace('_', " ")))
        .collect();
    text.push_str(&format!("of {} devices: {}\n", number(rollout, "/target_count"), counts.join(", ")));
    for cohort in rollout.get("hardware").and_then(Value::as_array).into_iter().flatten() {
        let failed = number(cohort, "/failed");
        if failed > 0 {
            let (hardware, succeeded) = (text_at(cohort, "/hardware"), number(cohort, "/succeeded"));
            text.push_str(&format!("hardware {hardware}: {failed} failed, {succeeded} succeeded\n"));
        }
    }
    if let Some(reason) = rollout.pointer("/pause/text").and_then(Value::as_str) {
        text.push_str(&format!("paused: {}\n", output::cell(Some(&Value::from(reason)))));
    }
    text
}

fn phase_line(index: u64, current: u64, phase: &Value) -> String {
    let quota = number(phase, "/quota").max(1);
    let share = |count: u64| (count.saturating_mul(WIDTH) / quota).min(WIDTH);
    let (good, bad) = (number(phase, "/succeeded"), number(phase, "/failed"));
    let open = number(phase, "/queued").saturating_add(number(phase, "/in_progress"));
    let good_width = share(good);
    // A single failure is seen however many devices there are.
    let bad_width = if bad > 0 { share(bad).max(1) } else { 0 }.min(WIDTH - good_width);
    let open_width = share(open).min(WIDTH - good_width - bad_width);
    let rest = WIDTH - good_width - bad_width - open_width;
    let bar: String =
        [('#', good_width), ('x', bad_width), ('-', open_width), (' ', rest)].into_iter().flat_map(repeated).collect();
    let target = match (phase.pointer("/target/count"), phase.pointer("/target/percent")) {
        (Some(count), _) => count.to_string(),
        (_, Some(percent)) => format!("{percent}%"),
        _ => String::new(),
    };
    let mark = if index == current { '>' } else { ' ' };
    format!(
        "{mark} {target:>5} [{bar}] {good}/{quota}{}\n",
        if bad > 0 { format!(" {bad} failed") } else { String::new() }
    )
}

fn repeated((mark, times): (char, u64)) -> impl Iterator<Item = char> {
    std::iter::repeat_n(mark, usize::try_from(times).unwrap_or(0))
}

/// One sentence about where it stands.
pub(super) fn standing(rollout: &Value) -> String {
    let state = text_at(rollout, "/state");
    match rollout.pointer("/pause/text").and_then(Value::as_str) {
        Some(reason) if state == "paused" => format!("the rollout is paused: {reason}"),
        _ => format!("the rollout is {}", state.replace('_', " ")),
    }
}

/// Shows a rollout again and again: over itself on a terminal, a line for each change elsewhere.
pub(super) struct Live {
    format: Format,
    terminal: bool,
    lines: Cell<usize>,
    last: Cell<Option<String>>,
}

impl Live {
    pub(super) fn new(format: Format) -> Self {
        Self { format, terminal: std::io::stdout().is_terminal(), lines: Cell::new(0), last: Cell::new(None) }
    }

    pub(super) fn show(&self, rollout: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table if self.terminal => {
                let picture = text(rollout);
                let lines = self.lines.replace(picture.lines().count());
                // Up over the last picture, and clear to the end of the screen.
                let over = if lines > 0 { format!("\u{1b}[{lines}A\u{1b}[J") } else { String::new() };
                output::line(&format!("{over}{}", picture.trim_end()))
            }
            Format::Table => {
                let line = summary(rollout);
                let seen = self.last.replace(Some(line.clone()));
                if seen.as_ref() == Some(&line) { Ok(()) } else { output::line(&line) }
            }
        }
    }

    /// The last word: for scripts the whole resource.
    pub(super) fn end(&self, rollout: &Value) -> Result<(), Failure> {
        if self.format == Format::Json { output::json(rollout) } else { Ok(()) }
    }
}

fn summary(rollout: &Value) -> String {
    let phases = rollout.get("phases").and_then(Value::as_array).map_or(0, Vec::len);
    let mut text = format!(
        "{} phase {}/{phases}: {} of {} succeeded, {} failed",
        text_at(rollout, "/state"),
        number(rollout, "/phase").saturating_add(1),
        number(rollout, "/counts/succeeded"),
        number(rollout, "/target_count"),
        number(rollout, "/counts/failed"),
    );
    if let Some(reason) = rollout.pointer("/pause/text").and_then(Value::as_str) {
        text.push_str(&format!(": {reason}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_picture_says_where_it_stands_and_why() {
        let rollout = json!({
            "id": "R", "name": "os", "release": {"name": "os", "version": "2.0"}, "state": "paused", "phase": 1,
            "target_count": 100,
            "phases": [
                {"target": {"count": 3}, "quota": 3, "succeeded": 3},
                {"target": {"percent": 50}, "quota": 50, "succeeded": 20, "failed": 1, "in_progress": 5},
            ],
            "counts": {"queued": 0, "succeeded": 23, "failed": 1, "in_progress": 5},
            "hardware": [{"hardware": "rev-c", "failed": 1, "succeeded": 0}],
            "pause": {"text": "1 of 21 updates failed"},
        });
        let expected = "\
os  os@2.0  paused
id R
      3 [##############################] 3/3
>   50% [############x---              ] 20/50 1 failed
of 100 devices: 1 failed, 5 in progress, 23 succeeded
hardware rev-c: 1 failed, 0 succeeded
paused: 1 of 21 updates failed
";
        assert_eq!(text(&rollout), expected);
        assert_eq!(standing(&rollout), "the rollout is paused: 1 of 21 updates failed");
    }
}
