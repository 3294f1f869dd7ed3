//! A DID document (DID Core 1.0 §5) as far as it says by which keys its subject authenticates.

use serde::Deserialize;

use super::{DidError, multikey};
use crate::jws::{Jwk, VerifyingKey};

/// Keys of one document that are looked at.
const METHODS: usize = 32;

/// A key by which the subject authenticates, with its id.
#[derive(Clone, Debug)]
pub struct Method {
    /// A DID URL: the DID, `#`, and a name.
    pub id: String,
    pub key: VerifyingKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    #[serde(default)]
    verification_method: Vec<Written>,
    #[serde(default)]
    authentication: Vec<Relation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    id: String,
    controller: Option<String>,
    public_key_jwk: Option<Jwk>,
    public_key_multibase: Option<String>,
}

/// A relation names a method of the document, or holds one itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Relation {
    Name(String),
    Whole(Box<Written>),
}

/// The keys by which `did` authenticates. Those of a kind that is not known are passed over, and so are those of another
/// controller.
///
/// # Errors
/// [`DidError::Document`] where it is no document of `did`.
pub fn authentication(did: &str, json: &[u8]) -> Result<Vec<Method>, DidError> {
    let document: Document = serde_json::from_slice(json).map_err(|_| DidError::Document)?;
    if document.id != did {
        return Err(DidError::Document);
    }
    let whole = |id: &str| {
        let relative = id.strip_prefix(did).unwrap_or(id);
        id == did || relative.starts_with('#')
    };
    let mut methods = Vec::new();
    for relation in document.authentication.iter().take(METHODS) {
        let written = match relation {
            Relation::Whole(written) => Some(written.as_ref()),
            Relation::Name(name) => {
                document.verification_method.iter().find(|method| full(did, &method.id) == full(did, name))
            }
        };
        let Some(written) = written.filter(|written| whole(&written.id)) else { continue };
        if written.controller.as_deref().is_some_and(|controller| controller != did) {
            continue;
        }
        if let Some(key) = key_of(written) {
            methods.push(Method { id: full(did, &written.id), key });
        }
    }
    Ok(methods)
}

/// `#key-1` means a part of this very document.
fn full(did: &str, id: &str) -> String {
    if id.starts_with('#') { format!("{did}{id}") } else { id.to_owned() }
}

fn key_of(written: &Written) -> Option<VerifyingKey> {
    match (&written.public_key_jwk, &written.public_key_multibase) {
        (Some(jwk), _) => VerifyingKey::from_jwk(jwk).ok(),
        (None, Some(text)) => multikey(text).ok(),
        (None, None) => None,
    }
}
