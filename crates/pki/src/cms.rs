//! CMS messages. In this file: certs-only, the form in which EST and SCEP hand out certificates; beside it
//! [`enveloped`] and [`signed`], of which SCEP is made.
//!
//! ContentInfo { signedData, SignedData { version 1, no digest algorithms, id-data without content, certificates, no
//! signers } } (RFC 5652 §5, RFC 7030 §4.1.3). The certificates keep the order they are given in, since clients take the
//! first as the leaf; DER would sort the SET, but SignedData is BER by its own rule and OpenSSL does not sort either.

pub(crate) mod ber;
pub mod enveloped;
pub(crate) mod holder;
pub mod signed;
pub(crate) mod walk;

use const_oid::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

use crate::asn1;

pub use holder::Holder;

pub(crate) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
pub(crate) const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
pub(crate) const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
pub(crate) const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// Certificates, or recipients, of one message that are looked at.
pub(crate) const LIST: usize = 16;

/// Packs certificates (DER), leaf first.
pub fn certs_only(certificates: &[&[u8]]) -> Vec<u8> {
    unsigned(&asn1::element(0xa0, certificates))
}

/// Packs one certificate revocation list (DER), as SCEP hands it out (RFC 8894 §3.3.4).
pub fn crl_only(crl: &[u8]) -> Vec<u8> {
    unsigned(&asn1::element(0xa1, &[crl]))
}

fn unsigned(list: &[u8]) -> Vec<u8> {
    let signed = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &asn1::element(asn1::SET, &[]),
        &asn1::sequence(&[&asn1::oid(DATA)]),
        list,
        &asn1::element(asn1::SET, &[]),
    ]);
    content_info(SIGNED_DATA, &signed)
}

/// ContentInfo (RFC 5652 §3).
pub(crate) fn content_info(kind: ObjectIdentifier, content: &[u8]) -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(kind), &asn1::element(0xa0, &[content])])
}

/// Into the content of a ContentInfo of this kind.
pub(crate) fn enter(der: &[u8], kind: ObjectIdentifier) -> der::Result<walk::Walk<'_>> {
    let mut info = walk::only(der, Tag::Sequence)?;
    if ObjectIdentifier::from_der(info.expect(Tag::ObjectIdentifier)?.whole)? != kind {
        return Err(Tag::ObjectIdentifier.value_error());
    }
    let mut explicit = info.enter(walk::context(TagNumber::N0))?;
    info.end()?;
    explicit.enter(Tag::Sequence)
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
