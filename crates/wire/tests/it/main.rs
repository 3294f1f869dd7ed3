//! What the fuzz targets were given, given again: their corpora on the stable toolchain.

use std::path::Path;

use fleetward_wire::aws::jobs::{DescribeRequest, GetRequest, Request, StartNextRequest, UpdateRequest};
use fleetward_wire::aws::provisioning::{self, CsrRequest, Format, KeysRequest, ProvisionRequest, encode};
use fleetward_wire::aws::{client_token, topic};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("a corpus");
    files.map(|file| std::fs::read(file.expect("a file").path()).expect("bytes")).collect()
}

#[test]
fn topics_read_the_same_when_they_are_written() {
    for bytes in corpus("wire_topic") {
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(topic::parse(&text).map(|topic| topic.to_string()), (!text.contains('+')).then_some(text));
    }
}

#[test]
fn signatures_are_read_or_refused() {
    use fleetward_base::Timestamp;
    use fleetward_wire::aws::sigv4::{Authorization, Request};
    let (mut read, mut held) = (0, 0);
    for bytes in corpus("wire_sigv4") {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (field, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Ok(authorization) = Authorization::parse(field) else { continue };
        read += 1;
        let host = ("host".to_owned(), "fleet.example.com:8443".to_owned());
        let headers = [host, ("x-amz-date".to_owned(), "20261127T120000Z".to_owned())];
        let request = Request { method: "GET", path, query, headers: &headers, body: b"" };
        let verified = authorization.verify(&request, "secret/with+signs", Timestamp::from_secs(1_795_780_800));
        held += usize::from(verified.is_ok());
    }
    assert_eq!((read, held), (3, 1), "botocore's is the one that holds");
}

#[test]
fn messages_are_read_or_refused() {
    for bytes in corpus("wire_messages") {
        drop((GetRequest::parse(&bytes), StartNextRequest::parse(&bytes), DescribeRequest::parse(&bytes)));
        if let Ok(request) = UpdateRequest::parse(&bytes) {
            let again = serde_json::to_vec(&request).expect("JSON");
            assert_eq!(UpdateRequest::parse(&again), Ok(request));
        }
        assert!(client_token(&bytes).is_none_or(|token| token.len() <= 64));
    }
}

#[test]
fn user_properties_are_read_or_refused() {
    use fleetward_wire::aws::message::{format_user_properties, parse_user_properties};
    let mut read = 0;
    for bytes in corpus("wire_messages") {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(properties) = parse_user_properties(&text) else { continue };
        assert_eq!(parse_user_properties(&format_user_properties(&properties)), Ok(properties));
        read += 1;
    }
    assert_eq!(read, 1);
}

#[test]
fn what_devices_are_told_of_their_identity_is_read_or_refused() {
    use fleetward_wire::anchors::AnchorsRequest;
    use fleetward_wire::renew::RenewRequest;
    use fleetward_wire::transfer::{Notice, Order};
    let mut read = [0; 4];
    for bytes in corpus("wire_messages") {
        if let Some(order) = Order::parse(&bytes) {
            let again = serde_json::to_vec(&order).expect("JSON");
            assert_eq!(Order::parse(&again), Some(order));
            read[0] += 1;
        }
        read[1] += usize::from(Notice::parse(&bytes).is_some());
        read[2] += usize::from(RenewRequest::parse(&bytes).is_some());
        read[3] += usize::from(AnchorsRequest::parse(&bytes).is_some_and(|asked| asked.spread_s > 0));
    }
    assert_eq!(read, [1, 2, 1, 2], "an order, which is a notice too, a notice, a renewal and roots");
}

#[test]
fn azure_messages_are_read_or_refused() {
    use fleetward_wire::azure::message::RegisterRequest;
    use fleetward_wire::azure::topic::response;
    use fleetward_wire::azure::{Login, Request, SasToken, hub};
    let (mut read, mut of_hub) = (0, 0);
    for bytes in corpus("wire_azure") {
        drop(RegisterRequest::parse(&bytes));
        let text = String::from_utf8(bytes).expect("UTF-8");
        read += usize::from(SasToken::parse(&text).is_ok()) + usize::from(Login::parse(&text).is_some());
        if let Some(request) = Request::parse(&text) {
            assert_eq!(response(200, request.rid(), None).matches('/').count(), 4);
            read += 1;
        }
        of_hub += usize::from(hub::Login::parse(&text).is_some_and(|login| login.module.is_none()));
        if let Some(request) = hub::Request::parse(&text) {
            assert_eq!(hub::twin_answer(200, request.rid(), None).matches('/').count(), 4);
            of_hub += 1;
        }
        if let Some((device, way, level)) = hub::parse_messages(&text)
            && let Some(properties) = hub::Properties::parse(level)
        {
            let topic = hub::messages(device, way, &properties);
            let (_, _, level) = hub::parse_messages(&topic).expect("its own text");
            assert_eq!(hub::Properties::parse(level), Some(properties));
            of_hub += 1;
        }
    }
    assert_eq!(read, 4, "a token, a user name and two topics");
    assert_eq!(of_hub, 6, "a user name, three requests and two messages");
}

#[test]
fn answers_to_commands_are_read_or_refused() {
    use fleetward_wire::aws::commands::{Format, Response, encode, parse};
    let mut read = 0;
    for bytes in corpus("wire_commands") {
        let (first, rest) = bytes.split_first().expect("a format");
        let format = if first & 1 == 0 { Format::Json } else { Format::Cbor };
        if let Ok(response) = Response::parse(format, rest) {
            for again in [Format::Json, Format::Cbor] {
                assert_eq!(Response::parse(again, &encode(again, &response)).as_ref(), Ok(&response));
            }
            read += 1;
        }
        if let Some(topic) = std::str::from_utf8(rest).ok().and_then(parse) {
            assert_eq!(topic.to_string().as_bytes(), rest);
            read += 1;
        }
    }
    assert_eq!(read, 9, "seven answers and topics by hand, and two that the fuzzer found");
}

#[test]
fn documents_of_steps_are_read_or_refused() {
    use fleetward_wire::aws::steps::Document;
    let mut read = 0;
    for bytes in corpus("wire_steps") {
        let Ok(value) = serde_json::from_slice(&bytes) else { continue };
        if let Ok(document) = Document::parse(&value) {
            let kept = serde_json::to_vec(&document).expect("JSON");
            assert_eq!(serde_json::from_slice::<Document>(&kept).expect("own output"), document);
            read += 1;
        }
    }
    assert_eq!(read, 3, "handlers, a command and the older form");
}

#[test]
fn provisioning_is_read_or_refused() {
    use provisioning::Request as _;
    let mut read = 0;
    for bytes in corpus("wire_provisioning") {
        let (first, rest) = bytes.split_first().expect("a format");
        let format = if first & 1 == 0 { Format::Json } else { Format::Cbor };
        drop((CsrRequest::parse(format, rest), KeysRequest::parse(format, rest)));
        if let Ok(request) = ProvisionRequest::parse(format, rest) {
            assert_eq!(ProvisionRequest::parse(format, &encode(format, &request)), Ok(request));
            read += 1;
        }
        if let Some(topic) = std::str::from_utf8(rest).ok().and_then(provisioning::parse) {
            assert_eq!(topic.to_string().as_bytes(), rest);
            read += 1;
        }
    }
    assert!(read >= 4, "the corpus has lost what is good in it");
}

#[test]
fn answers_of_other_authorities_are_read_or_refused() {
    use fleetward_wire::issuer::{cfssl, step, vault};
    use fleetward_wire::renew::RenewRequest;
    let (mut read, mut refused) = (0, 0);
    for bytes in corpus("wire_issuer") {
        let certificates = [cfssl::certificate(&bytes), step::certificate(&bytes), vault::certificate(&bytes)];
        read += certificates.iter().filter(|answer| answer.is_ok()).count();
        read += usize::from(step::certificates(&bytes).is_ok()) + usize::from(vault::login(&bytes).is_ok());
        for said in [cfssl::refusal(&bytes), step::refusal(&bytes), vault::refusal(&bytes)].into_iter().flatten() {
            assert!(!said.chars().any(char::is_control), "it goes into a log");
            refused += 1;
        }
        read += usize::from(RenewRequest::parse(&bytes).is_some());
        read += usize::from(String::from_utf8(bytes).is_ok_and(|text| step::jwk(&text).is_ok()));
    }
    assert!(read >= 7 && refused >= 3, "{read} answers, {refused} refusals: the corpus has lost what is good in it");
}
