//! Who asks: the access key that the request is signed with, and the tenant that it is of.
//!
//! The body is read before the signature is checked, since it is part of it; so its size is held to the limit first, and an
//! address that failed too often is not listened to. A request without a good signature reaches no operation.

use axum::extract::Request;
use bytes::Bytes;
use fleetward_app::access_keys::{self, Unsigned};
use fleetward_app::{Ctx, Peer};
use fleetward_base::{RequestId, TenantId, limits};
use fleetward_front_rest::{Door, body};
use fleetward_wire::aws::sigv4::{self, Authorization, Mismatch};
use http::request::Parts;
use http::{StatusCode, header};

use crate::answer::Refusal;
use crate::operations::Service;

/// A request of somebody who may speak.
pub(crate) struct Entered {
    pub(crate) ctx: Ctx,
    pub(crate) tenant: TenantId,
    pub(crate) service: Service,
    /// As the client signed for it; it stands in names.
    pub(crate) region: String,
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
}

/// # Errors
/// [`Refusal`], by the names that AWS has for a signature that does not hold.
pub(crate) async fn enter(door: &Door, request_id: RequestId, request: Request) -> Result<Entered, Refusal> {
    let (parts, unread) = request.into_parts();
    let address = parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
    door.may_sign_in(address)
        .map_err(|problem| Refusal::new(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", problem.detail))?;
    let text = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = Authorization::parse(text)
        .map_err(|error| Refusal::new(StatusCode::FORBIDDEN, "IncompleteSignatureException", error.to_string()))?;
    let service = Service::signed_as(&authorization.service).ok_or_else(|| {
        let message = "Credential should be scoped to a service that is spoken here: iot, iotdata or iot-jobs-data.";
        Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message)
    })?;
    if parts.headers.contains_key("x-amz-security-token") {
        return Err(unknown());
    }
    let body = body::read(&parts.headers, unread, limits::AWS_BODY_BYTES).await.map_err(|problem| {
        let name = match (service, problem.status) {
            // Only the data plane has a name for it.
            (Service::Data, StatusCode::PAYLOAD_TOO_LARGE) => "RequestEntityTooLargeException",
            _ => "InvalidRequestException",
        };
        Refusal::new(problem.status, name, problem.detail)
    })?;
    let headers = headers(&parts);
    let signed = sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let (principal, tenant) =
        access_keys::authenticate(door.app(), &authorization, &signed).await.map_err(|unsigned| {
            // A clock that is off is no guess.
            if matches!(unsigned, Unsigned::UnknownKey | Unsigned::Mismatch(Mismatch::Signature)) {
                door.sign_in_failed(address);
            }
            refused(unsigned)
        })?;
    let ctx = Ctx { principal, request_id, address, idempotency: None };
    Ok(Entered { ctx, tenant, service, region: authorization.region, parts, body })
}

/// Names in lower case. Over HTTP/2 the host stands in the address.
fn headers(parts: &Parts) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    if let (None, Some(authority)) = (parts.headers.get(header::HOST), parts.uri.authority()) {
        headers.push((header::HOST.as_str().to_owned(), authority.as_str().to_owned()));
    }
    headers
}

fn unknown() -> Refusal {
    let message = "The security token included in the request is invalid.";
    Refusal::new(StatusCode::FORBIDDEN, "UnrecognizedClientException", message)
}

fn refused(unsigned: Unsigned) -> Refusal {
    let mismatch = match unsigned {
        Unsigned::UnknownKey => return unknown(),
        Unsigned::App(error) => return error.into(),
        Unsigned::Mismatch(mismatch) => mismatch,
    };
    let kind = match mismatch {
        Mismatch::Skewed => "RequestTimeTooSkewed",
        Mismatch::Date | Mismatch::Header | Mismatch::Target => "IncompleteSignatureException",
        Mismatch::Body | Mismatch::Signature => "SignatureDoesNotMatch",
    };
    Refusal::new(StatusCode::FORBIDDEN, kind, mismatch.to_string())
}
