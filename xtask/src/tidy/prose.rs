//! What is written: no unfinished marks, no path of one machine, no test that is switched off, a head on every module.

use super::{Finding, source};
use crate::workspace::Workspace;

/// Kept in halves, so that this file does not find itself.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("TO", "DO", "finish it, or write an issue"),
    ("FIX", "ME", "finish it, or write an issue"),
    ("#[ign", "ore", "a test that does not run is no test"),
    ("/ro", "ot/", "a path of one machine"),
    ("/wo", "rk/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
    ("/Us", "ers/", "a path of one machine"),
];

/// A corpus is written anew by a test that is asked for by name.
const WRITERS: &[&str] = &["= \"writes files\"]"];

const ENDINGS: &[&str] = &[".rs", ".toml", ".md", ".sh", ".py", ".sql", ".ts", ".tsx", ".yml", ".yaml", "Makefile"];

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for ending in ENDINGS {
        for path in workspace.files(ending)? {
            found.extend(words(&path.to_string_lossy(), &workspace.read(&path)?));
        }
    }
    for source in source::production(workspace)? {
        found.extend(head(&source.path.to_string_lossy(), &source.production));
    }
    Ok(found)
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (first, second, why) in FORBIDDEN {
            let word = format!("{first}{second}");
            if stands(line, &word) && !WRITERS.iter().any(|writer| line.contains(writer)) {
                found.push(Finding::new(format!("{path}:{number}"), format!("`{word}`: {why}")));
            }
        }
    }
    found
}

/// Whether the word stands in the line by itself and not as part of a longer one.
fn stands(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '}' | '.'))
    })
}

fn head(path: &str, production: &str) -> Option<Finding> {
    let first = production.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    let documented = first.is_none_or(|line| line.starts_with("//!"));
    (!documented).then(|| Finding::new(path, "has no `//!` head: say what it is and what it refuses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_marks_and_machine_paths_are_found() {
        let mark = ["TO", "DO"].concat();
        let path = ["/ro", "ot/x"].concat();
        assert_eq!(words("a.rs", &format!("// {mark}: later\n")).len(), 1);
        assert_eq!(words("a.rs", &format!("cd {path}\n")).len(), 1);
        assert_eq!(words("a.rs", &format!("{{base}}{path}\nMETHO{mark}S")), vec![]);
    }

    #[test]
    fn a_module_begins_with_its_head() {
        assert_eq!(head("a.rs", "//! What it is.\n\nmod b;\n"), None);
        assert!(head("a.rs", "mod b;\n").is_some());
        assert_eq!(head("a.rs", ""), None);
    }
}
