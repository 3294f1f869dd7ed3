//! Reading an import piece by piece: CSV with a head line, or lines of JSON.
//!
//! Bytes go in as they arrive, rows and faults come out, each with its line; no more than one row is ever held. A fault
//! costs its row alone, a bad head line the whole import. `csv_core` is the decoder that the `csv` crate is made of: it
//! takes bytes instead of a reader, so that nothing here waits for a socket.

use csv_core::{ReadRecordResult, Reader};
use fleetward_base::limits;

use super::{InventoryRow, Written};
use crate::text::text_enum;

text_enum! {
    /// How an import is written.
    pub enum Format("format of an import") {
        Csv => "csv",
        JsonLines => "jsonl",
    }
}

/// A row that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1; of a row over several lines the last.
    pub line: u64,
    /// The field that is to blame, where one is.
    pub field: Option<&'static str>,
    pub why: String,
}

/// One row, good or bad.
pub type Line = Result<(u64, InventoryRow), Fault>;

/// The head line does not say what the columns are: nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the head line {0}")]
pub struct BadHead(String);

const COLUMNS: [&str; 9] =
    ["serial", "device", "class", "hardware", "ek_hash", "batch", "maker", "root_of_trust", "attestation"];

/// Reads one import.
#[derive(Debug)]
pub struct Import(Kind);

#[derive(Debug)]
enum Kind {
    Csv(Box<Csv>),
    JsonLines(JsonLines),
}

impl Import {
    pub fn new(format: Format) -> Self {
        Self(match format {
            Format::Csv => Kind::Csv(Box::default()),
            Format::JsonLines => Kind::JsonLines(JsonLines::default()),
        })
    }

    /// Takes the next bytes; what became whole with them goes to `out`.
    ///
    /// # Errors
    /// [`BadHead`]; there is no use in going on.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Line>) -> Result<(), BadHead> {
        match &mut self.0 {
            // No bytes would mean the end to the decoder.
            Kind::Csv(_) if bytes.is_empty() => Ok(()),
            Kind::Csv(csv) => csv.feed(bytes, out),
            Kind::JsonLines(lines) => {
                lines.feed(bytes, out);
                Ok(())
            }
        }
    }

    /// There are no more bytes.
    ///
    /// # Errors
    /// [`BadHead`] where not even the head line was there.
    pub fn finish(mut self, out: &mut Vec<Line>) -> Result<(), BadHead> {
        match &mut self.0 {
            Kind::Csv(csv) => {
                csv.feed(&[], out)?;
                if csv.columns.is_none() { Err(BadHead("is missing".to_owned())) } else { Ok(()) }
            }
            Kind::JsonLines(lines) => {
                lines.end(out);
                Ok(())
            }
        }
    }
}

/// The decoder and the record that it is in.
#[derive(Debug)]
struct Csv {
    reader: Reader,
    columns: Option<Vec<&'static str>>,
    text: Vec<u8>,
    used: usize,
    ends: Vec<usize>,
    fields: usize,
    /// The record is larger than a row may be: the rest of it is passed over.
    spilled: bool,
    /// Line on which the record ends.
    line: u64,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            columns: None,
            text: vec![0; limits::INVENTORY_ROW_BYTES],
            used: 0,
            ends: vec![0; 2 * COLUMNS.len()],
            fields: 0,
            spilled: false,
            line: 1,
        }
    }
}

impl Csv {
    /// No bytes mean the end.
    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<Line>) -> Result<(), BadHead> {
        loop {
            let text = self.text.get_mut(self.used..).unwrap_or_default();
            let ends = self.ends.get_mut(self.fields..).unwrap_or_default();
            let (result, read, wrote, ended) = self.reader.read_record(bytes, text, ends);
            let last = read.checked_sub(1).and_then(|at| bytes.get(at));
            // The decoder has counted the line feed that ended the record; after a carriage return it has not yet.
            self.line = self.reader.line() - u64::from(last == Some(&b'\n'));
            bytes = bytes.get(read..).unwrap_or_default();
            self.used += wrote;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty => return Ok(()),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    self.spilled = true;
                    (self.used, self.fields) = (0, 0);
                }
                ReadRecordResult::Record => {
                    self.record(out)?;
                    (self.used, self.fields, self.spilled) = (0, 0, false);
                }
                ReadRecordResult::End => return Ok(()),
            }
        }
    }

    fn record(&mut self, out: &mut Vec<Line>) -> Result<(), BadHead> {
        let fault = |field, why: String| Err(Fault { line: self.line, field, why });
        let whole = if self.spilled { None } else { self.split() };
        let Some(columns) = &self.columns else {
            let columns = whole.ok_or_else(|| BadHead("is no UTF-8, or longer than a row".to_owned()));
            self.columns = Some(head(&columns?)?);
            return Ok(());
        };
        let Some(fields) = whole else {
            out.push(fault(None, format!("no UTF-8, or longer than {} bytes", limits::INVENTORY_ROW_BYTES)));
            return Ok(());
        };
        if fields.len() != columns.len() {
            out.push(fault(None, format!("{} fields where the head line has {}", fields.len(), columns.len())));
            return Ok(());
        }
        let mut written = Written::default();
        for (column, field) in columns.iter().zip(fields) {
            let place = match *column {
                "serial" => {
                    written.serial = field;
                    continue;
                }
                "device" => &mut written.device,
                "class" => &mut written.class,
                "hardware" => &mut written.hardware,
                "ek_hash" => &mut written.ek_hash,
                "batch" => &mut written.batch,
                "maker" => &mut written.maker,
                "root_of_trust" => &mut written.root_of_trust,
                _ => &mut written.attestation,
            };
            *place = Some(field);
        }
        out.push(checked(self.line, written));
        Ok(())
    }

    /// The fields of the record; none where one is no UTF-8.
    fn split(&self) -> Option<Vec<String>> {
        let mut from = 0;
        let ends = self.ends.get(..self.fields)?;
        let field = |to: &usize| {
            let bytes = self.text.get(from..*to)?;
            from = *to;
            String::from_utf8(bytes.to_vec()).ok()
        };
        ends.iter().map(field).collect()
    }
}

fn head(names: &[String]) -> Result<Vec<&'static str>, BadHead> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        // Spreadsheets put a byte order mark before all.
        let name = name.trim_start_matches('\u{feff}').trim();
        let known = COLUMNS.iter().find(|column| column.eq_ignore_ascii_case(name));
        let Some(column) = known else {
            return Err(BadHead(format!("has a column that is none of {}", COLUMNS.join(", "))));
        };
        if columns.contains(column) {
            return Err(BadHead(format!("has the column {column} twice")));
        }
        columns.push(*column);
    }
    if columns.contains(&"serial") { Ok(columns) } else { Err(BadHead("has no column serial".to_owned())) }
}

/// Lines of JSON, and the line that is not whole yet.
#[derive(Debug, Default)]
struct JsonLines {
    partial: Vec<u8>,
    spilled: bool,
    line: u64,
}

impl JsonLines {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<Line>) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.partial.len() + piece.len() > limits::INVENTORY_ROW_BYTES {
                self.spilled = true;
                self.partial.clear();
            } else if !self.spilled {
                self.partial.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                self.end(out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<Line>) {
        self.line += 1;
        let (line, text, spilled) = (self.line, std::mem::take(&mut self.partial), std::mem::take(&mut self.spilled));
        let fault = |why: String| Err(Fault { line, field: None, why });
        if spilled {
            out.push(fault(format!("longer than {} bytes", limits::INVENTORY_ROW_BYTES)));
        } else if !text.trim_ascii().is_empty() {
            // The parser's own sentence may quote what stands there.
            let written = text.trim_ascii().starts_with(b"{").then(|| serde_json::from_slice::<Written>(&text).ok());
            out.push(match written.flatten() {
                Some(written) => checked(line, written),
                None => fault("not an object with the fields of a row, each a text".to_owned()),
            });
        }
    }
}

fn checked(line: u64, written: Written) -> Line {
    match InventoryRow::check(written) {
        Ok(row) => Ok((line, row)),
        Err(invalid) => Err(Fault { line, field: Some(invalid.field), why: invalid.why }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: Format, pieces: &[&[u8]]) -> Result<Vec<Line>, String> {
        let (mut import, mut out) = (Import::new(format), Vec::new());
        for piece in pieces {
            import.feed(piece, &mut out).map_err(|error| error.to_string())?;
        }
        import.finish(&mut out).map_err(|error| error.to_string())?;
        Ok(out)
    }

    fn shown(lines: Vec<Line>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| match line {
                Ok((line, row)) => format!("{line} {} {}", row.serial, row.device),
                Err(fault) => format!("{} {} {}", fault.line, fault.field.unwrap_or("-"), fault.why),
            })
            .collect()
    }

    #[test]
    fn csv_as_spreadsheets_write_it() {
        let text = "\u{feff}Serial,device,class,batch\r\n1,gw-1,gateway,\"a, \"\"b\"\"\"\r\n\r\n2,,,\r\n3,x/y,,\r\n4,a\r\n5,,toaster,";
        let lines = read(Format::Csv, &[text.as_bytes()]).expect("a head");
        assert_eq!(lines[0].as_ref().map(|(_, row)| row.batch.clone()), Ok(Some("a, \"b\"".to_owned())));
        let expected = [
            "2 1 gw-1",
            "4 2 2",
            "5 device not a device name: 1 to 128 of a-z, A-Z, 0-9, :, _ and -",
            "6 - 2 fields where the head line has 4",
            "7 class sensor, gateway or endpoint",
        ];
        assert_eq!(shown(lines), expected);
    }

    #[test]
    fn heads() {
        for (head, expected) in [
            ("", "the head line is missing"),
            ("device\n", "the head line has no column serial"),
            ("serial,serial\n", "the head line has the column serial twice"),
        ] {
            assert_eq!(read(Format::Csv, &[head.as_bytes()]).map(|_| ()), Err(expected.to_owned()), "{head}");
        }
        assert!(read(Format::Csv, &[b"serial,secret\n1,x\n"]).is_err_and(|why| !why.contains("secret")));
    }

    #[test]
    fn a_row_that_is_too_long_is_passed_over() {
        let long = "x".repeat(limits::INVENTORY_ROW_BYTES);
        let csv = format!("serial,maker\n1,{long}\n2,m\n3,{}\n4,m\n", ",".repeat(100));
        let lines = shown(read(Format::Csv, &[csv.as_bytes()]).expect("a head"));
        assert_eq!((lines.len(), lines[1].as_str(), lines[3].as_str()), (4, "3 2 2", "5 4 4"), "{lines:?}");
        let json = format!("{{\"serial\":\"{long}\"}}\n{{\"serial\":\"2\"}}\n");
        let lines = shown(read(Format::JsonLines, &[json.as_bytes()]).expect("no head"));
        assert_eq!(lines, [&format!("1 - longer than {} bytes", limits::INVENTORY_ROW_BYTES), "2 2 2"]);
    }

    #[test]
    fn lines_of_json() {
        let text = "{\"serial\":\"1\",\"device\":\"gw-1\"}\n\n{\"serial\":2}\n[\"3\"]\n{\"serial\":\"4\",\"colour\":\"red\"}\n{\"serial\":\"5\"}";
        let bad = "not an object with the fields of a row, each a text";
        let expected = [
            "1 1 gw-1".to_owned(),
            format!("3 - {bad}"),
            format!("4 - {bad}"),
            format!("5 - {bad}"),
            "6 5 5".to_owned(),
        ];
        assert_eq!(shown(read(Format::JsonLines, &[text.as_bytes()]).expect("no head")), expected);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..400, csv: bool) {
            let (format, mut text) = if csv {
                (Format::Csv, b"serial,device,batch\n".to_vec())
            } else {
                (Format::JsonLines, Vec::new())
            };
            text.extend(bytes);
            let at = at.min(text.len());
            let whole = read(format, &[&text]);
            prop_assert_eq!(read(format, &[&text[..at], &text[at..]]), whole);
        }

        #[test]
        fn what_was_written_is_read(rows in proptest::collection::vec(("[a-zA-Z0-9:_-]{1,20}", "[ -~]{0,30}"), 0..20)) {
            let rows: Vec<_> = rows.into_iter().map(|(serial, batch)| (serial, batch.trim().to_owned())).collect();
            let mut text = "serial,batch\n".to_owned();
            for (serial, batch) in &rows {
                text.push_str(&format!("{serial},\"{}\"\n", batch.replace('"', "\"\"")));
            }
            let lines = read(Format::Csv, &[text.as_bytes()]).expect("a head");
            let found: Vec<_> =
                lines.into_iter().map(|line| line.map(|(_, row)| (row.serial, row.batch.unwrap_or_default()))).collect();
            let expected: Vec<_> = rows.into_iter().map(Ok).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
