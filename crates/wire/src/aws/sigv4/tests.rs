//! What AWS has published, what its own signer (botocore 1.44) made, and what must not pass.

use proptest::prelude::*;

use super::*;

/// 27 November 2026, noon.
const NOON: i64 = 1_795_780_800;
const SECRET: &str = "secret/with+signs";

struct Case {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: Vec<(String, String)>,
    body: &'static [u8],
}

impl Case {
    fn request(&self) -> Request<'_> {
        Request { method: self.method, path: self.path, query: self.query, headers: &self.headers, body: self.body }
    }
}

fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn field(key: &str, scope: &str, signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={key}/{scope}/aws4_request, SignedHeaders={signed}, Signature={signature}")
}

/// `get-vanilla` of AWS's test suite.
#[test]
fn the_published_vector_holds() {
    let case = Case {
        method: "GET",
        path: "/",
        query: "",
        headers: headers(&[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")]),
        body: b"",
    };
    let text = field(
        "AKIDEXAMPLE",
        "20150830/us-east-1/service",
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    let read = Authorization::parse(&text).expect("it reads");
    let at = Timestamp::from_secs(1_440_938_160);
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    assert_eq!(read.verify(&case.request(), secret, at), Ok(()));
    assert_eq!(read.verify(&case.request(), "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ", at), Err(Mismatch::Signature));
}

/// The request of AWS's description of the protocol.
#[test]
fn the_described_example_holds() {
    let case = Case {
        method: "GET",
        path: "/",
        query: "Version=2010-05-08&Action=ListUsers",
        headers: headers(&[
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ]),
        body: b"",
    };
    let text = field(
        "AKIDEXAMPLE",
        "20150830/us-east-1/iam",
        "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    );
    let read = Authorization::parse(&text).expect("it reads");
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    assert_eq!(read.verify(&case.request(), secret, Timestamp::from_secs(1_440_938_160)), Ok(()));
}

fn botocore() -> Vec<(Case, String)> {
    const KEY: &str = "FWAKEXAMPLE000000001";
    const HOST: (&str, &str) = ("host", "fleet.example.com:8443");
    const AT: (&str, &str) = ("x-amz-date", "20261127T120000Z");
    vec![
        (
            Case {
                method: "GET",
                path: "/things/a%3Ab",
                query: "maxResults=5&attributeName=x%20y&a=%2B",
                headers: headers(&[HOST, AT, ("user-agent", "not signed")]),
                body: b"",
            },
            field(
                KEY,
                "20261127/eu-central-1/iot",
                "host;x-amz-date",
                "3cefcbc7a95e025ec344f1199a69b19b8b552f0325916a91ea56ed1e053193ae",
            ),
        ),
        (
            Case {
                method: "POST",
                path: "/topics/a%2Fb%20c",
                query: "qos=1",
                headers: headers(&[HOST, AT, ("content-type", "application/json"), ("x-amz-meta", "  a   b ")]),
                body: b"{\"x\":1}",
            },
            field(
                KEY,
                "20261127/eu-central-1/iotdata",
                "content-type;host;x-amz-date;x-amz-meta",
                "3e4231732e3cab63e74b2049914bd5eca64d8e611d916ac6dae1e7f8b7e6fac1",
            ),
        ),
        (
            Case {
                method: "POST",
                path: "/target-policies/p",
                query: "",
                headers: headers(&[HOST, AT, ("content-type", "application/json")]),
                body: b"{\"target\":\"arn:aws:iot:eu-central-1:1:cert/x\"}",
            },
            field(
                KEY,
                "20261127/eu-central-1/iot",
                "content-type;host;x-amz-date",
                "a9bb784a7cdec86d18511d17882768788bae933f7c8131b17ccbf4012cb0d8dc",
            ),
        ),
    ]
}

#[test]
fn what_botocore_signs_holds_and_nothing_beside_it() {
    let now = Timestamp::from_secs(NOON);
    for (case, text) in botocore() {
        let read = Authorization::parse(&text).expect("it reads");
        let request = case.request();
        assert_eq!(read.verify(&request, SECRET, now), Ok(()), "{}", case.path);
        let again = format!("{}&x=1", case.query);
        for other in [
            Request { method: "DELETE", ..request },
            Request { path: "/things/a", ..request },
            Request { query: &again, ..request },
            Request { body: b"{}", ..request },
        ] {
            assert_eq!(read.verify(&other, SECRET, now), Err(Mismatch::Signature), "{other:?}");
        }
        let mut moved = case.headers.clone();
        moved[0].1 = "elsewhere.example.com".into();
        let moved = Request { headers: &moved, ..request };
        assert_eq!(read.verify(&moved, SECRET, now), Err(Mismatch::Signature));
        let mut added = case.headers.clone();
        added.push(("x-amzn-trace-id".into(), "a proxy's".into()));
        assert_eq!(read.verify(&Request { headers: &added, ..request }, SECRET, now), Ok(()));
        added.push(("x-amzn-principal".into(), "another".into()));
        assert_eq!(read.verify(&Request { headers: &added, ..request }, SECRET, now), Err(Mismatch::Header));
        let lacking = Request { headers: &case.headers[1..], ..request };
        assert_eq!(read.verify(&lacking, SECRET, now), Err(Mismatch::Header));
    }
}

#[test]
fn the_window_is_five_minutes_each_way() {
    let (case, text) = botocore().remove(0);
    let read = Authorization::parse(&text).expect("it reads");
    for (off, expected) in [
        (300, Ok(())),
        (-300, Ok(())),
        (301, Err(Mismatch::Skewed)),
        (-301, Err(Mismatch::Skewed)),
        (86_400, Err(Mismatch::Skewed)),
    ] {
        let now = Timestamp::from_secs(NOON + off);
        assert_eq!(read.verify(&case.request(), SECRET, now), expected, "{off} s");
    }
}

#[test]
fn the_date_must_be_one_and_the_days() {
    let (case, text) = botocore().remove(0);
    let now = Timestamp::from_secs(NOON);
    let read = Authorization::parse(&text.replace("20261127/", "20261126/")).expect("it reads");
    assert_eq!(read.verify(&case.request(), SECRET, now), Err(Mismatch::Date));
    let read = Authorization::parse(&text).expect("it reads");
    for bad in [
        "",
        "20261127",
        "20261127T120000",
        "20261127T120000+",
        "2026112712000000",
        "20261327T120000Z",
        "\u{e4}0261127T12000Z",
    ] {
        let headers = headers(&[("host", "fleet.example.com:8443"), ("x-amz-date", bad)]);
        assert_eq!(
            read.verify(&Request { headers: &headers, ..case.request() }, SECRET, now),
            Err(Mismatch::Date),
            "{bad}"
        );
    }
}

#[test]
fn a_body_is_held_to_its_declared_hash() {
    let (mut case, text) = botocore().remove(2);
    let read = Authorization::parse(&text).expect("it reads");
    for bad in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &"0".repeat(64)] {
        case.headers.push((BODY_HASH.to_owned(), bad.to_owned()));
        let found = read.verify(&case.request(), SECRET, Timestamp::from_secs(NOON));
        assert_eq!(found, Err(Mismatch::Body), "{bad}");
        case.headers.pop();
    }
}

#[test]
fn what_is_no_such_field_is_refused() {
    let (_, good) = botocore().remove(0);
    assert!(Authorization::parse(&good.replace(", ", ",")).is_ok(), "some clients write no blank");
    for (text, expected) in [
        (String::new(), BadAuthorization::Algorithm),
        ("Bearer fwa_x".into(), BadAuthorization::Algorithm),
        (good.replace("SHA256 ", "SHA256"), BadAuthorization::Algorithm),
        (good.replace("eu-central-1/", ""), BadAuthorization::Credential),
        (good.replace("aws4_request", "aws3_request"), BadAuthorization::Credential),
        (good.replace("aws4_request", "aws4_request/x"), BadAuthorization::Credential),
        (good.replace("20261127", "2026112"), BadAuthorization::Credential),
        (good.replace("host;x-amz-date", "host"), BadAuthorization::SignedHeaders),
        (good.replace("host;x-amz-date", "x-amz-date;host"), BadAuthorization::SignedHeaders),
        (good.replace("host;x-amz-date", "Host;x-amz-date"), BadAuthorization::SignedHeaders),
        (good.replace("host;x-amz-date", "host;host;x-amz-date"), BadAuthorization::SignedHeaders),
        (good.replace("3cef", "3ce"), BadAuthorization::Signature),
        (good.replace("3cef", "3CEF"), BadAuthorization::Signature),
        (good.replace("Signature=", "Sig="), BadAuthorization::Parts),
        (format!("{good}, Signature=x"), BadAuthorization::Parts),
        (ALGORITHM.to_owned() + " x", BadAuthorization::Parts),
        (good.clone() + &"x".repeat(8192), BadAuthorization::TooLong),
    ] {
        assert_eq!(Authorization::parse(&text), Err(expected), "{text}");
    }
}

#[test]
fn a_signature_is_not_shown() {
    let (_, text) = botocore().remove(0);
    let shown = format!("{:?}", Authorization::parse(&text).expect("it reads"));
    assert!(shown.contains("FWAKEXAMPLE000000001") && !shown.contains("signature"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", tail in "[A-Za-z0-9=/;, -]{0,200}") {
        drop(Authorization::parse(&text));
        drop(Authorization::parse(&format!("{ALGORITHM} {tail}")));
        prop_assert!(instant(&text).is_none_or(|_| text.len() == 16));
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else(
        path in "(/[a-zA-Z0-9.%~_-]{0,8}){1,4}",
        name in "[a-z]{1,6}",
        value in "[a-zA-Z0-9 +*]{0,12}",
        body in proptest::collection::vec(any::<u8>(), 0..64),
        secret in "[A-Za-z0-9/+]{1,40}",
    ) {
        let headers = headers(&[("host", "h"), ("x-amz-date", "20261127T120000Z"), ("x-b", &value)]);
        let query = format!("{name}={}", value.replace(' ', "%20"));
        let request = Request { method: "PUT", path: &path, query: &query, headers: &headers, body: &body };
        let field = sign(&request, ("FWAK1", &secret), ("r", "iot")).expect("signed");
        let read = Authorization::parse(&field).expect("it reads");
        let now = Timestamp::from_secs(NOON);
        prop_assert_eq!(read.verify(&request, &secret, now), Ok(()));
        let other = format!("{secret}x");
        prop_assert_eq!(read.verify(&request, &other, now), Err(Mismatch::Signature));
        let longer = [&body[..], b"x"].concat();
        prop_assert_eq!(read.verify(&Request { body: &longer, ..request }, &secret, now), Err(Mismatch::Signature));
    }
}
