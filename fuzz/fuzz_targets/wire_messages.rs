//! Bodies of the jobs service, client tokens, and what devices are told of their identity: any bytes are read or refused.
#![no_main]

use fleetward_wire::anchors::AnchorsRequest;
use fleetward_wire::aws::client_token;
use fleetward_wire::aws::document::JobDocument;
use fleetward_wire::aws::jobs::{
    DescribeRequest, ExecutionAccepted, GetRequest, Request, StartNextRequest, UpdateRequest,
};
use fleetward_wire::aws::message::{format_user_properties, parse_user_properties};
use fleetward_wire::aws::shadow::State;
use fleetward_wire::aws::time::parse_moment;
use fleetward_wire::renew::RenewRequest;
use fleetward_wire::transfer::{Notice, Order};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(token) = client_token(bytes) {
        assert!(token.len() <= 64);
    }
    drop((GetRequest::parse(bytes), StartNextRequest::parse(bytes), DescribeRequest::parse(bytes)));
    if let Ok(request) = UpdateRequest::parse(bytes) {
        let again = serde_json::to_vec(&request).expect("JSON");
        assert_eq!(UpdateRequest::parse(&again), Ok(request));
    }
    if let Some(order) = Order::parse(bytes) {
        let again = serde_json::to_vec(&order).expect("JSON");
        assert_eq!(Order::parse(&again), Some(order));
    }
    drop((AnchorsRequest::parse(bytes), RenewRequest::parse(bytes), Notice::parse(bytes)));
    if let Some(moment) = std::str::from_utf8(bytes).ok().and_then(parse_moment) {
        assert_eq!(parse_moment(&moment.to_string()), Some(moment));
    }
    if let Some(properties) = std::str::from_utf8(bytes).ok().and_then(|text| parse_user_properties(text).ok()) {
        assert_eq!(parse_user_properties(&format_user_properties(&properties)), Ok(properties));
    }
    drop(serde_json::from_slice::<State>(bytes));
    drop(serde_json::from_slice::<ExecutionAccepted>(bytes));
    drop(serde_json::from_slice::<JobDocument>(bytes));
});
