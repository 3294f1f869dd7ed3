//! What the shadow says to whoever subscribes, and the bodies of its answers.

use bytes::Bytes;
use fleetward_base::{TenantId, Timestamp};
use fleetward_core::shadow::{Applied, Delta, Document, Refused, View};
use fleetward_wire::aws::shadow::{Deleted, Documents, Rejected, Revision, State, encode};
use fleetward_wire::aws::topic::{ShadowOp, ShadowPart, Topic};
use serde_json::{Map, Value, json};

use super::{ShadowKey, Via, light};
use crate::{App, hub};

/// Delta before accepted: a client that has seen `accepted` drops a delta of the same version (AWS leaves the order open).
/// `held`: it is told later.
pub(super) async fn updated(app: &App, tenant: &TenantId, key: &ShadowKey, applied: &Applied, via: Via, held: bool) {
    let document = &applied.document;
    if let Some(found) = applied.delta.as_ref().filter(|_| !held) {
        delta(app, tenant, key, document, found, applied.client_token.clone()).await;
    }
    if via == Via::Message {
        publish(app, tenant, key, ShadowPart::Accepted(ShadowOp::Update), accepted(applied)).await;
    }
    let body = Documents {
        previous: applied.previous.as_ref().map(revision),
        current: revision(document),
        timestamp: document.updated_at.secs(),
        client_token: applied.client_token.clone(),
    };
    publish(app, tenant, key, ShadowPart::Documents, encode(&body)).await;
    light::updated(app, tenant, key, applied).await;
    hub::tell_desired(app, tenant, key, applied).await;
}

pub(super) async fn delta(
    app: &App,
    tenant: &TenantId,
    key: &ShadowKey,
    document: &Document,
    delta: &Delta,
    client_token: Option<String>,
) {
    let body = State {
        state: &delta.state,
        metadata: &delta.metadata,
        version: document.version,
        timestamp: document.updated_at.secs(),
        client_token,
    };
    publish(app, tenant, key, ShadowPart::Delta, encode(&body)).await;
}

pub(super) async fn deleted(
    app: &App,
    tenant: &TenantId,
    key: &ShadowKey,
    deleted: &Document,
    client_token: Option<String>,
) {
    let body = deleted_body(deleted, client_token);
    publish(app, tenant, key, ShadowPart::Accepted(ShadowOp::Delete), body).await;
}

pub(super) fn accepted(applied: &Applied) -> Vec<u8> {
    encode(&State {
        state: &applied.accepted.state,
        metadata: &applied.accepted.metadata,
        version: applied.document.version,
        timestamp: applied.document.updated_at.secs(),
        client_token: applied.client_token.clone(),
    })
}

pub(super) fn view(view: &View, now: Timestamp, client_token: Option<String>) -> Vec<u8> {
    let mut state = view.document.state.to_value();
    if let (Value::Object(sections), Some(delta)) = (&mut state, &view.delta) {
        sections.insert("delta".to_owned(), Value::Object(delta.state.clone()));
    }
    encode(&State {
        state: &state,
        metadata: &view.document.metadata.to_value(),
        version: view.document.version,
        timestamp: now.secs(),
        client_token,
    })
}

pub(super) fn operator_view(found: &View, now: Timestamp) -> Vec<u8> {
    let body = view(found, now, None);
    let (oscillating, stale) = (found.document.watch.found(), found.document.watch.stale());
    if oscillating.is_empty() && stale.is_none() {
        return body;
    }
    let shown = oscillating.iter().map(|(path, it)| {
        json!({
            "path": path,
            "since": it.since.to_string(),
            "moves": it.moves,
            "explanation": it.explanation(),
            "hint": it.hint(),
        })
    });
    let mut whole: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    if !oscillating.is_empty() {
        whole.insert("oscillating".to_owned(), shown.collect());
    }
    if let Some(stale) = stale {
        let shown = json!({ "since": stale.since.to_string(), "applied": stale.applied, "known": stale.known });
        whole.insert("stale_report".to_owned(), shown);
    }
    encode(&whole)
}

pub(super) fn deleted_body(deleted: &Document, client_token: Option<String>) -> Vec<u8> {
    encode(&Deleted { version: deleted.version, timestamp: deleted.updated_at.secs(), client_token })
}

pub(super) fn refused(refused: &Refused, now: Timestamp, client_token: Option<String>) -> Vec<u8> {
    let (code, message) = (refused.code(), refused.to_string());
    encode(&Rejected { code, message, timestamp: Some(now.secs()), client_token })
}

fn revision(document: &Document) -> Revision<Value> {
    Revision { state: document.state.to_value(), metadata: document.metadata.to_value(), version: document.version }
}

async fn publish(app: &App, tenant: &TenantId, key: &ShadowKey, part: ShadowPart, body: Vec<u8>) {
    if let Some(links) = app.links() {
        let topic = Topic::shadow(key.device.as_str(), key.wire_name(), part).to_string();
        links.publish(tenant, topic, Bytes::from(body)).await;
    }
}
