//! Distinguished names: reading the attributes that identity depends on, and writing our own.
//!
//! A name that came from a device is compared and repeated as bytes; only its common name and organisation are read.

use const_oid::ObjectIdentifier;
use der::{Decode, Tag, Tagged};
use x509_cert::name::RdnSequence;

use crate::asn1;

pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(crate) const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const STATE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const QUALIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.46");

/// An attribute of a subject that a device's record can be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    CommonName,
    SerialNumber,
    Country,
    StateName,
    Organization,
    OrganizationalUnit,
    /// dnQualifier.
    Qualifier,
}

/// A Name with organisation (where given) and common name, as UTF8String.
pub fn write(organization: Option<&str>, common_name: &str) -> Vec<u8> {
    let rdn = |id: ObjectIdentifier, text: &str| {
        asn1::element(asn1::SET, &[&asn1::sequence(&[&asn1::oid(id), &asn1::utf8(text)])])
    };
    let organization = organization.map(|text| rdn(ORGANIZATION, text)).unwrap_or_default();
    asn1::sequence(&[&organization, &rdn(COMMON_NAME, common_name)])
}

/// What is read of a Name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub common_names: Vec<String>,
    pub organizations: Vec<String>,
    /// No attribute at all.
    pub empty: bool,
}

/// # Errors
/// Where it is not a Name, or where a common name or organisation is not text that can be compared.
pub fn read(name_der: &[u8]) -> der::Result<Names> {
    let rdns = RdnSequence::from_der(name_der)?;
    let mut names = Names { empty: rdns.0.is_empty(), ..Names::default() };
    for attribute in rdns.0.iter().flat_map(|rdn| rdn.0.iter()) {
        let list = match attribute.oid {
            COMMON_NAME => &mut names.common_names,
            ORGANIZATION => &mut names.organizations,
            _ => continue,
        };
        list.push(text(attribute.value.tag(), attribute.value.value())?);
    }
    Ok(names)
}

/// Whether two Names say the same: attribute by attribute the same text, in whichever of the string types (RFC 5280 §7.1,
/// without its folding of case and blanks). Authorities elsewhere write the types that they like.
pub fn say_the_same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (RdnSequence::from_der(one), RdnSequence::from_der(other)) else { return false };
    let value = |any: &der::Any| text(any.tag(), any.value()).map_err(|_| any.clone());
    let flat = |name: &RdnSequence| -> Vec<Vec<_>> {
        let rdns = name.0.iter();
        rdns.map(|rdn| rdn.0.iter().map(|attribute| (attribute.oid, value(&attribute.value))).collect()).collect()
    };
    flat(&one) == flat(&other)
}

/// The attributes of a Name that are known here and readable as text, in their order; others are passed over.
///
/// # Errors
/// Where it is not a Name.
pub fn attributes(name_der: &[u8]) -> der::Result<Vec<(Attribute, String)>> {
    let rdns = RdnSequence::from_der(name_der)?;
    let mut found = Vec::new();
    for attribute in rdns.0.iter().flat_map(|rdn| rdn.0.iter()) {
        let known = match attribute.oid {
            COMMON_NAME => Attribute::CommonName,
            SERIAL_NUMBER => Attribute::SerialNumber,
            COUNTRY => Attribute::Country,
            STATE_NAME => Attribute::StateName,
            ORGANIZATION => Attribute::Organization,
            ORGANIZATIONAL_UNIT => Attribute::OrganizationalUnit,
            QUALIFIER => Attribute::Qualifier,
            _ => continue,
        };
        if let Ok(text) = text(attribute.value.tag(), attribute.value.value()) {
            found.push((known, text));
        }
    }
    Ok(found)
}

/// The text of a string of one of the types of DirectoryString that are ASCII or UTF-8 (RFC 5280 §4.1.2.4). A NUL is
/// refused: readers in C would see another name.
fn text(tag: Tag, bytes: &[u8]) -> der::Result<String> {
    let bad = || tag.value_error();
    match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
            if text.contains('\0') { Err(bad()) } else { Ok(text.to_owned()) }
        }
        // TeletexString has many readings; the ASCII of it has one.
        Tag::TeletexString if bytes.is_ascii() && !bytes.contains(&0) => {
            Ok(bytes.iter().copied().map(char::from).collect())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_names_read_back() {
        let names = read(&write(Some("acme"), "gw-1")).expect("a name");
        assert_eq!(names.common_names, ["gw-1"]);
        assert_eq!(names.organizations, ["acme"]);
        assert!(!names.empty);
        assert!(read(&[0x30, 0]).expect("an empty name").empty);
    }

    #[test]
    fn the_type_of_a_string_says_nothing() {
        let printable = |text: &str| {
            let pair = asn1::sequence(&[&asn1::oid(COMMON_NAME), &asn1::element(0x13, &[text.as_bytes()])]);
            asn1::sequence(&[&asn1::element(asn1::SET, &[&pair])])
        };
        assert!(say_the_same(&write(None, "gw-1"), &printable("gw-1")));
        assert!(!say_the_same(&write(None, "gw-1"), &printable("gw-2")));
        assert!(!say_the_same(&write(Some("acme"), "gw-1"), &printable("gw-1")));
        assert!(!say_the_same(&write(None, "gw-1"), b"nonsense"));
    }

    #[test]
    fn attributes_are_found_by_their_meaning() {
        let found = attributes(&write(Some("acme"), "gw-1")).expect("a name");
        assert_eq!(found, [(Attribute::Organization, "acme".to_owned()), (Attribute::CommonName, "gw-1".to_owned())]);
        assert_eq!(
            attributes(&write(None, "gw-1\0.evil")).expect("a name"),
            [],
            "what cannot be compared is not there"
        );
        assert!(attributes(b"x").is_err());
    }

    #[test]
    fn a_nul_makes_no_name() {
        assert!(read(&write(None, "gw-1\0.evil")).is_err());
    }
}
