//! `SharedAccessSignature sr=RESOURCE&sig=SIGNATURE&se=EXPIRY[&skn=KEYNAME]`: HMAC-SHA-256 in base64 over the resource as it
//! stands in the token, a line feed, and the expiry in seconds since 1970.
//!
//! Only read here. Whoever has the key compares, in constant time, and looks at the clock.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{decoded, pairs};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const SCHEME: &str = "SharedAccessSignature";
/// A token is never longer: a resource has two names of 128 bytes at most, and a signature 44.
const BYTES: usize = 1024;

/// A text that is no such token. Says nothing of what stood in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSas;

impl fmt::Display for BadSas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a shared access signature")
    }
}

impl std::error::Error for BadSas {}

/// A token as it was read, not yet believed.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    signed: String,
    /// What it is about, decoded: `{idScope}/registrations/{registrationId}`.
    pub resource: String,
    /// Seconds since 1970.
    pub expires: u64,
    pub key_name: Option<String>,
    pub signature: [u8; 32],
}

impl SasToken {
    /// # Errors
    /// [`BadSas`] where a part is missing, twice, or not of its kind.
    pub fn parse(text: &str) -> Result<Self, BadSas> {
        let (scheme, rest) = text.split_once(' ').ok_or(BadSas)?;
        if text.len() > BYTES || !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(BadSas);
        }
        let [mut resource, mut signature, mut expires, mut key_name] = [None; 4];
        for (name, value) in pairs(rest) {
            let place = match name {
                "sr" => &mut resource,
                "sig" => &mut signature,
                "se" => &mut expires,
                "skn" => &mut key_name,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(BadSas);
            }
        }
        let (resource, expiry) = (resource.ok_or(BadSas)?, expires.ok_or(BadSas)?);
        if expiry.is_empty() || !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadSas);
        }
        let signature = decoded(signature.ok_or(BadSas)?).ok_or(BadSas)?;
        let signature = BASE64.decode(signature).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(BadSas)?;
        Ok(Self {
            signed: format!("{resource}\n{expiry}"),
            resource: decoded(resource).ok_or(BadSas)?,
            expires: expiry.parse().map_err(|_| BadSas)?,
            key_name: key_name.map(|name| decoded(name).ok_or(BadSas)).transpose()?,
            signature,
        })
    }

    /// What the signature is over.
    pub fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }
}

/// A signature lets in until it ends, so it is not shown.
impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by azure-iot-device 2.14.0 with the key `a2V5` (`key`) for the scope `0ne1` and the registration `gw-1`.
    const PYTHON: &str = "SharedAccessSignature sr=0ne1%2Fregistrations%2Fgw-1&sig=\
        c9nntf7hPsZ5%2FNQ6vCM%2BIHab5Boe840ieBlQJ09Gkfg%3D&se=1795171980&skn=registration";

    #[test]
    fn a_token_is_read() {
        let token = SasToken::parse(PYTHON).expect("a token");
        assert_eq!((token.resource.as_str(), token.expires), ("0ne1/registrations/gw-1", 1_795_171_980));
        assert_eq!(token.signed(), b"0ne1%2Fregistrations%2Fgw-1\n1795171980");
        assert_eq!(token.key_name.as_deref(), Some("registration"));
        let lower = SasToken::parse(&PYTHON.replace("%2F", "%2f")).expect("the C SDK writes so");
        assert_eq!((&lower.resource, lower.signature), (&token.resource, token.signature));
        assert_eq!(lower.signed(), b"0ne1%2fregistrations%2fgw-1\n1795171980", "what was sent is what was signed");
    }

    #[test]
    fn what_is_none_is_refused() {
        let cases = [
            String::new(),
            "SharedAccessSignature".into(),
            PYTHON.replace("SharedAccessSignature", "Bearer"),
            PYTHON.replace("&se=1795171980", ""),
            PYTHON.replace("1795171980", "-1"),
            PYTHON.replace("1795171980", "99999999999999999999999"),
            PYTHON.replace("c9nn", "c9n"),
            PYTHON.replace("c9nn", "%ffc9nn"),
            format!("{PYTHON}&sr=other"),
            format!("{PYTHON}&x={}", "y".repeat(2000)),
        ];
        for text in cases {
            assert_eq!(SasToken::parse(&text), Err(BadSas), "{text}");
        }
    }

    #[test]
    fn a_signature_is_not_shown() {
        let shown = format!("{:?}", SasToken::parse(PYTHON).expect("a token"));
        assert_eq!(shown, r#"SasToken { resource: "0ne1/registrations/gw-1", expires: 1795171980, .. }"#);
    }
}
