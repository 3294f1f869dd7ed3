//! What was expected of the story and what was seen.

use std::fmt::Write as _;

use serde::Serialize;

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Expectation {
    pub(super) name: String,
    pub(super) expected: String,
    pub(super) seen: String,
    pub(super) ok: bool,
}

/// The outcome of the demo.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) expectations: Vec<Expectation>,
    pub(super) seconds: f64,
    /// Connections that simulated devices lost or could not make; each was tried again.
    pub(super) troubles: Vec<String>,
}

/// Collects expectations.
#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Expectation>);

impl Ledger {
    /// Expects two values to be the same.
    pub(super) fn same<T: std::fmt::Display + PartialEq>(&mut self, name: &str, expected: T, seen: T) {
        let ok = expected == seen;
        self.note(name, expected, seen, ok);
    }

    /// Notes what was seen beside the words for what was expected.
    pub(super) fn note(&mut self, name: &str, expected: impl ToString, seen: impl ToString, ok: bool) {
        let (expected, seen) = (expected.to_string(), seen.to_string());
        self.0.push(Expectation { name: name.to_owned(), expected, seen, ok });
    }

    pub(super) fn report(self, seconds: f64, troubles: Vec<String>) -> Report {
        Report { ok: !self.0.is_empty() && self.0.iter().all(|one| one.ok), expectations: self.0, seconds, troubles }
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut out = String::from("\n");
        for one in &self.expectations {
            let mark = if one.ok { "ok  " } else { "FAIL" };
            let seen = if one.ok { one.seen.clone() } else { format!("{} (expected {})", one.seen, one.expected) };
            writeln!(out, "{mark}  {}: {seen}", one.name).expect("writing to a string cannot fail");
        }
        let bad = self.expectations.iter().filter(|one| !one.ok).count();
        let verdict = if self.ok { "Everything as expected".to_owned() } else { format!("{bad} not as expected") };
        write!(out, "{verdict}, in {:.0} s.", self.seconds).expect("writing to a string cannot fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_expectation_spoils_the_report() {
        let mut ledger = Ledger::default();
        ledger.same("devices", 3, 3);
        assert!(Ledger(ledger.0.clone()).report(1.0, Vec::new()).ok);
        ledger.note("state", "paused", "running", false);
        let report = ledger.report(1.0, Vec::new());
        assert!(!report.ok);
        assert!(report.text().contains("FAIL  state: running (expected paused)"));
        assert!(serde_json::to_string(&report).expect("JSON").starts_with(r#"{"ok":false,"expectations":[{"name":"#));
        assert!(!Ledger::default().report(0.0, Vec::new()).ok, "nothing seen is nothing proven");
    }
}
