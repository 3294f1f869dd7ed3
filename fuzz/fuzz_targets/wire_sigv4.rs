//! AWS's `Authorization` header field: any text is read or refused, and what is read is believed for its own request only.
#![no_main]

use fleetward_base::Timestamp;
use fleetward_wire::aws::sigv4::{Authorization, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (field, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Ok(read) = Authorization::parse(field) else { return };
    assert!(read.signed_headers.iter().any(|name| name == "host"));
    let headers = [("host".to_owned(), "h".to_owned()), ("x-amz-date".to_owned(), "20261127T120000Z".to_owned())];
    let request = Request { method: "GET", path, query, headers: &headers, body: b"" };
    assert!(read.verify(&request, "nobody knows this", Timestamp::from_secs(1_795_780_800)).is_err());
});
