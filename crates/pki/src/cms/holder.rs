//! Who holds a key, as CMS names them: by issuer and serial number of a certificate, or by its key id.

use der::{Tag, TagNumber};

use super::walk::{Element, Walk, context, only, primitive};
use crate::asn1;
use crate::certificate::{BadCertificate, Certificate};

/// The parts of a certificate that CMS needs, as the bytes they came as. Read leniently: the certificate with which SCEP
/// asks for the first one is signed by its own client and proves nothing, so it may have any version, serial number and
/// extensions. Who is trusted is read by [`Certificate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub der: Vec<u8>,
    /// The issuer's Name in DER.
    pub issuer: Vec<u8>,
    /// The serial number, the whole INTEGER in DER.
    pub(crate) serial: Vec<u8>,
    /// The subject's Name in DER.
    pub subject: Vec<u8>,
    /// The public key as a SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
}

impl Holder {
    /// # Errors
    /// [`BadCertificate`] where the bytes are none.
    pub fn of(certificate: &Certificate) -> Result<Self, BadCertificate> {
        Self::read(&certificate.der).map_err(|error| BadCertificate(error.to_string()))
    }

    pub(crate) fn read(der: &[u8]) -> der::Result<Self> {
        let mut certificate = only(der, Tag::Sequence)?;
        let mut tbs = certificate.enter(Tag::Sequence)?;
        tbs.optional(context(TagNumber::N0))?;
        let serial = tbs.expect(Tag::Integer)?.whole.to_vec();
        tbs.expect(Tag::Sequence)?;
        let issuer = tbs.expect(Tag::Sequence)?.whole.to_vec();
        tbs.expect(Tag::Sequence)?;
        let subject = tbs.expect(Tag::Sequence)?.whole.to_vec();
        let spki = tbs.expect(Tag::Sequence)?.whole.to_vec();
        Ok(Self { der: der.to_vec(), issuer, serial, subject, spki })
    }

    /// IssuerAndSerialNumber (RFC 5652 §10.2.4).
    pub(crate) fn name(&self) -> Vec<u8> {
        asn1::sequence(&[&self.issuer, &self.serial])
    }

    fn key_id(&self) -> Option<Vec<u8>> {
        Certificate::parse(&self.der).ok()?.subject_key_id
    }
}

/// How a message names a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HolderId {
    /// The whole IssuerAndSerialNumber.
    Name(Vec<u8>),
    KeyId(Vec<u8>),
}

impl HolderId {
    /// SignerIdentifier and RecipientIdentifier are the same choice (RFC 5652 §5.3, §6.2.1).
    pub(crate) fn read(walk: &mut Walk<'_>) -> der::Result<Self> {
        let Element { tag, content, whole } = walk.next()?;
        if tag == Tag::Sequence {
            let mut name = Walk::new(content)?;
            name.expect(Tag::Sequence)?;
            name.expect(Tag::Integer)?;
            name.end()?;
            Ok(Self::Name(whole.to_vec()))
        } else {
            tag.assert_eq(primitive(TagNumber::N0))?;
            Ok(Self::KeyId(content.to_vec()))
        }
    }

    pub(crate) fn is(&self, holder: &Holder) -> bool {
        match self {
            Self::Name(name) => *name == holder.name(),
            Self::KeyId(id) => holder.key_id().is_some_and(|own| own == *id),
        }
    }
}
