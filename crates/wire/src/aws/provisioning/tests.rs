use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn check(topic: &str, known: bool) {
    let parsed = parse(topic);
    assert_eq!(parsed.is_some(), known, "{topic}");
    if let Some(parsed) = parsed {
        assert_eq!(parsed.to_string(), topic);
    }
}

#[test]
fn topics() {
    for format in ["json", "cbor"] {
        for end in ["", "/accepted", "/rejected"] {
            check(&format!("$aws/certificates/create-from-csr/{format}{end}"), true);
            check(&format!("$aws/certificates/create/{format}{end}"), true);
            check(&format!("$aws/provisioning-templates/Line_1-a/provision/{format}{end}"), true);
        }
    }
    for bad in [
        "",
        "$aws/certificates/",
        "$aws/certificates/create",
        "$aws/certificates/create/",
        "$aws/certificates/create/xml",
        "$aws/certificates/create/json/",
        "$aws/certificates/create/json/accepted/x",
        "$aws/certificates/create/+/accepted",
        "$aws/certificates/create-from-csr/json/#",
        "$aws/certificates/delete/json",
        "$aws/provisioning-templates//provision/json",
        "$aws/provisioning-templates/a/provision",
        "$aws/provisioning-templates/a b/provision/json",
        "$aws/provisioning-templates/+/provision/json",
        "$aws/provisioning-templates/a/remove/json",
        "$aws/provisioning-templates/a/provision/json/accepted/x",
        "$aws/things/a/shadow/get",
        "aws/certificates/create/json",
    ] {
        check(bad, false);
    }
    check(&format!("$aws/provisioning-templates/{}/provision/json", "x".repeat(36)), true);
    check(&format!("$aws/provisioning-templates/{}/provision/json", "x".repeat(37)), false);
}

/// The bytes that Python's `cbor2` and AWS's embedded C library write for these requests.
#[test]
fn bytes_of_other_peoples_encoders() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
    };
    let csr = hex("a1781963657274696669636174655369676e696e675265717565737463504543");
    let read = CsrRequest::parse(Format::Cbor, &csr).expect("a request");
    assert_eq!(read.certificate_signing_request, "PEC");
    // With maps of indefinite length, as TinyCBOR may write them.
    let provision = hex(
        "bf781963657274696669636174654f776e657273686970546f6b656e61746a706172616d6574657273bf6c53657269616c4e756d6265726131ffff",
    );
    let read = ProvisionRequest::parse(Format::Cbor, &provision).expect("a request");
    assert_eq!(read.certificate_ownership_token, "t");
    assert_eq!(read.parameters, BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]));
    assert_eq!(KeysRequest::parse(Format::Cbor, &hex("a0")), Ok(KeysRequest {}));
    assert_eq!(KeysRequest::parse(Format::Cbor, b""), Ok(KeysRequest {}));
    assert_eq!(KeysRequest::parse(Format::Json, b"{\"any\":1}"), Ok(KeysRequest {}));
}

#[test]
fn what_is_no_request() {
    let csr = |format, bytes: &[u8]| CsrRequest::parse(format, bytes).map(drop);
    assert_eq!(csr(Format::Json, b"{"), Err(BadBody::NotJson));
    assert_eq!(csr(Format::Json, b""), Err(BadBody::Shape));
    assert_eq!(csr(Format::Json, b"[]"), Err(BadBody::Shape));
    assert_eq!(csr(Format::Json, br#"{"certificateSigningRequest":1}"#), Err(BadBody::Shape));
    assert_eq!(csr(Format::Cbor, b"{}"), Err(BadBody::NotCbor));
    assert_eq!(csr(Format::Cbor, &[0xa0, 0xa0]), Err(BadBody::NotCbor), "one value, and no byte behind it");
    assert_eq!(csr(Format::Cbor, &[0x80]), Err(BadBody::Shape));
    assert_eq!(csr(Format::Cbor, &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(BadBody::NotCbor));
    assert_eq!(csr(Format::Cbor, &[0x81; 100_000]), Err(BadBody::TooLong));
    assert_eq!(csr(Format::Cbor, &[0x81; 1000]), Err(BadBody::NotCbor), "too deep");
    let bad = ProvisionRequest::parse(Format::Json, br#"{"certificateOwnershipToken":"t","parameters":{"a":1}}"#);
    assert_eq!(bad, Err(BadBody::Shape));
}

#[test]
fn rejections_read_as_those_of_aws() {
    let body =
        Rejected::new(RejectCode::InvalidCertificateOwnershipToken, "Certificate ownership token cannot be empty.");
    let text = r#"{"statusCode":400,"errorCode":"InvalidCertificateOwnershipToken","errorMessage":"Certificate ownership token cannot be empty."}"#;
    assert_eq!(encode(Format::Json, &body), text.as_bytes());
    assert_eq!(decode::<Rejected>(Format::Cbor, &encode(Format::Cbor, &body)), Ok(body));
}

proptest! {
    #[test]
    fn parsing_inverts_formatting(name in "[a-zA-Z0-9_-]{1,36}", op in 0..3usize, cbor: bool, part in 0..3usize) {
        let op = [Op::CreateFromCsr, Op::Create, Op::Provision(&name)][op];
        let part = [Part::Request, Part::Accepted, Part::Rejected][part];
        let topic = Topic { op, format: if cbor { Format::Cbor } else { Format::Json }, part };
        let text = topic.to_string();
        prop_assert_eq!(parse(&text), Some(topic));
    }

    #[test]
    fn any_text_is_taken(rest in "(\\$aws/(certificates|provisioning-templates)/)?.{0,40}(/[a-z+#-]{0,12}){0,5}") {
        if let Some(topic) = parse(&rest) {
            prop_assert_eq!(topic.to_string(), rest);
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300), cbor: bool) {
        let format = if cbor { Format::Cbor } else { Format::Json };
        drop((CsrRequest::parse(format, &bytes), KeysRequest::parse(format, &bytes)));
        if let Ok(request) = ProvisionRequest::parse(format, &bytes) {
            prop_assert_eq!(ProvisionRequest::parse(format, &encode(format, &request)), Ok(request));
        }
    }

    #[test]
    fn bodies_are_read_as_written(token in ".{0,40}", parameters in prop::collection::btree_map(".{0,12}", ".{0,40}", 0..6),
                                  thing_name in "[a-z]{1,9}", key in ".{0,9}") {
        let request = ProvisionRequest { certificate_ownership_token: token.clone(), parameters };
        let mut device_configuration = Map::new();
        device_configuration.insert(key, json!({"list": [1, -2, 0.5, null, true, token]}));
        let accepted = ProvisionAccepted { device_configuration, thing_name };
        for format in [Format::Json, Format::Cbor] {
            prop_assert_eq!(decode(format, &encode(format, &request)), Ok(request.clone()));
            prop_assert_eq!(decode(format, &encode(format, &accepted)), Ok(accepted.clone()));
        }
    }
}
