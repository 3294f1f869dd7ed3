//! Fuzz targets: each is in the manifest once, has inputs to start from, and a plain test that gives them again.
//!
//! The folder is a workspace of its own that the usual builds pass by, so nothing else notices what is missing there.

use std::path::Path;

use super::Finding;
use crate::workspace::Workspace;

const MANIFEST: &str = "fuzz/Cargo.toml";

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let manifest = workspace.read(Path::new(MANIFEST))?;
    let sources = workspace.files(".rs")?;
    let mut tests = String::new();
    for path in sources.iter().filter(|path| path.starts_with("crates")) {
        tests.push_str(&workspace.read(path)?);
    }
    let mut found = Vec::new();
    for path in sources.iter().filter(|path| path.parent() == Some(Path::new("fuzz/fuzz_targets"))) {
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if count(&manifest, name) != 1 {
            found.push(Finding::new(MANIFEST, format!("no entry of its own for `{name}`")));
        }
        let inputs = workspace.root.join("fuzz/corpus").join(name);
        if !std::fs::read_dir(inputs).is_ok_and(|mut files| files.next().is_some()) {
            found.push(Finding::new(path.display(), format!("no input in fuzz/corpus/{name}")));
        }
        if !tests.contains(&format!("\"{name}\"")) && !tests.contains(&format!("fuzz/corpus/{name}\"")) {
            found.push(Finding::new(path.display(), format!("no test gives the inputs of `{name}` again")));
        }
    }
    Ok(found)
}

/// Entries that are whole: a head, and under it one name and the file of that name.
fn count(manifest: &str, name: &str) -> usize {
    let entry = format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
    manifest.split("[[bin]]").skip(1).filter(|body| body.starts_with(&entry)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_whole_or_none() {
        let good = "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\ntest = false\n";
        assert_eq!((count(good, "a"), count(good, "b")), (1, 0));
        // As a merge left it once: two targets in one entry.
        let merged = "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\nname = \"b\"\n";
        assert_eq!((count(merged, "a"), count(merged, "b")), (1, 0));
        assert_eq!(count(&format!("{good}\n{good}"), "a"), 2);
    }
}
