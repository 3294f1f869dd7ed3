//! The first administrator: a one-time token that the server prints, and nothing that is known beforehand.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use fleetward_base::{Secret, Timestamp, TokenId};
use fleetward_core::access::Role;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_store::ApiTokenRow;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx};

/// An offer nobody took is withdrawn; a restart makes a new one.
const OFFER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long an administrator's first token lives.
const ADMIN_TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
const KEY: &str = "setup";
/// What stands there once the offer was taken: no offer.
const TAKEN: &[u8] = b"null";

/// What is kept of an offer.
#[derive(Serialize, Deserialize)]
struct Offer {
    hash: [u8; 32],
    expires_at: Timestamp,
}

/// Makes the offer of a fresh installation: a token that makes its bearer the first administrator, once. `None` where
/// there is an administrator. An earlier offer ends.
pub async fn offer(app: &App) -> Result<Option<Secret<String>>> {
    let token = generate(TokenKind::Setup, app.rng().as_ref());
    let kept = hash(TokenKind::Setup, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?;
    let value = serde_json::to_vec(&Offer { hash: kept, expires_at: app.now().plus(OFFER_LIFE) });
    let value = value.map_err(Error::internal)?;
    let offered = app
        .store()
        .system_write("offer setup", move |tx| {
            Box::pin(async move {
                if !tx.installation().await?.api_tokens(None, 1).await?.is_empty() {
                    return Ok::<_, Error>(false);
                }
                tx.put_installation_value(KEY, &value).await?;
                Ok(true)
            })
        })
        .await?;
    Ok(offered.then_some(token))
}

/// Takes the offer: the answer is the first administrator's token.
///
/// # Errors
/// `Unauthenticated` for anything but the present offer, without saying which it is.
pub async fn claim(app: &App, ctx: &Ctx, offered: &str) -> Result<Secret<String>> {
    let given = hash(TokenKind::Setup, offered).ok_or(Error::Unauthenticated { reason: "malformed setup token" })?;
    let token = generate(TokenKind::Api, app.rng().as_ref());
    let now = app.now();
    let row = ApiTokenRow {
        id: TokenId::generate(app.clock().as_ref(), app.rng().as_ref()),
        name: "first administrator".to_owned(),
        role: Role::Admin.to_string(),
        hash: hash(TokenKind::Api, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?.to_vec(),
        created_by: "setup".to_owned(),
        created_at: now,
        expires_at: Some(now.plus(ADMIN_TOKEN_LIFE)),
        last_used_at: None,
        revoked_at: None,
    };
    let address = ctx.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let request = ctx.request_id;
    app.store()
        .system_write("claim setup", move |tx| {
            Box::pin(async move {
                let kept = tx.installation_value(KEY).await?;
                let offer: Option<Offer> = kept.and_then(|value| serde_json::from_slice(&value).ok());
                let refused = Error::Unauthenticated { reason: "no such setup token" };
                let Some(offer) = offer else { return Err(refused) };
                if verify_slices_are_equal(&offer.hash, &given).is_err() || offer.expires_at <= now {
                    return Err(refused);
                }
                tx.put_installation_value(KEY, TAKEN).await?;
                let tx = tx.installation().await?;
                tx.insert_api_token(&row).await?;
                let entry = Entry::done(now, Actor::anonymous(address), Action::AdminClaimed)
                    .subject(row.id)
                    .severity(Severity::Notice)
                    .request(Some(request));
                record(tx, &entry).await?;
                Ok(())
            })
        })
        .await?;
    Ok(token)
}
