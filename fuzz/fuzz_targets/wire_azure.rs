//! Azure's provisioning messages: any text is read or refused, and what goes into an answer's topic is no level of it.
#![no_main]

use fleetward_wire::azure::message::RegisterRequest;
use fleetward_wire::azure::topic::response;
use fleetward_wire::azure::{Login, Request, SasToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(RegisterRequest::parse(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop((SasToken::parse(text), Login::parse(text)));
    if let Some(request) = Request::parse(text) {
        assert_eq!(response(200, request.rid(), None).matches('/').count(), 4);
    }
});
