//! What people see: the rollouts as bars that move, or plain lines where there is no terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use super::cast::Tenant;
use crate::json::{at, count};

const WIDTH: u64 = 32;
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// One tenant's part of the picture.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) online: usize,
    pub(super) members: usize,
    /// As the API shows it; `null` before there is one.
    pub(super) rollout: Value,
}

impl Scene {
    pub(super) fn new(tenant: &Tenant, online: usize, rollout: Value) -> Self {
        let title = format!("{} ({})", tenant.display_name, tenant.id);
        Self { title, online, members: tenant.members().count(), rollout }
    }
}

/// Draws over its own last picture on a terminal.
pub(super) struct View {
    /// Standard output belongs to the report.
    to_stderr: bool,
    terminal: bool,
    drawn: usize,
    said: BTreeMap<String, String>,
}

impl View {
    pub(super) fn new(to_stderr: bool) -> Self {
        let terminal = if to_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { to_stderr, terminal, drawn: 0, said: BTreeMap::new() }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        let clear = self.clear();
        self.drawn = 0;
        self.write(&format!("{clear}{text}\n"));
    }

    /// How far something is, over itself on a terminal; elsewhere only its end.
    pub(super) fn progress(&mut self, what: &str, done: usize, total: usize) {
        if self.terminal {
            self.draw(&format!("{what}: {done} of {total}\n"));
        } else if done == total {
            self.say(&format!("{what}: {total}"));
        }
    }

    /// The rollouts as they are now.
    pub(super) fn show(&mut self, scenes: &[Scene]) {
        if self.terminal {
            let picture: String = scenes.iter().map(|scene| picture(scene, true)).collect();
            return self.draw(&picture);
        }
        for scene in scenes.iter().filter(|scene| !scene.rollout.is_null()) {
            let line = sentence(scene);
            if self.said.get(&scene.title) != Some(&line) {
                self.write(&format!("{line}\n"));
                self.said.insert(scene.title.clone(), line);
            }
        }
    }

    /// The last picture, to stay.
    pub(super) fn keep(&mut self) {
        self.drawn = 0;
    }

    fn draw(&mut self, picture: &str) {
        let clear = self.clear();
        self.drawn = picture.lines().count();
        self.write(&format!("{clear}{picture}"));
    }

    fn clear(&self) -> String {
        // Up over the last picture, and clear to the end of the screen.
        if self.drawn > 0 { format!("\u{1b}[{}A\u{1b}[J", self.drawn) } else { String::new() }
    }

    fn write(&self, text: &str) {
        // Nobody may be reading any more; the story goes on.
        let _lost = if self.to_stderr {
            let mut out = std::io::stderr().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }
}

fn paint(colour: &str, text: &str, colours: bool) -> String {
    if colours && !text.is_empty() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
}

fn picture(scene: &Scene, colours: bool) -> String {
    let state = at(&scene.rollout, "/state").as_str().unwrap_or("no rollout yet");
    let colour = match state {
        "finished" => GREEN,
        "paused" => RED,
        _ => YELLOW,
    };
    let title = paint(BOLD, &scene.title, colours);
    let state = paint(colour, &state.replace('_', " "), colours);
    let mut out = format!("\n{title}  {} of {} online  {state}\n", scene.online, scene.members);
    let current = count(&scene.rollout, "/phase");
    for (index, phase) in (0..).zip(at(&scene.rollout, "/phases").as_array().into_iter().flatten()) {
        writeln!(out, "{}", bar(phase, index, current, colours)).expect("writing to a string cannot fail");
    }
    if let Some(reason) = at(&scene.rollout, "/pause/text").as_str() {
        writeln!(out, "  {}", paint(RED, &printable(reason), colours)).expect("writing to a string cannot fail");
    }
    out
}

/// One phase: what succeeded, what failed, what is under way, of what the phase may reach.
fn bar(phase: &Value, index: u64, current: u64, colours: bool) -> String {
    let quota = count(phase, "/quota").max(1);
    let (good, bad) = (count(phase, "/succeeded"), count(phase, "/failed"));
    let open = count(phase, "/queued") + count(phase, "/in_progress");
    let share = |number: u64| (number * WIDTH / quota).min(WIDTH);
    // Counts are cumulative and phases to come share them: a phase that has not begun is empty.
    let (good, bad, open) = if index > current { (0, 0, 0) } else { (good, bad, open) };
    let good_width = share(good);
    // A single failure is seen however many devices there are; what is rounded is rounded for all together.
    let bad_end = share(good + bad).max(good_width + u64::from(bad > 0)).min(WIDTH);
    let open_end = share(good + bad + open).max(bad_end);
    let (bad_width, open_width, rest_width) = (bad_end - good_width, open_end - bad_end, WIDTH - open_end);
    let drawn = [("█", GREEN, good_width), ("█", RED, bad_width), ("▒", YELLOW, open_width), ("·", PLAIN, rest_width)]
        .map(|(mark, colour, width)| paint(colour, &mark.repeat(usize::try_from(width).unwrap_or(0)), colours))
        .concat();
    let target = match (at(phase, "/target/count").as_u64(), at(phase, "/target/percent").as_u64()) {
        (Some(count), _) => format!("canary {count}"),
        (_, Some(percent)) => format!("{percent} %"),
        _ => String::new(),
    };
    let failed = if bad > 0 { format!(", {bad} failed") } else { String::new() };
    format!("  {target:>9} {drawn} {good} of {quota}{failed}")
}

fn sentence(scene: &Scene) -> String {
    let rollout = &scene.rollout;
    let mut line = format!(
        "{}: {}, phase {} of {}: {} succeeded, {} failed, {} of {} online",
        scene.title,
        at(rollout, "/state").as_str().unwrap_or_default().replace('_', " "),
        count(rollout, "/phase") + 1,
        at(rollout, "/phases").as_array().map_or(0, Vec::len),
        count(rollout, "/counts/succeeded"),
        count(rollout, "/counts/failed"),
        scene.online,
        scene.members,
    );
    if let Some(reason) = at(rollout, "/pause/text").as_str() {
        write!(line, ". {}", printable(reason)).expect("writing to a string cannot fail");
    }
    line
}

/// Names may come from devices: nothing of them steers the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scene() -> Scene {
        let phase = |target: Value, quota: u32| json!({ "target": target, "quota": quota, "succeeded": 2, "failed": 1, "queued": 0, "in_progress": 1 });
        Scene {
            title: "Borealis Power (borealis)".into(),
            online: 9,
            members: 10,
            rollout: json!({
                "state": "paused", "phase": 0, "counts": { "succeeded": 2, "failed": 1 },
                "phases": [phase(json!({ "count": 4 }), 4), phase(json!({ "percent": 100 }), 10)],
                "pause": { "text": "hardware b-2 (1 of 1 failed).\u{1b}[2J" },
            }),
        }
    }

    #[test]
    fn a_picture() {
        let expected = "\nBorealis Power (borealis)  9 of 10 online  paused\n".to_owned()
            + &format!("   canary 4 {}{}{} 2 of 4, 1 failed\n", "█".repeat(16), "█".repeat(8), "▒".repeat(8))
            + &format!("      100 % {} 0 of 10\n", "·".repeat(32))
            + "  hardware b-2 (1 of 1 failed).[2J\n";
        assert_eq!(picture(&scene(), false), expected);
    }

    #[test]
    fn a_line() {
        let line = sentence(&scene());
        assert_eq!(
            line,
            "Borealis Power (borealis): paused, phase 1 of 2: 2 succeeded, 1 failed, 9 of 10 online. hardware b-2 (1 of 1 failed).[2J"
        );
    }
}
