//! The papers: links lead somewhere, every page is in the index, and every test that is named exists.
//!
//! Decisions are numbered as their files are. A test is named as `` `path/to/file.rs::name` `` (or `.py`); the file must hold
//! a function of that name, and the list of attacks that the identity plane withstands must name one in each line.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::workspace::Workspace;

const INDEX: &str = "docs/README.md";
/// Where the attacks are listed that the identity plane withstands, and under which heading.
const WITHSTOOD: &str = "docs/attacks.md";
const ATTACKS: &str = "## Withstood";

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    let index = workspace.read(Path::new(INDEX))?;
    for path in workspace.files(".md")? {
        let text = workspace.read(&path)?;
        for (line, target) in links(&text) {
            if let Err(why) = resolves(workspace, &path, &target) {
                found.push(Finding::new(format!("{}:{line}", path.display()), format!("link `{target}`: {why}")));
            }
        }
        for (line, file, test) in named_tests(&text) {
            let word = if file.ends_with(".py") { "def" } else { "fn" };
            let held = workspace.read(Path::new(&file)).is_ok_and(|code| code.contains(&format!("{word} {test}(")));
            if !held {
                let what = format!("`{file}` has no test `{test}`");
                found.push(Finding::new(format!("{}:{line}", path.display()), what));
            }
        }
        if path == Path::new(WITHSTOOD) {
            let bare = bare_rows(&text, ATTACKS);
            found.extend(bare.into_iter().map(|line| {
                Finding::new(format!("{}:{line}", path.display()), "this attack has no test that is named")
            }));
        }
        if let Err(why) = numbered(&path, &text) {
            found.push(Finding::new(path.display(), why));
        }
        if let Ok(page) = path.strip_prefix("docs") {
            let listed = path == Path::new(INDEX) || links(&index).iter().any(|(_, to)| Path::new(to) == page);
            if !listed {
                found.push(Finding::new(path.display(), format!("is not in {INDEX}")));
            }
        }
    }
    Ok(found)
}

/// A decision's heading begins with the number of its file.
fn numbered(path: &Path, text: &str) -> Result<(), String> {
    let name = path.strip_prefix("docs/adr").ok().and_then(Path::to_str).unwrap_or_default();
    let Some((number, _)) = name.split_once('-').filter(|(number, _)| *number != "0000") else { return Ok(()) };
    let heading = text.lines().next().unwrap_or_default();
    let right = heading.starts_with(&format!("# {number}. "));
    if right { Ok(()) } else { Err(format!("the heading is not `# {number}. ...`")) }
}

/// Link targets outside code blocks, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose_lines(text) {
        for (at, _) in line.match_indices("](") {
            let rest = line.get(at + 2..).unwrap_or_default();
            if let Some(end) = rest.find(')') {
                found.push((number, rest.get(..end).unwrap_or_default().to_owned()));
            }
        }
        for (at, _) in line.match_indices("src=\"").chain(line.match_indices("srcset=\"")) {
            let rest = line.get(at..).and_then(|rest| rest.split('"').nth(1)).unwrap_or_default();
            found.push((number, rest.to_owned()));
        }
    }
    found
}

fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    })
}

/// File and name of each test that the text names.
fn named_tests(text: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for (number, line) in prose_lines(text) {
        for quoted in line.split('`').skip(1).step_by(2) {
            for ending in [".rs", ".py"] {
                if let Some((file, test)) = quoted.split_once(&format!("{ending}::")) {
                    found.push((number, format!("{file}{ending}"), test.to_owned()));
                }
            }
        }
    }
    found
}

/// Rows of the table under a heading that name no test.
fn bare_rows(text: &str, heading: &str) -> Vec<usize> {
    let named: Vec<usize> = named_tests(text).into_iter().map(|(line, ..)| line).collect();
    let below = prose_lines(text).skip_while(|(_, line)| *line != heading).skip(1);
    let rows = below.take_while(|(_, line)| !line.starts_with('#')).filter(|(_, line)| line.starts_with("| "));
    // The head of the table, whose rule of hyphens comes next.
    rows.skip(2).filter(|(number, _)| !named.contains(number)).map(|(number, _)| number).collect()
}

fn resolves(workspace: &Workspace, page: &Path, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path: PathBuf = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap_or(Path::new("")).join(file),
    };
    if !workspace.root.join(&path).exists() {
        return Err("leads nowhere".to_owned());
    }
    if anchor.is_empty() || path.extension().is_none_or(|ending| ending != "md") {
        return Ok(());
    }
    let text = workspace.read(&path).map_err(|error| error.to_string())?;
    let mut headings = prose_lines(&text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| slug(line));
    if headings.any(|heading| heading == anchor) { Ok(()) } else { Err("no such heading".to_owned()) }
}

/// The anchor that a heading gets: lower case, punctuation gone, spaces to hyphens.
fn slug(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_tests_are_read() {
        let text = "See [a](b.md#c) and `x/y.rs::holds`.\n```\n[not](this)\n```\n<img src=\"i.svg\">\n";
        assert_eq!(links(text), [(1, "b.md#c".to_owned()), (5, "i.svg".to_owned())]);
        assert_eq!(named_tests(text), [(1, "x/y.rs".to_owned(), "holds".to_owned())]);
    }

    #[test]
    fn an_attack_without_a_test_is_found() {
        let text = "# A\n| a | b |\n| --- | --- |\n| x | none |\n## B\n\n| a | b |\n| --- | --- |\n| x | `t.py::y` |\n| z | none |\n";
        assert_eq!(bare_rows(text, "## B"), [10]);
        assert_eq!(named_tests(text), [(9, "t.py".to_owned(), "y".to_owned())]);
    }

    #[test]
    fn a_decision_has_the_number_of_its_file() {
        assert_eq!(numbered(Path::new("docs/adr/0002-x.md"), "# 0002. X\n"), Ok(()));
        assert!(numbered(Path::new("docs/adr/0002-x.md"), "# 0003. X\n").is_err());
        assert_eq!(numbered(Path::new("docs/glossary.md"), "# Glossary\n"), Ok(()));
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.md"), "# The House, today\n").expect("written");
        let workspace = Workspace { root: folder.path().to_owned() };
        let page = Path::new("index.md");
        assert_eq!(resolves(&workspace, page, "a.md#the-house-today"), Ok(()));
        assert!(resolves(&workspace, page, "a.md#cellar").is_err());
        assert!(resolves(&workspace, page, "b.md").is_err());
        assert_eq!(resolves(&workspace, page, "https://example.org"), Ok(()));
    }
}
