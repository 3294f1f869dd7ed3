//! What anybody fetches of our authorities: certificates, lists and their shards, OCSP by GET and POST; what caches may keep,
//! and what is none of theirs.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::publication;
use fleetward_app::reconcile::crls;
use fleetward_base::{Timestamp, limits};
use fleetward_pki::{Certificate, ocsp::cert_id};
use fleetward_store::LogRow;
use http::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::certificates;
use crate::fixture::{Enrolled, House};

/// What an OCSP answer says of a certificate, right behind its id (RFC 6960 §4.2.1).
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

struct Got {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// Whether a list of certificates or answers has these bytes in it.
    fn has(&self, part: &[u8]) -> bool {
        self.body.windows(part.len()).any(|window| window == part)
    }
}

async fn send(house: &House, method: Method, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (status, fields, body) = house.raw(request.body(Body::from(body)).expect("a request")).await;
    Got { status, fields, body }
}

async fn get(house: &House, path: &str) -> Got {
    send(house, Method::GET, path, &[], Vec::new()).await
}

async fn ask(house: &House, mark: &str, request: Vec<u8>) -> Got {
    let kind = [("content-type", "application/ocsp-request")];
    send(house, Method::POST, &format!("/pki/{mark}/ocsp"), &kind, request).await
}

/// The issuing authority of a tenant, and how its addresses name it.
async fn authority(house: &House, tenant: &str) -> (Certificate, String) {
    let answer = house.get(&format!("/.well-known/est/{tenant}/cacerts")).await;
    let authority = certificates(&answer).remove(0);
    let mark = authority.fingerprint()[..16].to_owned();
    (authority, mark)
}

fn parsed(held: &Enrolled) -> Certificate {
    Certificate::parse(&held.certificate).expect("a certificate")
}

/// The bytes of a serial number as lists have them: tag, length, number.
fn listed(held: &Enrolled) -> Vec<u8> {
    let serial = parsed(held).serial.to_string();
    let bytes = (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).expect("hex"));
    [0x02, 16].into_iter().chain(bytes).collect()
}

/// An OCSPRequest for these ids (RFC 6960 §4.1.1).
fn request(ids: &[&[u8]], nonce: &[u8]) -> Vec<u8> {
    let element = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&[tag, 0x82], &length[..], &body].concat()
    };
    let singles: Vec<Vec<u8>> = ids.iter().map(|id| element(0x30, &[id])).collect();
    let list = element(0x30, &singles.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let oid = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
    let value = |nonce: &[u8]| {
        let short = |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).expect("short")], body].concat();
        let value = short(4, &short(4, nonce));
        short(0xa2, &short(0x30, &short(0x30, &[&oid[..], &value].concat())))
    };
    let extensions = if nonce.is_empty() { Vec::new() } else { value(nonce) };
    shortest(&element(0x30, &[&element(0x30, &[&list, &extensions])]))
}

/// DER has the shortest lengths; what was put together above has two bytes for each.
fn shortest(der: &[u8]) -> Vec<u8> {
    let [tag, 0x82, high, low, rest @ ..] = der else { return der.to_vec() };
    let (own, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
    let mut body = Vec::new();
    let mut left = own;
    while let [_, 0x82, high, low, ..] = left {
        let (inner, next) = left.split_at(4 + usize::from(u16::from_be_bytes([*high, *low])));
        body.extend(shortest(inner));
        left = next;
    }
    body.extend_from_slice(left);
    let length = match u8::try_from(body.len()) {
        Ok(short) if short < 0x80 => vec![short],
        Ok(long) => vec![0x81, long],
        Err(_) => [&[0x82], &u16::try_from(body.len()).expect("short").to_be_bytes()[..]].concat(),
    };
    [&[*tag], length.as_slice(), &body, after].concat()
}

/// What an answer says of the certificate with this id.
fn standing(answer: &Got, id: &[u8]) -> u8 {
    assert_eq!((answer.status, answer.field("content-type")), (StatusCode::OK, "application/ocsp-response"));
    let at = answer.body.windows(id.len()).position(|window| window == id).expect("the id as it came");
    answer.body[at + id.len()]
}

/// An answer that is no answer: the whole of it is its status (RFC 6960 §4.2.1).
fn refused(answer: &Got, code: u8) {
    assert_eq!((answer.status, answer.field("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!(answer.body, [0x30, 3, 0x0a, 1, code]);
}

const MALFORMED: u8 = 1;
const UNAUTHORIZED: u8 = 6;

#[tokio::test]
async fn a_list_is_for_anyone_and_a_cache_keeps_it_for_minutes() {
    let house = House::new().await;
    let held = house.enrolled("acme", "gw-1").await;
    let (own, mark) = authority(&house, "acme").await;
    let answer = get(&house, &format!("/pki/{mark}/ca.der")).await;
    assert_eq!((answer.status, answer.field("content-type")), (StatusCode::OK, "application/pkix-cert"));
    assert_eq!((&answer.body, answer.field("cache-control")), (&own.der, "public, max-age=86400"));

    let path = format!("/pki/{mark}/crl.der");
    assert_eq!(get(&house, &path).await.status, StatusCode::NOT_FOUND, "none was signed yet");
    crls::tick(&house.app).await.expect("a turn");
    let empty = get(&house, &path).await;
    assert_eq!((empty.status, empty.field("content-type")), (StatusCode::OK, "application/pkix-crl"));
    assert_eq!(empty.field("cache-control"), "public, max-age=300, must-revalidate");
    for field in ["etag", "last-modified", "expires"] {
        assert!(!empty.field(field).is_empty(), "{field}");
    }
    assert!(!empty.has(&listed(&held)));
    let tag = empty.field("etag").to_owned();
    let again = |known: String| {
        let (house, path) = (&house, &path);
        async move { send(house, Method::GET, path, &[("if-none-match", &known)], Vec::new()).await }
    };
    for known in [tag.clone(), "*".to_owned(), format!("\"x\", {tag}")] {
        let unchanged = again(known).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(unchanged.field("etag"), tag);
    }

    house.revoke("acme", "gw-1").await;
    crls::tick(&house.app).await.expect("a turn");
    let next = again(tag.clone()).await;
    assert_eq!(next.status, StatusCode::OK, "what was known is out of date");
    assert!(next.has(&listed(&held)) && next.field("etag") != tag);
    // A list near its end is kept no longer than it counts, and one past it is handed out and not kept.
    let list = publication::list(&house.app, &mark, None).await.expect("a list");
    house.clock.jump_to(list.next_update.minus(std::time::Duration::from_secs(9)));
    assert_eq!(get(&house, &path).await.field("cache-control"), "public, max-age=9, must-revalidate");
    house.clock.jump_to(list.next_update.plus(std::time::Duration::from_secs(9)));
    assert_eq!(get(&house, &path).await.field("cache-control"), "public, max-age=0, must-revalidate");
}

#[tokio::test]
async fn a_shard_has_what_ends_like_it() {
    let house = House::published_at(Some("http://pki.example.com")).await;
    let held = house.enrolled("acme", "gw-1").await;
    let (_, mark) = authority(&house, "acme").await;
    // As after twenty thousand certificates, from which on lists are cut.
    let size =
        LogRow { size: 20_000, root: vec![0; 32], checkpoint: String::new(), signed_at: Timestamp::from_secs(1) };
    let tenant = "acme".parse().expect("a name");
    let begun = house
        .app
        .write(&tenant, "a long log", move |tx| Box::pin(async move { Ok(tx.begin_transparency_log(&size).await?) }));
    begun.await.expect("written");
    house.revoke("acme", "gw-1").await;
    crls::tick(&house.app).await.expect("a turn");
    let serial = parsed(&held).serial.to_string();
    let own = &serial[serial.len() - 1..];
    assert!(get(&house, &format!("/pki/{mark}/crl.der")).await.has(&listed(&held)), "the whole list has all");
    for digit in "0123456789abcdef".chars().map(String::from) {
        let path = format!("/pki/{mark}/crl/{digit}.der");
        let shard = get(&house, &path).await;
        assert_eq!((shard.status, shard.field("content-type")), (StatusCode::OK, "application/pkix-crl"));
        assert_eq!(shard.has(&listed(&held)), digit == own, "{digit}");
        assert!(shard.has(format!("http://pki.example.com{path}").as_bytes()), "it says which shard it is");
    }
    let next = house.enrolled("acme", "gw-2").await;
    let serial = parsed(&next).serial.to_string();
    let url = format!("http://pki.example.com/pki/{mark}/crl/{}.der", &serial[serial.len() - 1..]);
    assert!(next.certificate.windows(url.len()).any(|part| part == url.as_bytes()), "and a certificate names its own");
    for name in ["a", "A.der", "zz.der", "a3.der", "000.der", ".der", "..%2fcrl.der", "%00.der", "\u{e9}.der"] {
        let name =
            if name.is_ascii() { name.to_owned() } else { utf8_percent_encode(name, NON_ALPHANUMERIC).to_string() };
        let path = format!("/pki/{mark}/crl/{name}");
        assert_eq!(get(&house, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_answer_says_how_a_certificate_stands() {
    let house = House::new().await;
    let (held, other) = (house.enrolled("acme", "gw-1").await, house.enrolled("acme", "gw-2").await);
    let (own, mark) = authority(&house, "acme").await;
    let id = |held: &Enrolled| cert_id(&own, &parsed(held).serial).expect("an id");
    let (one, two) = (id(&held), id(&other));
    let posted = ask(&house, &mark, request(&[&one], &[])).await;
    assert_eq!((standing(&posted, &one), posted.field("cache-control")), (GOOD, "no-store"), "a POST is not kept");

    // RFC 6960 appendix A.1 has the base64 escaped; some clients send it as it is.
    let text = STANDARD.encode(request(&[&one], &[]));
    for sent in [text.clone(), utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()] {
        let got = get(&house, &format!("/pki/{mark}/ocsp/{sent}")).await;
        assert_eq!(standing(&got, &one), GOOD);
        assert_eq!(got.body, posted.body, "the same answer");
        assert_eq!(got.field("cache-control"), "public, max-age=300, no-transform, must-revalidate");
        assert!(!got.field("expires").is_empty() && !got.field("last-modified").is_empty());
    }
    let nonced = ask(&house, &mark, request(&[&one], &[7; 16])).await;
    assert!(standing(&nonced, &one) == GOOD && nonced.has(&[7; 16]));
    assert_eq!(nonced.field("cache-control"), "no-store", "it is for one asker alone");

    house.revoke("acme", "gw-1").await;
    let both = ask(&house, &mark, request(&[&one, &two], &[])).await;
    assert_eq!((standing(&both, &one), standing(&both, &two)), (REVOKED, GOOD));
    let got = get(&house, &format!("/pki/{mark}/ocsp/{text}")).await;
    assert_eq!(standing(&got, &one), REVOKED, "what was kept from before is gone");
}

#[tokio::test]
async fn what_is_no_request_is_answered_in_the_words_of_the_protocol() {
    let house = House::new().await;
    let held = house.enrolled("acme", "gw-1").await;
    let (own, mark) = authority(&house, "acme").await;
    let id = cert_id(&own, &parsed(&held).serial).expect("an id");
    let good = request(&[&id], &[]);
    for cut in [0, 1, 2, good.len() / 2, good.len() - 1] {
        refused(&ask(&house, &mark, good[..cut].to_vec()).await, MALFORMED);
    }
    let many = vec![id.as_slice(); limits::OCSP_CERTIFICATES + 1];
    refused(&ask(&house, &mark, request(&many, &[])).await, MALFORMED);
    for path in ["%", "!", "AAAA", "a/b/c", "%ff%ff", "MAA%3D%3D%3D"] {
        refused(&get(&house, &format!("/pki/{mark}/ocsp/{path}")).await, MALFORMED);
    }
    let path = format!("/pki/{mark}/ocsp");
    for kind in ["", "text/plain", "application/ocsp-requests"] {
        let answer = send(&house, Method::POST, &path, &[("content-type", kind)], good.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let long = vec![0x30; limits::OCSP_REQUEST_BYTES + 1];
    assert_eq!(ask(&house, &mark, long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (method, path) in [
        (Method::POST, format!("/pki/{mark}/crl.der")),
        (Method::PUT, format!("/pki/{mark}/ca.der")),
        (Method::DELETE, path.clone()),
        (Method::GET, path),
    ] {
        assert_eq!(send(&house, method.clone(), &path, &[], Vec::new()).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

/// An authority is a public thing, and tells of its own certificates alone, whoever asks.
#[tokio::test]
async fn an_authority_tells_of_its_own_alone() {
    let house = House::new().await;
    let (held, theirs) = (house.enrolled("acme", "gw-1").await, house.enrolled("zenith", "gw-1").await);
    let (own, mark) = authority(&house, "acme").await;
    let (other, other_mark) = authority(&house, "zenith").await;
    assert_ne!(mark, other_mark);
    house.revoke("zenith", "gw-1").await;
    crls::tick(&house.app).await.expect("a turn");
    assert!(get(&house, &format!("/pki/{other_mark}/crl.der")).await.has(&listed(&theirs)));
    assert!(!get(&house, &format!("/pki/{mark}/crl.der")).await.has(&listed(&theirs)), "another tenant's list");

    let id = |of: &Certificate, held: &Enrolled| cert_id(of, &parsed(held).serial).expect("an id");
    let (right, crossed) = (id(&other, &theirs), id(&own, &theirs));
    assert_eq!(standing(&ask(&house, &other_mark, request(&[&right], &[])).await, &right), REVOKED);
    // Its serial number under our name is nobody's, and a request about them is not for us.
    assert_eq!(standing(&ask(&house, &mark, request(&[&crossed], &[])).await, &crossed), UNKNOWN);
    refused(&ask(&house, &mark, request(&[&right], &[])).await, UNAUTHORIZED);
    // Nor is ours under another's name, also where it is asked for beside one of ours.
    let (good, misnamed) = (id(&own, &held), id(&other, &held));
    let both = ask(&house, &mark, request(&[&good, &misnamed], &[])).await;
    assert_eq!((standing(&both, &good), standing(&both, &misnamed)), (GOOD, UNKNOWN));
    refused(&ask(&house, &other_mark, request(&[&good], &[])).await, UNAUTHORIZED);

    let long = format!("{mark}0000");
    let upper = format!("{}A", &mark[..15]);
    for name in [
        "0",
        "0000000000000000",
        &mark[..15],
        &long,
        &upper,
        "acme",
        "..%2f..",
        "%00",
        "%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9",
    ] {
        for path in [format!("/pki/{name}/ca.der"), format!("/pki/{name}/crl.der"), format!("/pki/{name}/crl/a.der")] {
            let answer = get(&house, &path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert!(answer.body.len() < 64, "and nothing is told: {path}");
        }
        refused(&ask(&house, name, request(&[&good], &[])).await, UNAUTHORIZED);
    }
}
