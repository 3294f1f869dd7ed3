//! Every method of the store stands in its contract suite, which is what keeps both databases equal.

use std::path::Path;

use super::{Finding, source};
use crate::workspace::Workspace;

const METHODS: &str = "crates/store/src/nouns";
const SUITE: &str = "crates/store/tests";

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut suite = String::new();
    for path in workspace.files(".rs")?.iter().filter(|path| path.starts_with(SUITE)) {
        suite.push_str(&workspace.read(path)?);
    }
    let sources = source::production(workspace)?;
    let nouns = sources.iter().filter(|source| source.path.starts_with(METHODS));
    Ok(nouns.flat_map(|source| absent(&source.path, &source.production, &suite)).collect())
}

fn absent(path: &Path, production: &str, suite: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(production.lines()) {
        let Some(rest) = line.trim_start().strip_prefix("pub async fn ") else { continue };
        let name = rest.split(['(', '<']).next().unwrap_or_default();
        if !suite.contains(&format!(".{name}(")) {
            let what = format!("`{name}` is not in the contract suite ({SUITE})");
            found.push(Finding::new(format!("{}:{number}", path.display()), what));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_nobody_calls_in_the_suite_is_found() {
        let nouns = "    pub async fn device(&mut self) {}\n    pub async fn devices<T>(&mut self) {}\n";
        let found = absent(Path::new("a.rs"), nouns, "tx.device(&id).await");
        assert_eq!(found.len(), 1);
        assert!(found[0].what.starts_with("`devices`"));
    }
}
