//! Azure's device registration over MQTT: a device that has no certificate of ours yet signs in by user name and password,
//! and may do one thing.
//!
//! The user name `{idScope}/registrations/{registrationId}/api-version=..` says that this is wanted; the password is a
//! shared access signature, or empty where the device showed a factory's certificate in the hand-shake. Nothing else
//! signs in by name and password here. The connection has the rights of a claim: it is kept apart from the tenant's
//! devices, leaves no session behind, reaches `$dps/registrations/` alone, and ends soon.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_app::Error;
use fleetward_app::enroll::Attempt;
use fleetward_app::enroll::dps::{Answer, Proof, Registrant, operation, register, sign_in};
use fleetward_base::{DeviceId, limits};
use fleetward_broker::{Connect, Message, Nack, Principal, Refusal, ServiceRequest};
use fleetward_core::access::DeviceRights;
use fleetward_wire::azure::message::RegisterRequest;
use fleetward_wire::azure::topic::{PREFIX, response};
use fleetward_wire::azure::{Login, Request, SasToken};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use crate::MqttHooks;
use crate::answer::{ANSWER_EXPIRY, undelivered};

/// From its admission to its session a connection takes no longer.
const COMING: Duration = limits::MQTT_CONNECT_DEADLINE.saturating_mul(3);

/// Whether a topic is of this family.
pub(crate) fn owns(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

/// Connections that are in to register, by the name of the connection.
#[derive(Default)]
pub(crate) struct Registrants {
    live: Mutex<HashMap<DeviceId, Entry>>,
}

struct Entry {
    registrant: Registrant,
    attempt: Attempt,
    /// When it was let in; `None` once it is connected.
    coming_since: Option<Duration>,
}

impl Registrants {
    fn admit(&self, name: &DeviceId, registrant: Registrant, attempt: Attempt, now: Duration) -> bool {
        let mut live = self.live.lock();
        live.retain(|_, entry| entry.coming_since.is_none_or(|since| now.saturating_sub(since) < COMING));
        if live.values().filter(|entry| entry.registrant.tenant == registrant.tenant).count() >= limits::DPS_CONNECTIONS
        {
            return false;
        }
        live.insert(name.clone(), Entry { registrant, attempt, coming_since: Some(now) });
        true
    }

    /// Whether the connection is one of these.
    pub(crate) fn connected(&self, name: &DeviceId) -> bool {
        match self.live.lock().get_mut(name) {
            Some(entry) => {
                entry.coming_since = None;
                true
            }
            None => false,
        }
    }

    pub(crate) fn gone(&self, name: &DeviceId) -> bool {
        self.live.lock().remove(name).is_some()
    }

    fn get(&self, name: &DeviceId) -> Option<(Registrant, Attempt)> {
        self.live.lock().get(name).map(|entry| (entry.registrant.clone(), entry.attempt))
    }
}

impl MqttHooks {
    /// Lets a connection in that wants to register, under a name of its own.
    pub(crate) async fn authenticate_registrant(
        &self,
        attempt: &Attempt,
        login: &Login,
        chain: &[CertificateDer<'_>],
        connect: &Connect,
    ) -> Result<Arc<Principal>, Refusal> {
        if connect.client_id != login.registration_id {
            return Err(Refusal::ClientId);
        }
        let password = connect.password.as_ref().map(|password| password.expose().as_slice()).unwrap_or_default();
        let token = match std::str::from_utf8(password) {
            Ok("") => None,
            Ok(text) => Some(SasToken::parse(text).map_err(|_| Refusal::Credentials)?),
            Err(_) => return Err(Refusal::Credentials),
        };
        let proof = match &token {
            Some(token) => Proof::Signature(token),
            None => Proof::Certificates(chain),
        };
        let registrant = sign_in(&self.app, attempt, &login.id_scope, &login.registration_id, proof).await;
        let registrant = registrant.map_err(|error| match error {
            Error::TooMany { .. } => Refusal::Busy,
            Error::Unauthenticated { .. } | Error::Denied { .. } | Error::Conflict { .. } => Refusal::NotAuthorized,
            error => {
                tracing::warn!(%error, "a registration could not be looked at");
                Refusal::Unavailable
            }
        })?;
        let name: DeviceId = format!("dps:{}", attempt.request_id).parse().map_err(|_| Refusal::Unavailable)?;
        let (tenant, now) = (registrant.tenant.clone(), self.app.clock().monotonic());
        if !self.registrants.admit(&name, registrant, *attempt, now) {
            return Err(Refusal::Quota);
        }
        let valid_until = Some(self.app.now().plus(limits::DPS_CONNECTION_LIFE));
        Ok(Arc::new(Principal { tenant, device: name, serial: "dps".into(), rights: DeviceRights::Claim, valid_until }))
    }

    /// Works on a request below `$dps/registrations/`.
    pub(crate) async fn register(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Result<(), Nack> {
        let asked = Request::parse(&request.topic).ok_or(Nack::TopicInvalid)?;
        let (registrant, attempt) = self.registrants.get(&principal.device).ok_or(Nack::NotAuthorized)?;
        let attempt = Attempt { request_id: self.app.new_request_id(), ..attempt };
        let refused = |error: Error| Answer::error(&self.app, &error);
        let answer = match &asked {
            Request::Register { .. } => match RegisterRequest::parse(&request.payload) {
                None => Answer::plain(&self.app, 400, 4, "The body is no registration request", None),
                Some(body) => match register(&self.app, &attempt, &registrant, &body).await {
                    Ok(registration) => Answer::accepted(&registration),
                    Err(error) => refused(error),
                },
            },
            Request::Status { operation: id, .. } => {
                match operation(&self.app, &attempt, &registrant, Some(id)).await {
                    Ok(registration) => Answer::operation(registration),
                    Err(error) => refused(error),
                }
            }
        };
        let topic = response(answer.status, asked.rid(), answer.retry_after_s);
        if let Some(broker) = self.broker.get() {
            let message = Message { expiry: Some(ANSWER_EXPIRY), ..Message::new(&topic, &answer.body) };
            match broker.answer(principal, message) {
                Ok(receipt) => receipt.forget(),
                Err(error) => undelivered(&topic, error),
            }
        }
        Ok(())
    }
}
