//! Every SQL statement on a tenant's table binds the tenant.
//!
//! Tenant tables are those that the migrations give a `tenant_id`. A statement is a string literal that begins as one. It
//! must compare `tenant_id`, or insert it. One that works across tenants is run through `SystemTx::across` right below it, or
//! says why in a comment right above it that begins `across tenants:`. PostgreSQL's row-level security is the second line
//! behind this one.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use super::{Finding, source};
use crate::workspace::Workspace;

const MARK: &str = "across tenants:";
const CALL: &str = ".across()";
/// How far from its statement the mark, above it, or the call, below it, may stand.
const NEAR_LINES: usize = 8;

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut tables = BTreeSet::new();
    for path in workspace.files(".sql")? {
        if path.starts_with("crates/store") {
            tables.extend(tenant_tables(&workspace.read(&path)?));
        }
    }
    let mut found = Vec::new();
    for source in source::production(workspace)? {
        if source.path.starts_with("crates/store/src") {
            found.extend(judge(&source.path.to_string_lossy(), &source.production, &tables)?);
        }
    }
    Ok(found)
}

/// Names of the tables that carry a `tenant_id`.
fn tenant_tables(sql: &str) -> Vec<String> {
    let mut tables = Vec::new();
    for statement in sql.split(';') {
        let mut words = statement.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
        let is_create = words.any(|word| word == "CREATE") && words.next() == Some("TABLE");
        let name = words.find(|word| !["IF", "NOT", "EXISTS"].contains(word));
        if let (true, Some(name), true) = (is_create, name, statement.contains("tenant_id")) {
            tables.push(name.to_owned());
        }
    }
    tables
}

fn judge(path: &str, production: &str, tables: &BTreeSet<String>) -> anyhow::Result<Vec<Finding>> {
    let tokens: TokenStream = production.parse().map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let mut literals = Vec::new();
    collect(tokens, &mut literals);
    let lines: Vec<&str> = production.lines().collect();
    let mut found = Vec::new();
    for (line, text) in literals {
        let Some(table) = named_table(&text, tables) else { continue };
        if !binds_tenant(&text) && !marked(&lines, line) {
            let what =
                format!("the statement on `{table}` does not bind the tenant; if it must not, say `// {MARK} why`");
            found.push(Finding::new(format!("{path}:{line}"), what));
        }
    }
    Ok(found)
}

/// String literals with their first lines, those inside macros too.
fn collect(tokens: TokenStream, literals: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), literals),
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    literals.push((line, text.value()));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The tenant table that the text is a statement on.
fn named_table<'a>(text: &'a str, tables: &BTreeSet<String>) -> Option<&'a str> {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',')).filter(|w| !w.is_empty());
    let verb = words.clone().next()?;
    if !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE"].contains(&verb) {
        return None;
    }
    let mut previous = "";
    words.find(|word| {
        let after = matches!(previous, "FROM" | "INTO" | "UPDATE" | "JOIN");
        previous = word;
        after && tables.contains(*word)
    })
}

fn binds_tenant(text: &str) -> bool {
    let compact: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let compared = compact.match_indices("tenant_id").any(|(at, word)| {
        let after = compact.get(at + word.len()..).unwrap_or_default().trim_start_matches([' ', ')']);
        let after = after.trim_start_matches(|c: char| c == ',' || c == ' ' || c == '_' || c.is_alphanumeric());
        after.trim_start_matches([' ', ')']).starts_with('=')
    });
    compared || (compact.contains("INSERT INTO") && compact.contains("(tenant_id"))
}

fn marked(lines: &[&str], line: usize) -> bool {
    let first = line.saturating_sub(NEAR_LINES);
    let near = |from: usize, to: usize, word: &str| {
        lines.iter().skip(from).take(to.saturating_sub(from)).any(|text| text.contains(word))
    };
    near(first, line, MARK) || near(line, line + NEAR_LINES, CALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(code: &str) -> usize {
        let tables = BTreeSet::from(["device".to_owned()]);
        judge("a.rs", code, &tables).expect("parses").len()
    }

    #[test]
    fn tables_come_from_the_migrations() {
        let sql = "CREATE TABLE installation (key TEXT);\n-- x\nCREATE TABLE device (tenant_id TEXT, id TEXT);\n\
                   CREATE INDEX d ON device (tenant_id);";
        assert_eq!(tenant_tables(sql), ["device"]);
    }

    #[test]
    fn a_statement_binds_the_tenant() {
        assert_eq!(findings(r#"const A: &str = "SELECT id FROM device WHERE tenant_id = $1";"#), 0);
        assert_eq!(findings(r#"const A: &str = "INSERT INTO device (tenant_id, id) VALUES ($1, $2)";"#), 0);
        assert_eq!(findings(r#"const A: &str = "SELECT id FROM device WHERE id = $1";"#), 1);
        assert_eq!(findings(r#"fn f() { run(format!("DELETE FROM device WHERE id = {x}")) }"#), 1, "in a macro");
        assert_eq!(findings(r#"const A: &str = "SELECT tenant_id FROM device";"#), 1, "read, not compared");
        assert_eq!(findings(r#"const A: &str = "SELECT key FROM installation";"#), 0);
        assert_eq!(findings(r#"const A: &str = "no device found from here";"#), 0);
    }

    #[test]
    fn working_across_tenants_needs_a_reason() {
        assert_eq!(findings("// across tenants: start-up loads all\nconst A: &str = \"SELECT id FROM device\";"), 0);
        let through_the_door = "const A: &str = \"SELECT id FROM device\";\nself.across().await?.query(A)";
        assert_eq!(findings(through_the_door), 0);
    }
}
