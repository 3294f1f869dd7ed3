//! Azure's IoT Hub, as a device sees it: the twin, methods, and messages with properties.
//!
//! A device that is in by its certificate uses these topics as it uses its others; its user name, which says the device too, may
//! say no other. A module of a device has no identity here, and a shared access signature lets nobody in. Topics below
//! `$iothub/` are those of the connection; messages are ordinary ones on `devices/{device}/messages/..`, which are handled here only
//! where they are to be retained: a hub does not, and says so in a property.

mod calls;

use std::sync::Arc;

use fleetward_app::hub::{report_twin, twin};
use fleetward_app::shadow::ShadowError;
use fleetward_base::DeviceId;
use fleetward_broker::{Message, Nack, Overload, Principal, PublishError, Refusal, ServiceRequest};
use fleetward_core::access::DeviceRights;
use fleetward_wire::azure::hub::{self, Login, Properties, Request, Way};

pub(crate) use calls::Calls;

use crate::MqttHooks;

/// Whether a topic is of this family, where the broker asks. Events are, as far as they are to be retained ([`is_event`]).
pub(crate) fn owns(topic: &str) -> bool {
    topic.starts_with(hub::PREFIX) || is_event(topic)
}

/// Whether a topic has properties in its last level, and may be long for that.
pub fn has_properties(topic: &str) -> bool {
    hub::parse_messages(topic).is_some()
}

pub(crate) fn is_event(topic: &str) -> bool {
    hub::parse_messages(topic).is_some_and(|(_, way, _)| way == Way::Events)
}

/// Holds what a user name of a hub's device says against who it is.
pub(crate) fn check_login(user_name: Option<&str>, device: &DeviceId) -> Result<(), Refusal> {
    match user_name.and_then(Login::parse) {
        Some(login) if login.module.is_some() || login.device != device.as_str() => Err(Refusal::NotAuthorized),
        _ => Ok(()),
    }
}

impl MqttHooks {
    /// Works on a request of this family.
    pub(crate) async fn hub(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Result<(), Nack> {
        if principal.rights != DeviceRights::Full {
            return Err(Nack::NotAuthorized);
        }
        if is_event(&request.topic) {
            return self.hub_event(principal, request).await;
        }
        let (ctx, tenant, device) = (self.ctx(principal), &principal.tenant, &principal.device);
        match Request::parse(&request.topic).ok_or(Nack::TopicInvalid)? {
            Request::TwinGet { rid } => match twin(&self.app, &ctx, tenant, device).await {
                Ok(twin) => self.twin_answer(principal, 200, rid, None, twin.to_string().as_bytes()),
                Err(error) => self.twin_refused(principal, rid, error),
            },
            Request::TwinReported { rid } => {
                match report_twin(&self.app, &ctx, tenant, device, &request.payload).await {
                    Ok(version) => self.twin_answer(principal, 204, rid, Some(version), b""),
                    Err(error) => self.twin_refused(principal, rid, error),
                }
            }
            // One that nobody waits for any more is of no use to anybody, and no fault of the device.
            Request::MethodAnswer { status, rid } => {
                self.calls.answered(tenant, device, rid, status, request.payload.clone());
            }
        }
        Ok(())
    }

    /// One request too many at once.
    pub(crate) fn throttle_hub(&self, principal: &Principal, request: &ServiceRequest) -> Overload {
        match Request::parse(&request.topic) {
            Some(Request::TwinGet { rid } | Request::TwinReported { rid }) => {
                self.twin_answer(principal, 429, rid, None, b"");
                Overload::Answered
            }
            Some(Request::MethodAnswer { .. }) | None => Overload::Wait,
        }
    }

    /// A message that was to be retained. It is handed on, and says that it was.
    async fn hub_event(&self, principal: &Principal, request: &ServiceRequest) -> Result<(), Nack> {
        let (device, _, level) = hub::parse_messages(&request.topic).ok_or(Nack::TopicInvalid)?;
        let mut properties = Properties::parse(level).ok_or(Nack::TopicInvalid)?;
        if request.retain {
            properties.push(hub::RETAIN, "true");
        }
        let topic = hub::messages(device, Way::Events, &properties);
        let broker = self.broker.get().ok_or(Nack::Unavailable)?;
        let message = Message { qos: request.qos, ..Message::new(&topic, &request.payload) };
        let receipt = broker.publish(&principal.tenant, message).map_err(|error| match error {
            PublishError::TopicInvalid => Nack::TopicInvalid,
            PublishError::TooLarge | PublishError::QueueFull | PublishError::RetainedFull => Nack::Quota,
        })?;
        receipt.durable().await.map_err(|_| Nack::Unavailable)
    }

    fn twin_refused(&self, principal: &Principal, rid: &str, error: ShadowError) {
        if let ShadowError::App(error) = &error {
            tracing::warn!(device = %principal.device, %error, "a request for a twin failed");
        }
        let refused = error.refused();
        self.twin_answer(principal, status(refused.code()), rid, None, b"");
    }

    fn twin_answer(&self, principal: &Principal, status: u16, rid: &str, version: Option<u64>, body: &[u8]) {
        let topic = hub::twin_answer(status, rid, version);
        self.answer(&principal.tenant, &principal.device, &topic, body);
    }
}

/// A hub has few codes: what is wrong with the request, that it is too much, that another change came in between, or its own fault.
const fn status(code: u16) -> u16 {
    match code {
        401 | 403 => 401,
        404 => 404,
        409 => 412,
        429 => 429,
        500.. => 500,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_name_may_say() {
        let gw: DeviceId = "gw-1".parse().expect("a name");
        for (name, good) in [
            (None, true),
            (Some("?SDK=Python&Version=1"), true),
            (Some("hub.example/gw-1/?api-version=2021-04-12"), true),
            (Some("hub.example/gw-2/?api-version=2021-04-12"), false),
            (Some("hub.example/gw-1/module/?api-version=2021-04-12"), false),
        ] {
            assert_eq!(check_login(name, &gw).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn codes() {
        for (code, said) in
            [(400, 400), (403, 401), (404, 404), (409, 412), (413, 400), (415, 400), (429, 429), (500, 500)]
        {
            assert_eq!(status(code), said, "{code}");
        }
    }
}
