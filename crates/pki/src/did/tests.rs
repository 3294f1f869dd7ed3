use serde_json::json;

use super::document::authentication;
use super::*;

/// Of the did:key method, §3.1 and its test vectors.
const ED25519: [&str; 3] = [
    "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    "did:key:z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG",
];
const P256: [&str; 2] = [
    "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
    "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
];
const P384: &str = "did:key:z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9";

fn curve(text: &str) -> Result<Curve, DidError> {
    match Did::parse(text)? {
        Did::Key { key, .. } => Ok(key.curve()),
        Did::Web { .. } => Err(DidError::Method),
    }
}

#[test]
fn keys_of_the_method() {
    for text in ED25519 {
        assert_eq!(curve(text), Ok(Curve::Ed25519), "{text}");
    }
    for text in P256 {
        assert_eq!(curve(text), Ok(Curve::P256), "{text}");
    }
    assert_eq!(curve(P384), Ok(Curve::P384));
    // X25519, secp256k1 and BLS of the same vectors sign nothing that is read here.
    for other in [
        "did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
    ] {
        assert_eq!(curve(other), Err(DidError::Key), "{other}");
    }
}

#[test]
fn what_is_no_key() {
    for (text, error) in [
        ("", DidError::Malformed),
        ("did:", DidError::Malformed),
        ("did:key", DidError::Malformed),
        ("did:key:", DidError::Malformed),
        ("did:key:z", DidError::Malformed),
        ("did:key:m6Mkh", DidError::Malformed),
        ("did:key:z0OIl", DidError::Malformed),
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2do", DidError::Key),
        ("did:ion:EiClkZMDxPKqC9c", DidError::Method),
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK#x", DidError::Malformed),
    ] {
        assert_eq!(curve(text), Err(error), "{text}");
    }
    assert_eq!(curve(&format!("did:key:z{}", "1".repeat(400))), Err(DidError::Malformed));
}

#[test]
fn documents_of_the_web() {
    let url = |text: &str| match Did::parse(text)? {
        Did::Web { url, .. } => Ok(url),
        Did::Key { .. } => Err(DidError::Method),
    };
    assert_eq!(url("did:web:w3c-ccg.github.io").as_deref(), Ok("https://w3c-ccg.github.io/.well-known/did.json"));
    assert_eq!(url("did:web:example.com:user:alice").as_deref(), Ok("https://example.com/user/alice/did.json"));
    assert_eq!(url("did:web:Example.com%3A3000:u").as_deref(), Ok("https://example.com:3000/u/did.json"));
    for host in ["", "localhost", "127.0.0.1", "10.0.0.1", "printer.local", "a..b", "-a.b", "a_b.c", "[::1]", "1.2"] {
        assert_eq!(url(&format!("did:web:{host}")), Err(DidError::Host), "{host}");
    }
    assert_eq!(url("did:web:example.com%3A0"), Err(DidError::Host));
    assert_eq!(url("did:web:example.com%3A99999"), Err(DidError::Host));
    for path in
        ["did:web:example.com:..", "did:web:example.com::x", "did:web:example.com:a%2fb", "did:web:user@b.c:x/y"]
    {
        assert!(url(path).is_err(), "{path}");
    }
}

#[test]
fn a_document_names_its_keys() {
    let did = "did:web:example.com";
    let key = &ED25519[0]["did:key:".len()..];
    let document = json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "verificationMethod": [
            { "id": format!("{did}#a"), "type": "Multikey", "controller": did, "publicKeyMultibase": key },
            { "id": "#b", "type": "JsonWebKey", "publicKeyJwk": {
                "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" } },
            { "id": "#rsa", "type": "JsonWebKey", "publicKeyJwk": { "kty": "RSA", "n": "AA", "e": "AQAB" } },
            { "id": "#unused", "type": "Multikey", "publicKeyMultibase": key },
        ],
        "authentication": [
            "#a", format!("{did}#b"), "#rsa", "#nowhere", "did:web:other.example#a",
            { "id": "#c", "type": "Multikey", "controller": "did:web:other.example", "publicKeyMultibase": key },
            { "id": "did:web:other.example#d", "type": "Multikey", "publicKeyMultibase": key },
        ],
    });
    let text = serde_json::to_vec(&document).expect("JSON");
    let methods = authentication(did, &text).expect("a document");
    let seen: Vec<_> = methods.iter().map(|method| (method.id.as_str(), method.key.curve())).collect();
    assert_eq!(seen, [("did:web:example.com#a", Curve::Ed25519), ("did:web:example.com#b", Curve::P256)]);
    assert_eq!(authentication("did:web:other.example", &text).map(|_| ()), Err(DidError::Document));
    assert_eq!(authentication(did, b"{}").map(|_| ()), Err(DidError::Document));
}

#[test]
fn documents_from_the_standard_are_read() {
    let did = "did:example:123456789abcdefghi";
    let text = br#"{"id":"did:example:123456789abcdefghi"}"#;
    assert_eq!(authentication(did, text).expect("a document").len(), 0);
}
