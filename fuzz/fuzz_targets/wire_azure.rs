//! Azure's messages: any text is read or refused, what goes into an answer's topic is no level of it, and the properties of a
//! message come back as they were.
#![no_main]

use fleetward_wire::azure::message::RegisterRequest;
use fleetward_wire::azure::topic::response;
use fleetward_wire::azure::{Login, Request, SasToken, hub};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(RegisterRequest::parse(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop((SasToken::parse(text), Login::parse(text)));
    if let Some(request) = Request::parse(text) {
        assert_eq!(response(200, request.rid(), None).matches('/').count(), 4);
    }
    drop(hub::Login::parse(text));
    if let Some(request) = hub::Request::parse(text) {
        assert_eq!(hub::twin_answer(200, request.rid(), None).matches('/').count(), 4);
    }
    if let Some((device, way, level)) = hub::parse_messages(text)
        && let Some(properties) = hub::Properties::parse(level)
    {
        let topic = hub::messages(device, way, &properties);
        let (_, _, level) = hub::parse_messages(&topic).expect("its own text");
        assert_eq!(hub::Properties::parse(level), Some(properties));
    }
});
