//! Topics of commands and what devices answer there: the first byte picks the format; any bytes are read or refused, and what
//! was read reads the same when it is written.
#![no_main]

use fleetward_wire::aws::commands::{Format, Response, encode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let format = if first & 1 == 0 { Format::Json } else { Format::Cbor };
    if let Ok(response) = Response::parse(format, rest) {
        for again in [Format::Json, Format::Cbor] {
            assert_eq!(Response::parse(again, &encode(again, &response)).as_ref(), Ok(&response));
        }
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Some(topic) = parse(text)
    {
        assert_eq!(topic.to_string(), text);
    }
});
