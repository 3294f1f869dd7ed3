//! certs-only CMS: the form in which EST hands out certificates.
//!
//! ContentInfo { signedData, SignedData { version 1, no digest algorithms, id-data without content, certificates, no
//! signers } } (RFC 5652 §5, RFC 7030 §4.1.3). The certificates keep the order they are given in, since clients take the
//! first as the leaf; DER would sort the SET, but SignedData is BER by its own rule and OpenSSL does not sort either.

use const_oid::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

use crate::asn1;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// Packs certificates (DER), leaf first.
pub fn certs_only(certificates: &[&[u8]]) -> Vec<u8> {
    let signed = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &asn1::element(asn1::SET, &[]),
        &asn1::sequence(&[&asn1::oid(DATA)]),
        &asn1::element(0xa0, certificates),
        &asn1::element(asn1::SET, &[]),
    ]);
    asn1::sequence(&[&asn1::oid(SIGNED_DATA), &asn1::element(0xa0, &[&signed])])
}

/// Something that is not certs-only CMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CMS message with certificates")]
pub struct BadCms;

/// Unpacks the certificates (DER), in their order. Neither signatures nor certificates are checked.
///
/// # Errors
/// [`BadCms`] where it is something else.
pub fn certificates(der: &[u8]) -> Result<Vec<Vec<u8>>, BadCms> {
    read(der).map_err(|_| BadCms)
}

fn read(der: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let mut outer = SliceReader::new(der)?;
    let list = outer.sequence(|outer| {
        if ObjectIdentifier::decode(outer)? != SIGNED_DATA {
            return Err(Tag::ObjectIdentifier.value_error());
        }
        let explicit = Header::decode(outer)?;
        explicit.tag.assert_eq(Tag::ContextSpecific { constructed: true, number: TagNumber::N0 })?;
        outer.read_nested(explicit.length, |signed| signed.sequence(signed_data))
    })?;
    outer.finish(list)
}

fn signed_data<'a>(signed: &mut der::NestedReader<'_, impl Reader<'a>>) -> der::Result<Vec<Vec<u8>>> {
    u8::decode(signed)?;
    signed.tlv_bytes()?;
    signed.tlv_bytes()?;
    let mut list = Vec::new();
    while !signed.is_finished() {
        let header = signed.peek_header()?;
        if header.tag != (Tag::ContextSpecific { constructed: true, number: TagNumber::N0 }) {
            signed.tlv_bytes()?;
            continue;
        }
        let element = signed.tlv_bytes()?;
        let start = element.len() - usize::try_from(header.length)?;
        let mut set = SliceReader::new(element.get(start..).unwrap_or_default())?;
        while !set.is_finished() {
            list.push(set.tlv_bytes()?.to_vec());
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_in_the_order_it_packed() {
        let (first, second) = (asn1::sequence(&[&[2, 1, 9]]), asn1::sequence(&[&[2, 1, 1]]));
        let packed = certs_only(&[&first, &second]);
        assert_eq!(certificates(&packed), Ok(vec![first, second]));
        assert_eq!(certificates(&certs_only(&[])), Ok(vec![]));
        assert_eq!(certificates(&packed[1..]), Err(BadCms));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn reading_never_panics(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            at in 0_usize..60,
            with in proptest::num::u8::ANY,
        ) {
            certificates(&bytes).ok();
            let mut packed = certs_only(&[&asn1::sequence(&[&[2, 1, 9]])]);
            if let Some(byte) = packed.get_mut(at) {
                *byte = with;
            }
            certificates(&packed).ok();
        }
    }
}
