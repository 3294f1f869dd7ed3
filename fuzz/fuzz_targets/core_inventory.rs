//! Imports of the manufacturing database: any bytes in any pieces give the same rows and faults.
#![no_main]

use fleetward_core::inventory::import::{Format, Import, Line};
use libfuzzer_sys::fuzz_target;

fn read(format: Format, pieces: &[&[u8]]) -> Option<Vec<Line>> {
    let (mut import, mut out) = (Import::new(format), Vec::new());
    for piece in pieces {
        import.feed(piece, &mut out).ok()?;
    }
    import.finish(&mut out).ok()?;
    Some(out)
}

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for format in [Format::Csv, Format::JsonLines] {
        assert_eq!(read(format, &[bytes]), read(format, &[first, second]));
    }
});
