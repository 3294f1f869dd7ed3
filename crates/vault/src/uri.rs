//! PKCS#11 URIs (RFC 7512), as far as they name a token and a key in it.
//!
//! Refused is what has no place in a URI that is stored and shown: a PIN or where it comes from, and the path of a library,
//! which would have the server load whatever a URI says. Those are settings of the server.

use std::fmt;
use std::str::FromStr;

const URI_BYTES_MAX: usize = 512;
const SCHEME: &str = "pkcs11:";
/// What RFC 3986 and RFC 7512 §2.3 let stand for itself in a path attribute.
const PLAIN: &[u8] = b"-._~:[]@!$'()*+,=&";

/// A token, and a key in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's label (CKA_LABEL).
    pub object: Option<String>,
    /// The key's id (CKA_ID).
    pub id: Option<Vec<u8>>,
}

/// Why a text is no URI of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a key in a token is named as pkcs11:token=LABEL;object=LABEL (RFC 7512)")]
    Malformed,
    #[error("{0} does not belong into the URI of a key: the server's settings say it")]
    Setting(&'static str),
    #[error("the attribute {0:?} is not known here")]
    Unknown(String),
    #[error("the URI names no {0}")]
    Missing(&'static str),
    #[error("the attribute {0:?} stands twice")]
    Twice(&'static str),
}

impl FromStr for KeyUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= URI_BYTES_MAX).ok_or(UriError::Malformed)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        if let Some(query) = query {
            return Err(refused(query.split('=').next().unwrap_or_default()));
        }
        let mut uri = Self::default();
        for attribute in path.split(';') {
            let (name, value) = attribute.split_once('=').ok_or(UriError::Malformed)?;
            let bytes = decode(value)?;
            let text = || String::from_utf8(bytes.clone()).map_err(|_| UriError::Malformed);
            match name {
                "token" => put(&mut uri.token, text()?, "token")?,
                "serial" => put(&mut uri.serial, text()?, "serial")?,
                "object" => put(&mut uri.object, text()?, "object")?,
                "id" => put(&mut uri.id, bytes, "id")?,
                // Every key that is asked for here is private or secret; the class says nothing more.
                "type" if matches!(value, "private" | "secret-key") => {}
                other => return Err(refused(other)),
            }
        }
        if uri.token.is_none() && uri.serial.is_none() {
            return Err(UriError::Missing("token"));
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err(UriError::Missing("object"));
        }
        Ok(uri)
    }
}

fn refused(name: &str) -> UriError {
    match name {
        "pin-value" | "pin-source" => UriError::Setting("a PIN"),
        "module-path" | "module-name" => UriError::Setting("a library"),
        other => UriError::Unknown(other.chars().take(40).collect()),
    }
}

fn put<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), UriError> {
    if place.replace(value).is_some() { Err(UriError::Twice(name)) } else { Ok(()) }
}

fn decode(text: &str) -> Result<Vec<u8>, UriError> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = if first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>().ok_or(UriError::Malformed)?;
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = digits.map(digit);
            out.push(high.ok_or(UriError::Malformed)? << 4 | low.ok_or(UriError::Malformed)?);
            after
        } else if first.is_ascii_alphanumeric() || PLAIN.contains(&first) {
            out.push(first);
            after
        } else {
            return Err(UriError::Malformed);
        };
    }
    if out.is_empty() || out.len() > 255 { Err(UriError::Malformed) } else { Ok(out) }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        let fields = [
            ("token", self.token.as_deref().map(str::as_bytes)),
            ("serial", self.serial.as_deref().map(str::as_bytes)),
            ("object", self.object.as_deref().map(str::as_bytes)),
            ("id", self.id.as_deref()),
        ];
        let present = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (at, (name, value)) in present.enumerate() {
            write!(f, "{}{name}=", if at == 0 { "" } else { ";" })?;
            for &byte in value {
                if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_a_token_and_a_key() {
        let uri: KeyUri = "pkcs11:token=Fleet%20One;object=acme-issuing;id=%01%ff;type=private".parse().expect("a URI");
        assert_eq!(uri.token.as_deref(), Some("Fleet One"));
        assert_eq!(uri.object.as_deref(), Some("acme-issuing"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xff][..]));
        assert_eq!(uri.to_string(), "pkcs11:token=Fleet%20One;object=acme-issuing;id=%01%FF");
    }

    #[test]
    fn refuses_what_a_stored_uri_must_not_say() {
        let fault = |text: &str| text.parse::<KeyUri>().expect_err(text);
        assert_eq!(fault("pkcs11:token=a;object=b?pin-value=1234"), UriError::Setting("a PIN"));
        assert_eq!(fault("pkcs11:token=a;object=b?pin-source=file:/x"), UriError::Setting("a PIN"));
        assert_eq!(fault("pkcs11:token=a;object=b?module-path=/tmp/evil.so"), UriError::Setting("a library"));
        assert_eq!(fault("pkcs11:token=a"), UriError::Missing("object"));
        assert_eq!(fault("pkcs11:object=a"), UriError::Missing("token"));
        assert_eq!(fault("pkcs11:token=a;token=b;object=c"), UriError::Twice("token"));
        assert_eq!(fault("pkcs11:token=a;object=b;color=red"), UriError::Unknown("color".to_owned()));
        for text in ["", "pkcs11:", "pkcs11:token", "file:/x", "pkcs11:token=a;object=b c", "pkcs11:token=%zz;object=b"]
        {
            assert_eq!(fault(text), UriError::Malformed, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(token in "[ -~é]{1,20}", object in "\\PC{1,20}", id in prop::option::of(prop::collection::vec(any::<u8>(), 1..9))) {
            let uri = KeyUri { token: Some(token), serial: None, object: Some(object), id };
            let text = uri.to_string();
            if text.len() <= URI_BYTES_MAX {
                prop_assert_eq!(text.parse::<KeyUri>(), Ok(uri));
            }
        }

        #[test]
        fn reading_never_panics(text in "(pkcs11:)?\\PC{0,80}") {
            text.parse::<KeyUri>().ok();
        }
    }
}
