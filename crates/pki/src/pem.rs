//! PEM (RFC 7468): what people pass around in files, and what other authorities put into their answers.
//!
//! Read with text around and between the blocks, as `openssl x509` writes it; a block of another label is passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const LINE: usize = 64;
pub const CERTIFICATE: &str = "CERTIFICATE";
pub const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";

/// Text in which a block begins and does not end, or holds no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not PEM: a block is cut off or holds no base64")]
pub struct BadPem;

/// One block, in lines of 64.
pub fn write(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The content of all blocks with this label, in their order.
///
/// # Errors
/// [`BadPem`].
pub fn read(label: &str, text: &str) -> Result<Vec<Vec<u8>>, BadPem> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end).ok_or(BadPem)?;
        let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(packed).map_err(|_| BadPem)?;
        if der.is_empty() {
            return Err(BadPem);
        }
        blocks.push(der);
        rest = after;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_found_among_text() {
        let text = format!("subject=x\n{}junk\n{}", write(CERTIFICATE, &[1; 100]), write("PRIVATE KEY", &[2]));
        let text = format!("{text}\r\n{}", write(CERTIFICATE, &[3]).replace('\n', "\r\n"));
        assert_eq!(read(CERTIFICATE, &text), Ok(vec![vec![1; 100], vec![3]]));
        assert_eq!(read(CERTIFICATE, "nothing"), Ok(Vec::new()));
        for bad in ["-----BEGIN CERTIFICATE-----\nAA==", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----"] {
            assert_eq!(read(CERTIFICATE, bad), Err(BadPem), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            prop_assert_eq!(read(CERTIFICATE, &write(CERTIFICATE, &der)), Ok(vec![der]));
        }

        #[test]
        fn reading_never_panics(text in ".*") {
            read(CERTIFICATE, &text).ok();
        }
    }
}
