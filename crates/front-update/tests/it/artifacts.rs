//! Who gets which bytes.

use http::{Method, StatusCode};

use crate::fixture::{House, content, peer};

#[tokio::test]
async fn a_device_gets_the_artifact_of_its_deployment() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let answer = house.get(&device, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("etag"), format!("\"{}\"", house.sha256));
    assert_eq!((answer.field("accept-ranges"), answer.field("content-type")), ("bytes", "application/octet-stream"));
    assert_eq!(answer.field("content-length"), content().len().to_string());
    assert!(answer.body == content(), "byte for byte");

    let path = format!("/artifacts/{}", house.sha256);
    let head = house.send(&device, Method::HEAD, &path, &[("range", "bytes=0-9")]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "a range means nothing to HEAD");
    assert_eq!(head.field("content-length"), content().len().to_string());
    let post = house.send(&device, Method::POST, &path, &[]).await;
    assert_eq!((post.status, post.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test]
async fn nobody_else_gets_it() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let idle = house.device("acme", "gw-2").await;
    assert_eq!(house.get(&idle, &[]).await.status, StatusCode::NOT_FOUND, "no deployment");
    let foreign = house.device("zenith", "gw-1").await;
    assert_eq!(house.get(&foreign, &[]).await.status, StatusCode::NOT_FOUND, "another tenant's device of this name");
    assert_eq!(house.get(&peer(vec![]), &[]).await.status, StatusCode::FORBIDDEN, "no certificate");
    let junk = peer(vec![vec![1, 2, 3].into()]);
    assert_eq!(house.get(&junk, &[]).await.status, StatusCode::FORBIDDEN);
    house.revoke("gw-1").await;
    assert_eq!(house.get(&device, &[]).await.status, StatusCode::FORBIDDEN, "revoked");
}

#[tokio::test]
async fn what_stands_above_a_factorys_certificate_comes_with_it() {
    let house = House::new().await;
    let chain = house.made_on_a_line("acme", "gw-1").await;
    let alone = peer(chain.iter().take(1).cloned().collect());
    let whole = peer(chain);
    assert_eq!(house.get(&alone, &[]).await.status, StatusCode::FORBIDDEN, "nobody knows who made it");
    assert_eq!(house.get(&whole, &[]).await.status, StatusCode::NOT_FOUND, "a device, with nothing to fetch yet");
    house.deploy("gw-1").await;
    assert_eq!(house.get(&whole, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_artifact_of_its_own_is_not_there() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let other = fleetward_supply::Sha256::of(b"for other hardware").to_string();
    let upper = house.sha256.to_string().to_uppercase();
    for name in [other.as_str(), &upper, "x", "..%2f..%2ffleetward.db", &"0".repeat(64), &"a".repeat(5000)] {
        let answer = house.send(&device, Method::GET, &format!("/artifacts/{name}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn one_part_of_it() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let (content, size) = (content(), content().len());
    for (header, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=12345-", 12345..size),
        ("bytes=-7", size - 7..size),
        ("bytes=390000-9999999", 390_000..size),
    ] {
        let answer = house.get(&device, &[("range", header)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{header}");
        let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!((answer.field("content-range"), answer.body.as_ref()), (range.as_str(), &content[part.clone()]));
        assert_eq!(answer.field("content-length"), part.len().to_string());
    }
    let beyond = house.get(&device, &[("range", "bytes=400000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.field("content-range"), format!("bytes */{size}"));
    for nonsense in ["bytes=9-8", "bytes=x", "lines=0-1", "bytes=0-9,5-20"] {
        let answer = house.get(&device, &[("range", nonsense)]).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, size), "{nonsense}");
    }
    let twice = house.get(&device, &[("range", "bytes=0-1"), ("range", "bytes=4-5")]).await;
    assert_eq!((twice.status, twice.body.len()), (StatusCode::OK, size));
}

#[tokio::test]
async fn several_parts_of_it() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let size = content().len();
    let answer = house.get(&device, &[("range", "bytes=4-7, 100000-150000, -3")]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.field("content-length"), answer.body.len().to_string());
    let boundary = answer.field("content-type").strip_prefix("multipart/byteranges; boundary=").expect("multipart");
    let mut expected = Vec::new();
    for (number, part) in [4..8, 100_000..150_001, size - 3..size].into_iter().enumerate() {
        let before = if number == 0 { "" } else { "\r\n" };
        let range = format!("{}-{}/{size}", part.start, part.end - 1);
        let head = format!(
            "{before}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content()[part]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected, "the parts are framed as RFC 9110 §14.6 has it");
}

#[tokio::test]
async fn conditions() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let tag = format!("\"{}\"", house.sha256);
    let size = content().len();
    for (fields, status, length) in [
        (vec![("if-none-match", tag.as_str())], StatusCode::NOT_MODIFIED, 0),
        (vec![("if-none-match", "\"other\""), ("range", "bytes=0-1")], StatusCode::PARTIAL_CONTENT, 2),
        (vec![("if-match", "\"other\"")], StatusCode::PRECONDITION_FAILED, 0),
        (vec![("if-match", tag.as_str())], StatusCode::OK, size),
        (vec![("if-range", tag.as_str()), ("range", "bytes=0-1")], StatusCode::PARTIAL_CONTENT, 2),
        (vec![("if-range", "\"other\""), ("range", "bytes=0-1")], StatusCode::OK, size),
        (vec![("if-range", "Fri, 20 Nov 2026 10:53:00 GMT"), ("range", "bytes=0-1")], StatusCode::OK, size),
        (vec![("if-range", "\"other\""), ("range", "bytes=999999999-")], StatusCode::OK, size),
        (vec![("if-modified-since", "Fri, 20 Nov 2026 10:53:00 GMT")], StatusCode::OK, size),
    ] {
        let answer = house.get(&device, &fields).await;
        assert_eq!((answer.status, answer.body.len()), (status, length), "{fields:?}");
        assert_eq!(answer.field("etag"), tag, "{fields:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_gone_are_not_there() {
    let house = House::new().await;
    let device = house.device("acme", "gw-1").await;
    house.deploy("gw-1").await;
    let file = house.dir.path().join("artifacts/acme").join(house.sha256.to_string());
    std::fs::write(&file, b"cut").expect("writes");
    assert_eq!(house.get(&device, &[]).await.status, StatusCode::NOT_FOUND, "another size is another file");
    std::fs::remove_file(&file).expect("removes");
    assert_eq!(house.get(&device, &[]).await.status, StatusCode::NOT_FOUND);
}
