//! Bodies of fleet provisioning, in JSON and in CBOR.
//!
//! A body is a map of texts. What a service does not know in a request it passes over, as AWS does. CBOR is read to a
//! bounded depth, and no byte may follow the value; a map of indefinite length is as good as another.

use std::collections::BTreeMap;

use fleetward_base::limits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Format;

/// How deep a body may nest: a map of maps, and the arrays and objects of a device's configuration within.
const DEPTH: usize = 16;

/// A body that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error("the payload is longer than {} bytes", limits::PROVISIONING_BODY_BYTES)]
    TooLong,
    #[error("the payload is not JSON")]
    NotJson,
    #[error("the payload is not CBOR")]
    NotCbor,
    #[error("the payload is not what this topic takes")]
    Shape,
}

/// A request that the service reads. An empty payload is an empty request where nothing is required.
pub trait Request: DeserializeOwned {
    /// # Errors
    /// [`BadBody`] says what is wrong with the bytes.
    fn parse(format: Format, payload: &[u8]) -> Result<Self, BadBody> {
        match (format, payload) {
            (_, []) => serde_json::from_value(Value::Object(Map::new())).map_err(|_| BadBody::Shape),
            _ => decode(format, payload),
        }
    }
}

/// `create-from-csr`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CsrRequest {
    /// In PEM.
    pub certificate_signing_request: String,
}

/// `create`: nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRequest {}

/// `provision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionRequest {
    /// Empty where none was sent: the service says so in words that clients know.
    #[serde(default)]
    pub certificate_ownership_token: String,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

impl Request for CsrRequest {}
impl Request for KeysRequest {}
impl Request for ProvisionRequest {}

/// `create-from-csr/…/accepted`, and with a key `create/…/accepted`. It holds secrets, so it is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAccepted {
    pub certificate_id: String,
    /// In PEM.
    pub certificate_pem: String,
    /// In PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    pub certificate_ownership_token: String,
}

/// `provision/…/accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionAccepted {
    #[serde(default)]
    pub device_configuration: Map<String, Value>,
    pub thing_name: String,
}

/// `…/rejected` of any request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub status_code: u16,
    pub error_code: RejectCode,
    pub error_message: String,
}

/// `$aws/events/certificates/registered/ID`: a certificate of a registered authority was seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredEvent {
    pub certificate_id: String,
    pub ca_certificate_id: String,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub certificate_status: String,
    pub aws_account_id: String,
    pub certificate_registration_timestamp: Option<String>,
}

impl RegisteredEvent {
    /// Of a certificate that waits. The account is the tenant.
    pub fn pending(certificate: &str, authority: &str, tenant: &str, at_ms: i64) -> Self {
        Self {
            certificate_id: certificate.to_owned(),
            ca_certificate_id: authority.to_owned(),
            timestamp: at_ms,
            certificate_status: "PENDING_ACTIVATION".to_owned(),
            aws_account_id: tenant.to_owned(),
            certificate_registration_timestamp: Some(at_ms.to_string()),
        }
    }
}

/// Why a request was rejected. Clients of AWS look at the code, and some at its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectCode {
    InvalidPayload,
    #[serde(rename = "InvalidCSR")]
    InvalidCsr,
    InvalidCertificateOwnershipToken,
    InvalidParameters,
    InvalidTemplate,
    ResourceNotFound,
    ResourceConflict,
    AccessDenied,
    LimitExceeded,
    ThrottlingException,
    ServiceUnavailable,
    InternalServerError,
}

impl RejectCode {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidPayload
            | Self::InvalidCsr
            | Self::InvalidCertificateOwnershipToken
            | Self::InvalidParameters
            | Self::InvalidTemplate => 400,
            Self::AccessDenied => 403,
            Self::ResourceNotFound => 404,
            Self::ResourceConflict => 409,
            Self::LimitExceeded | Self::ThrottlingException => 429,
            Self::InternalServerError => 500,
            Self::ServiceUnavailable => 503,
        }
    }
}

impl Rejected {
    pub fn new(error_code: RejectCode, error_message: impl Into<String>) -> Self {
        Self { status_code: error_code.status(), error_code, error_message: error_message.into() }
    }
}

/// Reads a body.
///
/// # Errors
/// [`BadBody`] says what is wrong with the bytes.
pub fn decode<T: DeserializeOwned>(format: Format, payload: &[u8]) -> Result<T, BadBody> {
    if payload.len() > limits::PROVISIONING_BODY_BYTES {
        return Err(BadBody::TooLong);
    }
    match format {
        Format::Json => {
            let value: Value = serde_json::from_slice(payload).map_err(|_| BadBody::NotJson)?;
            serde_json::from_value(value).map_err(|_| BadBody::Shape)
        }
        Format::Cbor => {
            let mut rest = payload;
            let value: ciborium::Value =
                ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH).map_err(|_| BadBody::NotCbor)?;
            if !rest.is_empty() {
                return Err(BadBody::NotCbor);
            }
            value.deserialized().map_err(|_| BadBody::Shape)
        }
    }
}

/// Writes a body. Every body here has text keys and finite numbers, so it always has some bytes.
pub fn encode<T: Serialize>(format: Format, body: &T) -> Vec<u8> {
    match format {
        Format::Json => serde_json::to_vec(body).unwrap_or_default(),
        Format::Cbor => {
            let mut bytes = Vec::new();
            match ciborium::into_writer(body, &mut bytes) {
                Ok(()) => bytes,
                Err(_) => Vec::new(),
            }
        }
    }
}
