//! From BER to DER, as far as writers of CMS make a difference.
//!
//! CMS is BER by its own rule (RFC 5652 §1.2), and stacks that stream write lengths that are not known in advance and
//! strings in pieces (Bouncy Castle, older iOS). Lengths become definite and short, and the pieces of an OCTET STRING one.
//! What is inside of primitives is not touched, and neither is the order of anything.

/// How deep elements may be nested.
const DEPTH: usize = 24;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;

/// The one element in `input`, in DER. `None` where it is none, or nested too deep, or something comes after it.
pub(crate) fn to_der(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len());
    let rest = element(input, DEPTH, &mut out)?;
    rest.is_empty().then_some(out)
}

/// Writes the first element of `input` and gives what comes after it.
fn element<'a>(input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let depth = depth.checked_sub(1)?;
    let (tag, rest) = input.split_first()?;
    // A tag of more than one byte, or the end of contents where no element ends.
    if tag & 0x1f == 0x1f || *tag == 0 {
        return None;
    }
    let (length, rest) = length(rest)?;
    let Some(length) = length else {
        return if tag & CONSTRUCTED == 0 { None } else { open_ended(*tag, rest, depth, out) };
    };
    let (content, after) = rest.split_at_checked(length)?;
    if tag & CONSTRUCTED == 0 {
        out.extend_from_slice(&crate::asn1::element(*tag, &[content]));
        return Some(after);
    }
    let mut inner = Vec::with_capacity(content.len());
    let mut left = content;
    while !left.is_empty() {
        left = element(left, depth, &mut inner)?;
    }
    close(*tag, &inner, out)?;
    Some(after)
}

/// An element that ends with an end of contents.
fn open_ended<'a>(tag: u8, mut input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut inner = Vec::new();
    loop {
        if let Some(after) = input.strip_prefix(&[0, 0]) {
            close(tag, &inner, out)?;
            return Some(after);
        }
        input = element(input, depth, &mut inner)?;
    }
}

/// Writes a constructed element; the pieces of an OCTET STRING, which are in DER by now, as one.
fn close(tag: u8, inner: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if tag == OCTET_STRING | CONSTRUCTED {
        out.extend_from_slice(&crate::asn1::element(OCTET_STRING, &[&pieces(inner)?]));
    } else {
        out.extend_from_slice(&crate::asn1::element(tag, &[inner]));
    }
    Some(())
}

/// The content of OCTET STRINGs that stand one after the other, in DER.
pub(crate) fn pieces(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len());
    while let Some((tag, rest)) = input.split_first() {
        let (Some(length), rest) = length(rest)? else { return None };
        let (content, after) = rest.split_at_checked(length)?;
        if *tag != OCTET_STRING {
            return None;
        }
        out.extend_from_slice(content);
        input = after;
    }
    Some(out)
}

/// A length, `None` where it is open, and what comes after it.
fn length(input: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (first, rest) = input.split_first()?;
    match first {
        0x80 => Some((None, rest)),
        0..0x80 => Some((Some(usize::from(*first)), rest)),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            let value =
                bytes.iter().try_fold(0_usize, |value, byte| value.checked_mul(256)?.checked_add((*byte).into()))?;
            Some((Some(value), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_stays_as_it_is() {
        for der in [&[0x30, 3, 2, 1, 5][..], &[0x04, 0], &[0x30, 0], &[0xa0, 2, 0x30, 0]] {
            assert_eq!(to_der(der).as_deref(), Some(der));
        }
    }

    #[test]
    fn open_lengths_and_pieces_are_closed() {
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 2, 1, 2, 4, 1, 3, 0, 0, 0xa0, 0x80, 2, 1, 5, 0, 0, 0, 0];
        assert_eq!(to_der(&ber).as_deref(), Some(&[0x30, 10, 4, 3, 1, 2, 3, 0xa0, 3, 2, 1, 5][..]));
        assert_eq!(to_der(&[0x24, 4, 4, 0, 4, 0]).as_deref(), Some(&[4, 0][..]));
        assert_eq!(to_der(&[0x04, 0x81, 1, 7]).as_deref(), Some(&[4, 1, 7][..]), "a length longer than need be");
    }

    #[test]
    fn what_is_none_is_refused() {
        let deep = [[0x30, 0x80]; 40].concat();
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x80, 0],
            &[0x04, 0x80, 0, 0],
            &[0x30, 5, 2, 1, 5],
            &[0x30, 3, 2, 1, 5, 0],
            &[0x24, 3, 2, 1, 5],
            &[0x3f, 0x81, 1, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 5],
            &[0, 0],
            &deep,
        ] {
            assert_eq!(to_der(bad), None, "{bad:02x?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(128))]
        #[test]
        fn any_bytes_are_read_or_refused_and_twice_is_once(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            if let Some(der) = to_der(&bytes) {
                proptest::prop_assert_eq!(to_der(&der), Some(der.clone()));
            }
            pieces(&bytes);
        }
    }
}
