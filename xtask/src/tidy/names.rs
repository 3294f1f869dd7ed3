//! Names that say nothing: a file, folder or crate is named after what it holds.

use std::path::Path;

use super::Finding;
use crate::workspace::Workspace;

const FORBIDDEN: &[&str] =
    &["util", "utils", "utilities", "helper", "helpers", "manager", "managers", "common", "misc", "shared"];

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for ending in [".rs", ".py", ".sh", ".ts", ".tsx", ".sql"] {
        found.extend(workspace.files(ending)?.iter().filter_map(|path| judge(path)));
    }
    Ok(found)
}

fn judge(path: &Path) -> Option<Finding> {
    let words = path.iter().filter_map(|part| Path::new(part).file_stem()).map(|stem| stem.to_string_lossy());
    let mut bad = words.filter(|stem| stem.split(['_', '-']).any(|word| FORBIDDEN.contains(&word)));
    bad.next().map(|stem| Finding::new(path.display(), format!("`{stem}` says nothing: name it after what it holds")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found() {
        for bad in ["crates/a/src/utils.rs", "crates/helpers/src/lib.rs", "conformance/test_common.py"] {
            assert!(judge(Path::new(bad)).is_some(), "{bad}");
        }
        assert_eq!(judge(Path::new("crates/core/src/rollout.rs")), None);
    }
}
