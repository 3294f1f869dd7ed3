//! What goes to standard output: a table for people, or JSON exactly as the API has it for scripts.
//!
//! JSON is the contract; tables may change. Everything meant for a person besides the answer goes to standard error.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// A column: its heading and where its value is (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// Writes a line; a reader who has gone away is no fault.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Writes a line for the person at the terminal.
pub(crate) fn note(text: &str) {
    // There is nowhere left to report that standard error is gone.
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or_default();
}

pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).expect("a JSON value is always JSON"))
}

/// One compact line of JSON, for streams.
pub(crate) fn json_line(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

impl Format {
    /// Rows of a listing.
    pub(crate) fn rows(self, rows: &[Value], columns: &[Column]) -> Result<(), Failure> {
        match self {
            Self::Json => json(&Value::Array(rows.to_vec())),
            Self::Table if rows.is_empty() => {
                note("nothing there");
                Ok(())
            }
            Self::Table => line(table(rows, columns).trim_end()),
        }
    }

    /// One resource.
    pub(crate) fn one(self, value: &Value) -> Result<(), Failure> {
        match self {
            Self::Json => json(value),
            Self::Table => line(card(value).trim_end()),
        }
    }

    /// The outcome of a change that has no resource left to show.
    pub(crate) fn done(self, text: &str) -> Result<(), Failure> {
        if self == Self::Table {
            note(text);
        }
        Ok(())
    }
}

/// Columns aligned by width, two spaces apart.
pub(crate) fn table(rows: &[Value], columns: &[Column]) -> String {
    let mut cells: Vec<Vec<String>> = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()];
    cells.extend(rows.iter().map(|row| columns.iter().map(|(_, at)| cell(row.pointer(at))).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| cells.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &cells {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A resource as `key: value` lines; nested objects are indented.
fn card(value: &Value) -> String {
    let mut text = String::new();
    write_card(&mut text, value, 0);
    text
}

fn write_card(text: &mut String, value: &Value, indent: usize) {
    let Value::Object(fields) = value else {
        text.push_str(&format!("{}\n", cell(Some(value))));
        return;
    };
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let pad = " ".repeat(indent);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{pad}{key}:\n"));
                write_card(text, value, indent + 2);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{pad}{key}:\n"));
                for item in items {
                    text.push_str(&format!("{pad}  - {}\n", cell(Some(item))));
                }
            }
            Value::String(block) if block.trim_end().contains('\n') => {
                text.push_str(&format!("{pad}{key}:\n"));
                for line in block.lines() {
                    text.push_str(&format!("{pad}  {}\n", cell(Some(&Value::from(line)))));
                }
            }
            _ => text.push_str(&format!("{pad}{key}: {}\n", cell(Some(value)))),
        }
    }
}

/// A value in one line. Control characters of what devices report never reach the terminal.
pub(crate) fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if !items.iter().any(Value::is_object) => {
            items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [json!({"name": "gw-1", "certificate": {"serial": "0a"}}), json!({"name": "gateway-22", "tags": []})];
        let text = table(&rows, &[("NAME", "/name"), ("SERIAL", "/certificate/serial")]);
        assert_eq!(text, "NAME        SERIAL\ngw-1        0a\ngateway-22  -\n");
    }

    #[test]
    fn what_a_device_says_cannot_drive_the_terminal() {
        assert_eq!(cell(Some(&json!("a\u{1b}[2Jb\n"))), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_card_is_indented() {
        let text = card(
            &json!({"name": "gw", "certificate": {"serial": "0a"}, "owner": null, "pem": "x\ny\n", "tags": ["a", "b"]}),
        );
        assert_eq!(text, "certificate:\n  serial: 0a\nname: gw\npem:\n  x\n  y\ntags: a,b\n");
    }
}
