//! Bodies of EST: DER in base64, as its clients write and want it.
//!
//! Written on one line or in lines of 64: strongSwan before 5.9.11 takes only the first, libest only the second, and
//! each says which it is by its User-Agent. Read with line ends, blanks and tabs anywhere (RFC 8951 §3.1), without its
//! padding, and in PEM armour, which IoT Edge posts.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const LINE: usize = 64;

/// How a body is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    OneLine,
    Lines,
}

/// Writes a body.
pub fn encode(der: &[u8], layout: Layout) -> String {
    let text = BASE64.encode(der);
    match layout {
        Layout::OneLine => text,
        Layout::Lines => {
            let mut lines = String::with_capacity(text.len() + text.len() / LINE + 1);
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (line, after) = rest.split_at(rest.len().min(LINE));
                lines.push_str(line);
                lines.push('\n');
                rest = after;
            }
            lines
        }
    }
}

/// A body that is not DER in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64 of a DER element")]
pub struct BadBody;

/// Reads a body; the caller has held it to a limit.
///
/// # Errors
/// [`BadBody`] where it is not base64, or nothing.
pub fn decode(body: &[u8]) -> Result<Vec<u8>, BadBody> {
    let text = std::str::from_utf8(body).map_err(|_| BadBody)?;
    let text = unarmour(text.trim_start())?;
    let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n' | ' ' | '\t')).collect();
    let der = BASE64.decode(packed).map_err(|_| BadBody)?;
    if der.is_empty() { Err(BadBody) } else { Ok(der) }
}

/// The text between the first line of armour and the next, or the text itself where there is none.
fn unarmour(text: &str) -> Result<&str, BadBody> {
    let Some(armoured) = text.strip_prefix("-----BEGIN ") else { return Ok(text) };
    let (_, body) = armoured.split_once("-----").ok_or(BadBody)?;
    let (body, _) = body.split_once("-----END ").ok_or(BadBody)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let plain = BASE64.encode([0x30; 100]);
        let wrapped = |end: &str| {
            plain.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("ASCII")).collect::<Vec<_>>().join(end)
        };
        let armour = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\r\n{}\r\n-----END CERTIFICATE REQUEST-----\r\n",
            wrapped("\r\n")
        );
        let unpadded = plain.trim_end_matches('=').to_owned();
        for body in
            [plain.clone(), wrapped("\n"), wrapped("\r\n"), wrapped(" \t"), format!("\n{plain}\n\n"), armour, unpadded]
        {
            assert_eq!(decode(body.as_bytes()), Ok(vec![0x30; 100]), "{body}");
        }
    }

    #[test]
    fn refuses_what_is_not_base64() {
        for body in [
            "",
            " \r\n",
            "MA=A",
            "$$$$",
            "M",
            "-----BEGIN X-----",
            "-----BEGIN X",
            "-----BEGIN X-----\nMAA=",
            "MAA=\u{0}",
        ] {
            assert_eq!(decode(body.as_bytes()), Err(BadBody), "{body:?}");
        }
        assert_eq!(decode(&[0x30, 0x82, 1, 0]), Err(BadBody));
    }

    #[test]
    fn lines_have_64_columns_and_an_end() {
        let lines = encode(&[0xff; 96], Layout::Lines);
        assert_eq!(lines.split('\n').map(str::len).collect::<Vec<_>>(), [64, 64, 0]);
        assert!(!encode(&[0xff; 96], Layout::OneLine).contains('\n'));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn reads_what_it_writes(der in proptest::collection::vec(proptest::num::u8::ANY, 1..300)) {
            for layout in [Layout::OneLine, Layout::Lines] {
                proptest::prop_assert_eq!(decode(encode(&der, layout).as_bytes()), Ok(der.clone()));
            }
            decode(&der).ok();
        }
    }
}
