//! `cargo xtask limits`: writes `docs/limits.md` from the constants of `base::limits` and their comments.
//!
//! A constant without a comment shares the one above it. A limit that no other file names is a finding of tidy: nobody
//! enforces it.

use std::path::Path;

use anyhow::Context as _;

use crate::tidy::Finding;
use crate::workspace::Workspace;

const SOURCE: &str = "crates/base/src/limits.rs";
const PAGE: &str = "docs/limits.md";
const HEAD: &str = "# Limits\n\n\
    Everything that can grow has a limit. This page is written by `cargo xtask limits` from `crates/base/src/limits.rs`: \
    change it there.\n\n\
    | limit | value | what it bounds |\n| --- | ---: | --- |\n";

struct Limit {
    name: String,
    value: String,
    meaning: String,
}

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> anyhow::Result<Vec<String>> {
    let page = page(&workspace.read(Path::new(SOURCE))?)?;
    if args.iter().any(|arg| arg == "--check") {
        anyhow::ensure!(workspace.read(Path::new(PAGE))? == page, "{PAGE} is stale: run `cargo xtask limits`");
        return Ok(vec![format!("{PAGE} is up to date")]);
    }
    std::fs::write(workspace.root.join(PAGE), page).context(PAGE)?;
    Ok(vec![format!("wrote {PAGE}")])
}

/// The page is up to date and every limit is used by somebody.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let source = workspace.read(Path::new(SOURCE))?;
    let mut found = Vec::new();
    if workspace.read(Path::new(PAGE)).ok() != Some(page(&source)?) {
        found.push(Finding::new(PAGE, "is stale: run `cargo xtask limits`"));
    }
    let mut code = String::new();
    for path in workspace.files(".rs")?.iter().filter(|path| *path != Path::new(SOURCE)) {
        code.push_str(&workspace.read(path)?);
    }
    let unused = read(&source)?.into_iter().filter(|limit| !code.contains(&limit.name));
    found.extend(unused.map(|limit| Finding::new(SOURCE, format!("nobody enforces `{}`", limit.name))));
    Ok(found)
}

fn page(source: &str) -> anyhow::Result<String> {
    let rows = read(source)?.into_iter().map(|l| format!("| `{}` | {} | {} |\n", l.name, l.value, l.meaning));
    Ok(HEAD.to_owned() + &rows.collect::<String>())
}

fn read(source: &str) -> anyhow::Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::new();
    for item in syn::parse_file(source).context(SOURCE)?.items {
        let syn::Item::Const(item) = item else { continue };
        let name = item.ident.to_string();
        let own = comment(&item.attrs);
        let meaning = match (own.is_empty(), limits.last()) {
            (false, _) => own,
            (true, Some(above)) => above.meaning.clone(),
            (true, None) => anyhow::bail!("{SOURCE}: `{name}` has no comment"),
        };
        let value = value(&name, &item.expr).with_context(|| format!("{SOURCE}: the value of `{name}`"))?;
        limits.push(Limit { name, value, meaning });
    }
    Ok(limits)
}

fn comment(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// The value as a person reads it: bytes in binary multiples, times in their largest whole unit.
fn value(name: &str, expression: &syn::Expr) -> anyhow::Result<String> {
    if let syn::Expr::Call(call) = expression {
        let number = call.args.first().context("a duration has an amount").and_then(number)?;
        let syn::Expr::Path(path) = call.func.as_ref() else { anyhow::bail!("not a duration") };
        let unit = path.path.segments.last().context("a path has a last part")?.ident.to_string();
        return match unit.as_str() {
            "from_secs" => Ok(seconds(number)),
            "from_millis" => Ok(format!("{} ms", grouped(number))),
            "from_micros" => Ok(format!("{} µs", grouped(number))),
            other => anyhow::bail!("unknown duration {other}"),
        };
    }
    let number = number(expression)?;
    Ok(match name {
        name if name.ends_with("_BYTES") => bytes(number),
        name if name.ends_with("_SECS") => seconds(number),
        _ => grouped(number),
    })
}

fn number(expression: &syn::Expr) -> anyhow::Result<u64> {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(literal), .. }) => Ok(literal.base10_parse()?),
        syn::Expr::Binary(syn::ExprBinary { left, op: syn::BinOp::Mul(_), right, .. }) => {
            number(left)?.checked_mul(number(right)?).context("too large")
        }
        syn::Expr::Paren(inner) => number(&inner.expr),
        _ => anyhow::bail!("a limit is a number, a product of numbers or a duration of one"),
    }
}

fn largest(number: u64, units: &[(u64, &str)]) -> Option<String> {
    let fits = |size: u64| number >= size && number.is_multiple_of(size);
    units.iter().find(|(size, _)| fits(*size)).map(|(size, unit)| format!("{} {unit}", number / size))
}

fn bytes(number: u64) -> String {
    largest(number, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")])
        .unwrap_or_else(|| format!("{number} bytes"))
}

fn seconds(number: u64) -> String {
    const DAY: u64 = 86_400;
    if number >= 2 * DAY && number.is_multiple_of(DAY) {
        return format!("{} days", number / DAY);
    }
    largest(number, &[(3600, "h"), (60, "min")]).unwrap_or_else(|| format!("{number} s"))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_like_a_person_writes_them() {
        let source = "/// A body.\npub const BODY_BYTES: usize = 64 * 1024;\n/// Rows.\npub const ROWS: u32 = 100_000;\n\
                      pub(crate) const ROWS_MORE: u32 = 7;\n/// Wait.\npub const WAIT: Duration = Duration::from_secs(24 * 3600);\n\
                      /// Life.\npub const LIFE_SECS: u32 = 7 * 24 * 3600;\n";
        let page = page(source).expect("a page");
        for row in [
            "| `BODY_BYTES` | 64 KiB | A body. |",
            "| `ROWS` | 100,000 | Rows. |",
            "| `ROWS_MORE` | 7 | Rows. |",
            "| `WAIT` | 24 h | Wait. |",
            "| `LIFE_SECS` | 7 days | Life. |",
        ] {
            assert!(page.contains(row), "{row} in {page}");
        }
    }
}
