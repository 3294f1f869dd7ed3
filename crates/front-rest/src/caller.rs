//! Who asks: a bearer of an API token, and the tenant that the path names.
//!
//! Failing to be made is the 401. [`InTenant`] adds the tenant of the path: one that is not there and one that is not the
//! caller's give the same 404, so that nobody learns whose customers we have. Permissions are not looked at here; every
//! use case does that itself.

use axum::extract::FromRequestParts;
use fleetward_app::{Ctx, Error, Idempotency, Peer, Principal, api_tokens, tenants};
use fleetward_base::{RequestId, TenantId, limits};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::body::Json;
use crate::door::Door;
use crate::path::param;
use crate::problem::Problem;

/// An authenticated caller.
#[derive(Debug)]
pub struct Caller {
    pub ctx: Ctx,
    idempotency_key: Option<String>,
}

/// An authenticated caller in a tenant that is theirs to see.
#[derive(Debug)]
pub struct InTenant {
    pub ctx: Ctx,
    pub tenant: TenantId,
    idempotency_key: Option<String>,
}

impl Caller {
    /// The context for a request that changes something: with the caller's `Idempotency-Key`, if one was sent.
    pub fn once<T>(self, body: &Json<T>) -> Ctx {
        with_key(self.ctx, self.idempotency_key, body)
    }
}

impl InTenant {
    /// As [`Caller::once`], and the tenant.
    pub fn once<T>(self, body: &Json<T>) -> (Ctx, TenantId) {
        (with_key(self.ctx, self.idempotency_key, body), self.tenant)
    }
}

fn with_key<T>(mut ctx: Ctx, key: Option<String>, body: &Json<T>) -> Ctx {
    ctx.idempotency = key.map(|key| Idempotency { key, request_hash: body.fingerprint });
    ctx
}

impl FromRequestParts<Door> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let request_id = parts.extensions.get::<RequestId>().copied().ok_or_else(Problem::internal)?;
        let address = parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
        door.may_sign_in(address)?;
        // To have no token is to have forgotten it; only a wrong one is a guess.
        let token = bearer(&parts.headers).ok_or_else(Problem::unauthenticated)?;
        let principal = api_tokens::authenticate(door.app(), token).await.map_err(|error| {
            if matches!(error, Error::Unauthenticated { .. }) {
                door.sign_in_failed(address);
            }
            Problem::from(error)
        })?;
        let ctx = Ctx { principal, request_id, address, idempotency: None };
        Ok(Self { ctx, idempotency_key: idempotency_key(&parts.headers)? })
    }
}

impl FromRequestParts<Door> for InTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let Caller { ctx, idempotency_key } = Caller::from_request_parts(parts, door).await?;
        let unseen = || Problem::not_found("tenant");
        let named = param(parts, door, "tenant").await.ok_or_else(unseen)?;
        let tenant: TenantId = named.parse().map_err(|_| unseen())?;
        let there = match &ctx.principal {
            Principal::Operator { tenant: Some(home), .. } => *home == tenant,
            Principal::Operator { tenant: None, .. } => tenants::exists(door.app(), &tenant).await?,
            Principal::Device { .. } | Principal::System { .. } => false,
        };
        if !there {
            return Err(unseen());
        }
        Ok(Self { ctx, tenant, idempotency_key })
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1; the scheme's case does not matter).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES {
        let detail = format!("1 to {} visible ASCII characters", limits::IDEMPOTENCY_KEY_BYTES);
        return Err(Problem::malformed(detail).at("Idempotency-Key"));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().expect("a name"), HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn bearers() {
        let of = |value: &str| bearer(&headers("authorization", value)).map(str::to_owned);
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer  abc ").as_deref(), Some("abc"));
        for bad in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_have_a_bound() {
        assert_eq!(idempotency_key(&headers("idempotency-key", "k")), Ok(Some("k".to_owned())));
        assert!(idempotency_key(&headers("idempotency-key", &"k".repeat(256))).is_err());
        assert!(idempotency_key(&headers("idempotency-key", "")).is_err());
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }
}
