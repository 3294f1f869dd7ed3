//! What a certificate's subject says, as the pseudo parameters of a template.

use std::collections::BTreeMap;

use fleetward_pki::name::{self, Attribute};

/// The pseudo parameters of a certificate with this subject (in DER) and id.
pub(super) fn pseudo(subject: &[u8], id: &str) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::from([("AWS::IoT::Certificate::Id", id.to_owned())]);
    for (attribute, text) in name::attributes(subject).unwrap_or_default() {
        let name = match attribute {
            Attribute::CommonName => "AWS::IoT::Certificate::CommonName",
            Attribute::SerialNumber => "AWS::IoT::Certificate::SerialNumber",
            Attribute::Country => "AWS::IoT::Certificate::Country",
            Attribute::StateName => "AWS::IoT::Certificate::StateName",
            Attribute::Organization => "AWS::IoT::Certificate::Organization",
            Attribute::OrganizationalUnit => "AWS::IoT::Certificate::OrganizationalUnit",
            Attribute::Qualifier => "AWS::IoT::Certificate::DistinguishedNameQualifier",
        };
        // Of several the first counts, as it does for AWS.
        values.entry(name).or_insert(text);
    }
    values
}
