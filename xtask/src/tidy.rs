//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy knows. It is also a test.
//!
//! One file per rule, each a function from the workspace to findings. An exception stands in a table beside its rule, with
//! its reason; an exception that is no longer needed is a finding itself. To add a rule: a file, and a row in [`RULES`].

mod budgets;
mod floors;
mod fuzz;
mod names;
mod papers;
mod prose;
mod source;
mod statements;

use crate::workspace::Workspace;

/// Something that breaks a rule: where (`path` or `path:line`) and what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) place: String,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(place: impl std::fmt::Display, what: impl Into<String>) -> Self {
        Self { place: place.to_string(), what: what.into() }
    }
}

type Rule = fn(&Workspace) -> anyhow::Result<Vec<Finding>>;

const RULES: &[(&str, Rule)] = &[
    ("floors", floors::check),
    ("budgets", budgets::check),
    ("names", names::check),
    ("prose", prose::check),
    ("statements", statements::check),
    ("papers", papers::check),
    ("fuzz", fuzz::check),
    ("limits", crate::limits::check),
];

/// Runs every rule; the error lists all that was found.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> anyhow::Result<Vec<String>> {
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let mut found = Vec::new();
    for (name, rule) in RULES.iter().filter(|(name, _)| wanted(name)) {
        found.extend(rule(workspace)?.into_iter().map(|f| format!("{}: {name}: {}", f.place, f.what)));
    }
    found.sort();
    anyhow::ensure!(found.is_empty(), "{}\ntidy: {} findings", found.join("\n"), found.len());
    Ok(vec![format!("tidy: {} rules hold", RULES.iter().filter(|(name, _)| wanted(name)).count())])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as it stands keeps every rule.
    #[test]
    fn the_house_is_tidy() {
        let workspace = Workspace::find().expect("the workspace that this test was built from");
        if let Err(findings) = run(&workspace, &[]) {
            panic!("{findings:#}");
        }
    }
}
