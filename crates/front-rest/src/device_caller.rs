//! Who asks on the devices' door, where our own API is spoken there: the client certificate says it, for each request anew.

use std::net::IpAddr;

use axum::extract::Request;
use fleetward_app::enroll::{Attempt, admit_chain};
use fleetward_app::{App, Ctx, Peer};
use fleetward_base::RequestId;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::body::{parse, read};
use crate::problem::Problem;

/// The device that the connection's certificate names, and its body of `limit` bytes at most.
pub(crate) async fn asked<T: DeserializeOwned>(app: &App, request: Request, limit: usize) -> Result<(Ctx, T), Problem> {
    let (parts, body) = request.into_parts();
    let ctx = device(app, &parts).await?;
    let bytes = read(&parts.headers, body, limit).await?;
    Ok((ctx, parse(&bytes)?))
}

/// The device that the connection's certificate names, if it may come in.
pub(crate) async fn device(app: &App, parts: &Parts) -> Result<Ctx, Problem> {
    let peer = parts.extensions.get::<Peer>().ok_or_else(Problem::internal)?;
    let request_id = parts.extensions.get::<RequestId>().copied().ok_or_else(Problem::internal)?;
    peer.leaf().ok_or_else(Problem::unauthenticated)?;
    let address: IpAddr = peer.address.ip();
    let admitted = admit_chain(app, &Attempt { address, request_id }, &peer.certificates).await?;
    Ok(Ctx { principal: admitted.principal(), request_id, address: Some(address), idempotency: None })
}
