//! Topics and bodies of fleet provisioning: the first byte picks the format; any bytes are read or refused, and what was
//! read reads the same when it is written.
#![no_main]

use fleetward_wire::aws::provisioning::{CsrRequest, Format, KeysRequest, ProvisionRequest, Request, encode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let format = if first & 1 == 0 { Format::Json } else { Format::Cbor };
    drop((CsrRequest::parse(format, rest), KeysRequest::parse(format, rest)));
    if let Ok(request) = ProvisionRequest::parse(format, rest) {
        assert_eq!(ProvisionRequest::parse(format, &encode(format, &request)), Ok(request));
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Some(topic) = parse(text)
    {
        assert_eq!(topic.to_string(), text);
    }
});
