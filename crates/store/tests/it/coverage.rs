//! Checks on the source itself: no method without a test, no statement of a tenant without its tenant.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a text file")))
        .collect()
}

#[test]
fn every_method_is_in_the_contract() {
    let contract: String = files("tests/it/contract").into_iter().map(|(_, text)| text).collect();
    let mut missing = Vec::new();
    for (path, text) in files("src/nouns") {
        for part in text.split("pub async fn ").skip(1) {
            let name = part.split(['(', '<']).next().expect("a name");
            if !contract.contains(&format!(".{name}(")) {
                missing.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "not in the contract suite: {missing:#?}");
}

/// The macros of a file and of the folder, by name.
fn macros(text: &str) -> Vec<(String, String)> {
    let parts = text.split("macro_rules! ").skip(1);
    parts
        .map(|part| {
            let name = part.split_whitespace().next().expect("a name").to_owned();
            (name, part.split("\n}").next().expect("a body").to_owned())
        })
        .collect()
}

#[test]
fn every_statement_of_a_tenant_binds_it() {
    let mut loose = Vec::new();
    let mut statements = 0;
    for (path, text) in files("src/nouns") {
        let known = macros(&text);
        // Every impl block is at the left margin and ends there.
        for block in text.split("\nimpl TenantTx {").skip(1) {
            let block = block.split("\n}").next().expect("a block");
            for part in block.split("const ").skip(1) {
                let mut sql = part.split(";\n").next().expect("a statement").to_owned();
                for (name, body) in &known {
                    if sql.contains(&format!("{name}!(")) {
                        sql.push_str(body);
                    }
                }
                statements += 1;
                // A Bulk or Sql has two texts, and both must bind it.
                let texts =
                    if sql.contains("postgres:") { sql.split("postgres:").collect() } else { vec![sql.as_str()] };
                let bound = |text: &&str| {
                    text.contains("tenant_id = $1") || (text.contains("(tenant_id, ") && text.contains("$1"))
                };
                let shared =
                    known.iter().any(|(name, body)| sql.contains(&format!("{name}!(")) && bound(&body.as_str()));
                if !shared && !texts.iter().all(bound) {
                    loose.push(format!("{}: {sql}", path.display()));
                }
            }
        }
    }
    assert!(loose.is_empty(), "statements without their tenant: {loose:#?}");
    assert!(statements > 80, "only {statements} statements were found: does this test still read the source?");
}

/// Columns of bytes that hold no seals of the vault.
const PLAIN: &[&str] = &[
    "asker",
    "attestation_key",
    "chain",
    "challenge",
    "der",
    "device_code",
    "hash",
    "hashes",
    "key_certificate",
    "manifest",
    "messages",
    "payload",
    "properties",
    "public",
    "public_key",
    "request",
    "request_hash",
    "root",
    "signature",
    "token",
    "used_csr",
    "value",
    "will",
    // A key of the vault itself, wrapped by the root key.
    "wrapped",
];

#[test]
fn every_column_of_seals_is_counted_before_a_key_is_destroyed() {
    let schema = include_str!("../../schema/sqlite.sql");
    let vault = include_str!("../../src/nouns/vault.rs");
    let counted =
        vault.split("fn seals_under").nth(1).and_then(|rest| rest.split("\n    }").next()).expect("the method");
    let columns = schema.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        words.next()?.starts_with("BLOB").then_some(name)
    });
    let unknown: Vec<&str> =
        columns.filter(|name| !PLAIN.contains(name) && !counted.contains(&format!("substr({name}, 1, 9)"))).collect();
    assert!(
        unknown.is_empty(),
        "does {unknown:?} hold seals of the vault? Then count it in `seals_under` (nouns/vault.rs), or a rotation destroys its \
         key; otherwise name it in PLAIN here"
    );
}
