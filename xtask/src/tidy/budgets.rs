//! Budgets: how long a file and a function may be, and that the pure floors stay pure.
//!
//! A file past 500 lines needs a reason in [`LONG_FILES`]; past 800 there is none. A function past 100 lines is refused;
//! the style asks for 60.

use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::{Finding, source};
use crate::workspace::Workspace;

const FILE_LINES: usize = 500;
const FILE_LINES_AT_MOST: usize = 800;
const FUNCTION_LINES: usize = 100;

/// Files between the two budgets: path, and why it is still one room.
const LONG_FILES: &[(&str, &str)] = &[];

/// Crates in which nothing is asynchronous and nobody asks for the time.
const PURE: &[&str] = &["crates/core/", "crates/pki/", "crates/attest/", "crates/supply/", "crates/wire/"];

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for source in source::production(workspace)? {
        let path = source.path.to_string_lossy().into_owned();
        found.extend(file(&path, &source.production, LONG_FILES));
        found.extend(functions(&path, &source.production)?);
    }
    for (path, _) in LONG_FILES.iter().filter(|(path, _)| !workspace.root.join(path).is_file()) {
        found.push(Finding::new(path, "is in the list of long files and does not exist"));
    }
    Ok(found)
}

fn file(path: &str, production: &str, long_files: &[(&str, &str)]) -> Option<Finding> {
    let lines = production.lines().count();
    let listed = long_files.iter().any(|(long, _)| *long == path);
    if lines > FILE_LINES_AT_MOST {
        Some(Finding::new(path, format!("{lines} lines, {FILE_LINES_AT_MOST} at most: split it")))
    } else if lines > FILE_LINES && !listed {
        Some(Finding::new(path, format!("{lines} lines, {FILE_LINES} without a reason: split it or give one")))
    } else if lines <= FILE_LINES && listed {
        Some(Finding::new(path, "is in the list of long files and is not long"))
    } else {
        None
    }
}

fn functions(path: &str, production: &str) -> anyhow::Result<Vec<Finding>> {
    let parsed = syn::parse_file(production).map_err(|error| {
        let at = error.span().start();
        anyhow::anyhow!("{path}:{}: {error}", at.line)
    })?;
    let pure = PURE.iter().any(|folder| path.starts_with(folder));
    let mut reader = Reader { path, pure, found: Vec::new() };
    reader.visit_file(&parsed);
    Ok(reader.found)
}

struct Reader<'a> {
    path: &'a str,
    pure: bool,
    found: Vec<Finding>,
}

impl Reader<'_> {
    fn judge(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        let lines = last.saturating_sub(first) + 1;
        let place = format!("{}:{first}", self.path);
        if lines > FUNCTION_LINES {
            let what = format!("`{}` has {lines} lines, {FUNCTION_LINES} at most", signature.ident);
            self.found.push(Finding::new(&place, what));
        }
        if self.pure && signature.asyncness.is_some() {
            self.found.push(Finding::new(&place, format!("`{}` is async on the pure floor", signature.ident)));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.judge(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.judge(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.judge(&item.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        if self.pure && (ident == "SystemClock" || ident == "SystemRng") {
            let place = format!("{}:{}", self.path, ident.span().start().line);
            self.found.push(Finding::new(place, format!("`{ident}` on the pure floor: take it as an argument")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> String {
        "let a = 1;\n".repeat(count)
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_longer_one_has_none() {
        assert_eq!(file("a.rs", &lines(500), &[]), None);
        assert!(file("a.rs", &lines(501), &[]).is_some());
        assert_eq!(file("a.rs", &lines(501), &[("a.rs", "a table")]), None);
        assert!(file("a.rs", &lines(801), &[("a.rs", "a table")]).is_some());
        assert!(file("a.rs", &lines(10), &[("a.rs", "a table")]).is_some(), "the exception is stale");
    }

    #[test]
    fn a_long_function_is_found_wherever_it_stands() {
        let body = |count| format!("{{\n{}}}\n", lines(count));
        let in_impl = format!("impl A {{\nfn long() {}}}\n", body(99));
        assert_eq!(functions("a.rs", &format!("fn short() {}", body(98))).expect("parses"), vec![]);
        assert_eq!(functions("a.rs", &format!("fn long() {}", body(99))).expect("parses").len(), 1);
        assert_eq!(functions("a.rs", &in_impl).expect("parses").len(), 1);
    }

    #[test]
    fn the_pure_floor_is_neither_async_nor_asks_the_time() {
        let text = "async fn f() {}\nfn g() { SystemClock.now(); }\n";
        assert_eq!(functions("crates/core/src/a.rs", text).expect("parses").len(), 2);
        assert_eq!(functions("crates/app/src/a.rs", text).expect("parses"), vec![]);
    }
}
