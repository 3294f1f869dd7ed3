//! The manufacturing database (requirements I3, I15, I16): what a maker says of a device before anybody has seen it.
//!
//! A row names the device by its serial number and by the name that it enrols under, says what it is, and may carry a
//! statement that its maker signed. It is read from CSV or from lines of JSON ([`import`]), held to its rules
//! ([`InventoryRow::check`]), and consulted when a device enrols
//! ([`EnrolmentPolicy::admit`](crate::identity_policy::EnrolmentPolicy::admit)).

pub mod import;

use fleetward_base::{DeviceId, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::registry::Class;
use crate::text::text_enum;

text_enum! {
    /// Where a device keeps what its identity rests on (requirement I15).
    pub enum RootOfTrust("root of trust") {
        /// Nowhere in particular: a file.
        Software => "software",
        /// A discrete chip that keeps keys, such as an ATECC608 or SE050.
        SecureElement => "secure-element",
        Tpm2 => "tpm2",
        /// A separate world of the processor: TrustZone, PSA.
        TrustedExecution => "trusted-execution",
        /// Keys that a boot ROM derives from what it measured.
        Dice => "dice",
    }
}

/// What is known of one device from its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InventoryRow {
    pub serial: String,
    /// The name that it enrols under; the serial number where the maker gives none.
    pub device: DeviceId,
    pub class: Option<Class>,
    pub hardware: Option<String>,
    /// SHA-256 of the endorsement key of its TPM, in lower-case hex.
    pub ek_hash: Option<String>,
    pub batch: Option<String>,
    pub maker: Option<String>,
    pub root_of_trust: Option<RootOfTrust>,
    /// What the maker signed: a compact JWS over the row.
    pub attestation: Option<String>,
}

/// A row as somebody wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    pub serial: String,
    pub device: Option<String>,
    pub class: Option<String>,
    pub hardware: Option<String>,
    pub ek_hash: Option<String>,
    pub batch: Option<String>,
    pub maker: Option<String>,
    pub root_of_trust: Option<String>,
    pub attestation: Option<String>,
}

/// A field that holds what it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    pub field: &'static str,
    pub why: String,
}

impl InventoryRow {
    /// # Errors
    /// [`Invalid`] names the first field that holds what it may not.
    pub fn check(written: Written) -> Result<Self, Invalid> {
        let serial = text("serial", &written.serial)?;
        let device = given(written.device).unwrap_or_else(|| serial.clone());
        let device = device
            .parse()
            .map_err(|error: fleetward_base::BadId| Invalid { field: "device", why: error.to_string() })?;
        let class = parsed("class", given(written.class), "sensor, gateway or endpoint")?;
        let ek_hash = given(written.ek_hash).map(|text| text.to_ascii_lowercase());
        if ek_hash.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(Invalid { field: "ek_hash", why: "64 hexadecimal digits of a SHA-256".to_owned() });
        }
        let root_of_trust = parsed(
            "root_of_trust",
            given(written.root_of_trust),
            "software, secure-element, tpm2, trusted-execution or dice",
        )?;
        let attestation = given(written.attestation);
        if attestation.as_ref().is_some_and(|jws| jws.len() > limits::INVENTORY_ATTESTATION_BYTES || !jws.is_ascii()) {
            let why = format!("ASCII of {} bytes at most", limits::INVENTORY_ATTESTATION_BYTES);
            return Err(Invalid { field: "attestation", why });
        }
        Ok(Self {
            serial,
            device,
            class,
            hardware: optional("hardware", written.hardware)?,
            ek_hash,
            batch: optional("batch", written.batch)?,
            maker: optional("maker", written.maker)?,
            root_of_trust,
            attestation,
        })
    }

    /// Whether a maker's statement says nothing else than this row. It names the serial number at least.
    pub fn agrees(&self, claims: &Map<String, Value>) -> Result<(), &'static str> {
        let own = serde_json::to_value(self).unwrap_or_default();
        if claims.get("serial").and_then(Value::as_str) != Some(&self.serial) {
            return Err("serial");
        }
        let fields = ["device", "class", "hardware", "ek_hash", "batch", "maker", "root_of_trust"];
        let differs = |field: &&&str| claims.get(**field).is_some_and(|said| Some(said) != own.get(**field));
        fields.iter().find(differs).map_or(Ok(()), |field| Err(*field))
    }
}

/// In CSV an empty field is one that is not given.
fn given(field: Option<String>) -> Option<String> {
    field.filter(|text| !text.is_empty())
}

fn optional(field: &'static str, value: Option<String>) -> Result<Option<String>, Invalid> {
    given(value).map(|value| text(field, &value)).transpose()
}

fn parsed<T: std::str::FromStr>(field: &'static str, value: Option<String>, rule: &str) -> Result<Option<T>, Invalid> {
    value.map(|text| text.parse().map_err(|_| Invalid { field, why: rule.to_owned() })).transpose()
}

fn text(field: &'static str, value: &str) -> Result<String, Invalid> {
    let refuse = |why: &str| Err(Invalid { field, why: why.to_owned() });
    match value {
        "" => refuse("must not be empty"),
        long if long.len() > limits::DEVICE_FIELD_BYTES => refuse("longer than a field of a device may be"),
        value if value.chars().any(char::is_control) => refuse("must not hold control characters"),
        value if value.trim() != value => refuse("must not begin or end with a blank"),
        value => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(serial: &str) -> Written {
        Written { serial: serial.to_owned(), ..Written::default() }
    }

    #[test]
    fn rows_are_held_to_their_rules() {
        let row = InventoryRow::check(Written {
            class: Some("gateway".into()),
            ek_hash: Some("AB".repeat(32)),
            root_of_trust: Some("tpm2".into()),
            batch: Some(String::new()),
            ..written("SN-1")
        });
        let row = row.expect("good");
        assert_eq!((row.device.as_str(), row.class, row.batch), ("SN-1", Some(Class::Gateway), None));
        assert_eq!((row.ek_hash, row.root_of_trust), (Some("ab".repeat(32)), Some(RootOfTrust::Tpm2)));
        let some = |text: &str| Some(text.to_owned());
        for (bad, field) in [
            (written(""), "serial"),
            (written(" a"), "serial"),
            (written("a b"), "device"),
            (Written { device: some("a/b"), ..written("1") }, "device"),
            (Written { class: some("toaster"), ..written("1") }, "class"),
            (Written { ek_hash: some("ab"), ..written("1") }, "ek_hash"),
            (Written { root_of_trust: some("hope"), ..written("1") }, "root_of_trust"),
            (Written { maker: some("a\nb"), ..written("1") }, "maker"),
            (Written { attestation: some(&"x".repeat(100_000)), ..written("1") }, "attestation"),
        ] {
            assert_eq!(InventoryRow::check(bad).map_err(|invalid| invalid.field), Err(field));
        }
    }

    #[test]
    fn a_statement_says_what_the_row_says() {
        let row = InventoryRow::check(Written { batch: Some("b1".into()), ..written("SN-1") }).expect("good");
        let agrees = |claims: Value| row.agrees(claims.as_object().expect("an object"));
        assert_eq!(agrees(json!({ "serial": "SN-1" })), Ok(()));
        assert_eq!(agrees(json!({ "serial": "SN-1", "batch": "b1", "iat": 1 })), Ok(()));
        assert_eq!(agrees(json!({ "serial": "SN-1", "batch": "b2" })), Err("batch"));
        assert_eq!(agrees(json!({ "serial": "SN-1", "class": "gateway" })), Err("class"));
        assert_eq!(agrees(json!({ "serial": 1 })), Err("serial"));
        assert_eq!(agrees(json!({})), Err("serial"));
    }
}
