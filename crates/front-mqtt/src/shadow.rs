//! The shadow service: `$aws/things/{thing}/shadow[/name/{name}]/{get,update,delete}`.

use std::sync::Arc;

use fleetward_app::shadow::{self, ShadowError, ShadowKey, Via};
use fleetward_broker::{Principal, ServiceRequest};
use fleetward_core::shadow::Refused;
use fleetward_wire::aws::client_token;
use fleetward_wire::aws::topic::{ShadowOp, ShadowPart, Topic};

use crate::MqttHooks;

impl MqttHooks {
    /// Works on one request and answers it, accepted or rejected, on the topic that the contract has for that.
    pub(crate) async fn shadow(
        &self,
        principal: &Arc<Principal>,
        name: Option<&str>,
        op: ShadowOp,
        request: &ServiceRequest,
    ) {
        let ctx = self.ctx(principal);
        let key = ShadowKey { device: principal.device.clone(), name: name.unwrap_or_default().to_owned() };
        let (tenant, token) = (&principal.tenant, client_token(&request.payload));
        let done: Result<(), ShadowError> = match op {
            ShadowOp::Get => shadow::get(&self.app, &ctx, tenant, &key).await.map(|view| {
                let body = shadow::view_body(&view, self.app.now(), token.clone());
                self.say(principal, name, ShadowPart::Accepted(op), &body);
            }),
            // The use case tells what it did itself: delta, accepted, documents, in the order of the versions.
            ShadowOp::Update => {
                shadow::update(&self.app, &ctx, tenant, &key, &request.payload, Via::Message).await.map(drop)
            }
            ShadowOp::Delete => {
                shadow::delete(&self.app, &ctx, tenant, &key, token.clone(), Via::Message).await.map(drop)
            }
        };
        if let Err(error) = done {
            if let ShadowError::App(error) = &error {
                tracing::warn!(device = %principal.device, %error, "a shadow request failed");
            }
            self.reject_shadow(principal, name, op, &error.refused(), token);
        }
    }

    pub(crate) fn reject_shadow(
        &self,
        principal: &Principal,
        name: Option<&str>,
        op: ShadowOp,
        refused: &Refused,
        token: Option<String>,
    ) {
        let body = shadow::refused_body(refused, self.app.now(), token);
        self.say(principal, name, ShadowPart::Rejected(op), &body);
    }

    fn say(&self, principal: &Principal, name: Option<&str>, part: ShadowPart, body: &[u8]) {
        let topic = Topic::shadow(principal.device.as_str(), name, part).to_string();
        self.publish(&principal.tenant, &topic, body);
    }
}
