//! Rust sources split into what runs in production and what is test.
//!
//! The production part of a file ends at the first `#[cfg(test)]` that stands at the margin; files and folders named
//! `tests`, `benches`, `examples` and `fuzz` have none.

use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// The production part of one file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) production: String,
}

/// Every Rust file with a production part.
pub(crate) fn production(workspace: &Workspace) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in workspace.files(".rs")? {
        if is_test(&path) {
            continue;
        }
        let production = production_part(&workspace.read(&path)?);
        sources.push(Source { path, production });
    }
    Ok(sources)
}

fn is_test(path: &Path) -> bool {
    const TEST_PLACES: &[&str] = &["tests", "benches", "examples", "fuzz", "tests.rs"];
    path.iter().any(|part| TEST_PLACES.iter().any(|place| part == *place))
}

fn production_part(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_no_production() {
        assert_eq!(production_part("a\n#[cfg(test)]\nmod tests {}\n"), "a\n");
        assert_eq!(production_part("a\n    #[cfg(test)]\nb\n"), "a\n    #[cfg(test)]\nb\n");
        assert!(is_test(Path::new("crates/x/tests/it/main.rs")));
        assert!(is_test(Path::new("crates/x/src/rollout/tests.rs")));
        assert!(!is_test(Path::new("crates/x/src/rollout.rs")));
    }
}
