//! Names and ids in the path, as the types that they are.
//!
//! A text that cannot be such an id names nothing: it answers 404 like any other that is not there, so that the answer
//! tells nothing about what exists.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use fleetward_app::enrollment_keys::Kind;
use fleetward_app::labels;
use fleetward_base::{
    BadId, CommandId, DeviceId, JobId, ReleaseId, RevocationId, RolloutId, SignerId, TokenId, TransferId,
};
use fleetward_supply::Sha256;
use http::request::Parts;

use crate::problem::Problem;

/// A type that stands in paths under one name.
pub trait Segment: FromStr {
    /// The placeholder's name.
    const PARAM: &'static str;
    /// What the caller knows it as.
    const WHAT: &'static str;
}

impl Segment for DeviceId {
    const PARAM: &'static str = "device";
    const WHAT: &'static str = "device";
}
/// An access key by its id. What cannot be one is found nowhere.
#[derive(Debug)]
pub struct AccessKeyId(pub String);

impl FromStr for AccessKeyId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if good { Ok(Self(text.to_owned())) } else { Err(BadId { kind: "access key", rule: "letters and digits" }) }
    }
}
impl Segment for AccessKeyId {
    const PARAM: &'static str = "access_key";
    const WHAT: &'static str = "access key";
}
impl Segment for JobId {
    const PARAM: &'static str = "job";
    const WHAT: &'static str = "job";
}
impl Segment for CommandId {
    const PARAM: &'static str = "command";
    const WHAT: &'static str = "command";
}
impl Segment for TokenId {
    const PARAM: &'static str = "token";
    const WHAT: &'static str = "token";
}
impl Segment for TransferId {
    const PARAM: &'static str = "transfer";
    const WHAT: &'static str = "transfer";
}
impl Segment for SignerId {
    const PARAM: &'static str = "signer";
    const WHAT: &'static str = "signer";
}
impl Segment for ReleaseId {
    const PARAM: &'static str = "release";
    const WHAT: &'static str = "release";
}
impl Segment for RolloutId {
    const PARAM: &'static str = "rollout";
    const WHAT: &'static str = "rollout";
}
/// A rotation is a rollout of renewals, and has an id of that kind.
#[derive(Debug)]
pub struct RotationId(pub RolloutId);

impl FromStr for RotationId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse().map(Self)
    }
}
impl Segment for RotationId {
    const PARAM: &'static str = "rotation";
    const WHAT: &'static str = "rotation";
}
impl Segment for RevocationId {
    const PARAM: &'static str = "revocation";
    const WHAT: &'static str = "revocation";
}
impl Segment for Sha256 {
    const PARAM: &'static str = "sha256";
    const WHAT: &'static str = "artifact";
}

/// Names that people chose, which nothing but their length holds back here: whether there is such a thing the use case says.
macro_rules! free_text {
    ($($(#[$doc:meta])* $name:ident: $param:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub String);

        impl FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                if (1..=FREE_TEXT_BYTES).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(()) }
            }
        }
        impl Segment for $name {
            const PARAM: &'static str = $param;
            const WHAT: &'static str = $what;
        }
    )*};
}

/// The longest is a DID.
const FREE_TEXT_BYTES: usize = 512;

free_text! {
    /// A request's id, or the code that people type.
    RequestHandle: "request", "enrolment request";
    /// The serial number of a row of the inventory.
    Serial: "serial", "row of the inventory";
    MakerName: "maker", "maker";
    /// An enrolment group, or the device of an individual enrolment.
    EnrollmentName: "name", "enrolment";
    MethodName: "method", "method of the device";
    DidText: "did", "identifier of the device";
    TopicName: "topic", "retained message";
}

/// On what labels stand.
#[derive(Debug)]
pub struct Labelled(pub labels::Kind);

impl FromStr for Labelled {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        labels::Kind::parse(text).map(Self).map_err(drop)
    }
}
impl Segment for Labelled {
    const PARAM: &'static str = "labelled";
    const WHAT: &'static str = "kind of thing with labels";
}

impl Segment for Kind {
    const PARAM: &'static str = "holder";
    const WHAT: &'static str = "kind of enrolment";
}

/// What an anchor of attestation is called: a SHA-256 in hex.
#[derive(Debug)]
pub struct AnchorId(pub String);

/// What a reference of attestation is called: 32 digits of hex.
#[derive(Debug)]
pub struct ReferenceId(pub String);

fn digits(text: &str, count: usize) -> Option<String> {
    let good = text.len() == count && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    good.then(|| text.to_owned())
}

impl FromStr for AnchorId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        digits(text, 64).map(Self).ok_or(())
    }
}
impl FromStr for ReferenceId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        digits(text, 32).map(Self).ok_or(())
    }
}
impl Segment for AnchorId {
    const PARAM: &'static str = "anchor";
    const WHAT: &'static str = "anchor";
}
impl Segment for ReferenceId {
    const PARAM: &'static str = "reference";
    const WHAT: &'static str = "reference";
}

/// A name of what has no id: a template or a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let good = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}
impl Segment for Name {
    const PARAM: &'static str = "name";
    const WHAT: &'static str = "resource";
}

/// The number of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionNumber(pub u64);

impl FromStr for VersionNumber {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|version| i64::try_from(*version).is_ok()).map(Self).ok_or(())
    }
}
impl Segment for VersionNumber {
    const PARAM: &'static str = "version";
    const WHAT: &'static str = "version";
}

/// The id of a certificate: its SHA-256 in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId(pub String);

impl FromStr for CertificateId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}
impl Segment for CertificateId {
    const PARAM: &'static str = "certificate";
    const WHAT: &'static str = "certificate";
}

/// The segment of this type.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<S: Send + Sync, T: Segment> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        param(parts, state, T::PARAM)
            .await
            .and_then(|text| text.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::not_found(T::WHAT))
    }
}

/// The decoded text of one placeholder.
pub(crate) async fn param<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(param, _)| *param == name).map(|(_, value)| value.to_owned())
}
