//! A rehearsal as people read it: what would happen, who would be stranded, and how long it takes.

use serde_json::{Value, json};

use crate::output::{Column, cell, table};

/// Stranded devices that are listed; `-o json` has more.
const LISTED: usize = 20;
const STRANDED: [Column; 3] = [("STRANDED", "/device"), ("WHY", "/why"), ("LAST SEEN", "/last_seen")];
const GROUPS: [Column; 3] = [("GROUP", "/by"), ("NAME", "/name"), ("DEVICES", "/devices")];
const FATES: [Column; 2] = [("AFTERWARDS", "/fate"), ("DEVICES", "/devices")];
const STEPS: [Column; 3] = [("REHEARSED", "/name"), ("ITEMS", "/items"), ("TOOK", "/took")];
const AUTHORITIES: [Column; 4] =
    [("AUTHORITY", "/fingerprint"), ("STANDING", "/standing"), ("SIGNS", "/signs"), ("SUCCESSORS", "/successors")];
const ROLLOUTS: [Column; 9] = [
    ("ROLLOUT", "/name"),
    ("STATE", "/state"),
    ("BACK", "/devices"),
    ("OTHER SLOT", "/other_slot"),
    ("FULL IMAGE", "/full_image"),
    ("OFFLINE", "/offline"),
    ("CANCELED", "/canceled"),
    ("UNDER WAY", "/under_way"),
    ("REFUSED", "/refused"),
];

pub(super) fn text(report: &Value, command: &str) -> String {
    let number = |at: &str| report.pointer(at).and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!("{} of {}\n\n", cell(report.get("scenario")), cell(report.get("target")));
    let mut line = |label: &str, value: String| text.push_str(&format!("{label:<22}{value}\n"));
    line("devices", number("/devices/count").to_string());
    if number("/certificates/count") > 0 {
        line("certificates", number("/certificates/count").to_string());
    }
    line("sessions ended here", number("/sessions/count").to_string());
    line("connected, anywhere", number("/online").to_string());
    let lists = report.get("lists").and_then(Value::as_array).map_or(0, Vec::len);
    line("lists signed anew", lists.to_string());
    line("OCSP answers dropped", number("/answers").to_string());
    if report.get("due_at").is_some_and(Value::is_string) {
        line("replaced by", cell(report.get("due_at")));
    }
    let takes = report.get("takes_ms").and_then(Value::as_u64).map_or_else(|| "unknown".to_owned(), span);
    line("takes", format!("{takes} ({})", cell(report.get("pace"))));
    line("stranded", number("/stranded/count").to_string());
    if report.get("permitted") == Some(&Value::Bool(false)) {
        line("permitted", "no: this token may not give the command".to_owned());
    }
    line("command", command.to_owned());
    let fates: Vec<Value> = report.get("fates").and_then(Value::as_object).map_or_else(Vec::new, |fates| {
        fates.iter().map(|(fate, devices)| json!({ "fate": fate, "devices": devices })).collect()
    });
    let steps: Vec<Value> = rows(report, "/steps").iter().map(timed).collect();
    for (rows, columns) in [
        (fates, &FATES[..]),
        (rows(report, "/rollouts"), &ROLLOUTS[..]),
        (rows(report, "/authorities"), &AUTHORITIES[..]),
        (rows(report, "/groups"), &GROUPS[..]),
        (rows(report, "/stranded/first").into_iter().take(LISTED).collect(), &STRANDED[..]),
        (steps, &STEPS[..]),
    ] {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&table(&rows, columns));
        }
    }
    text
}

fn rows(report: &Value, at: &str) -> Vec<Value> {
    report.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn timed(step: &Value) -> Value {
    let micros = step.get("took_us").and_then(Value::as_u64).unwrap_or(0);
    let took = format!("{}.{:03} ms", micros / 1000, micros % 1000);
    json!({ "name": step.get("name"), "items": step.get("items"), "took": took })
}

/// Milliseconds as people say them.
fn span(millis: u64) -> String {
    let secs = millis / 1000;
    match secs {
        0 => format!("{millis} ms"),
        1..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_read() {
        let report = json!({
            "scenario": "key-compromise", "target": "device gw-1", "permitted": false,
            "devices": {"count": 1}, "certificates": {"count": 2}, "sessions": {"count": 1}, "online": 1,
            "lists": [{"authority": "aa", "shard": ""}], "answers": 3, "takes_ms": 130_000, "pace": "measured",
            "fates": {"stranded:no_way": 1}, "stranded": {"count": 1, "first": [{"device": "gw-1", "why": "no_way"}]},
            "steps": [{"name": "devices met", "items": 1, "took_us": 1042}],
        });
        let text = text(&report, "wardctl revoke device gw-1");
        for part in [
            "key-compromise of device gw-1\n",
            "certificates          2\n",
            "takes                 2 min (measured)\n",
            "permitted             no",
            "command               wardctl revoke device gw-1\n",
            "stranded:no_way  1\n",
            "gw-1      no_way  -\n",
            "devices met  1      1.042 ms\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn spans() {
        for (millis, said) in [(0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (130_000, "2 min"), (7_200_000, "2 h")] {
            assert_eq!(span(millis), said);
        }
    }
}
