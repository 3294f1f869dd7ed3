//! Azure's device registration over MQTT: a device that has no certificate of ours yet signs in by user name and password,
//! and may do one thing.
//!
//! The user name `{idScope}/registrations/{registrationId}/api-version=..` says that this is wanted; the password is a
//! shared access signature, or empty where the device showed a factory's certificate in the hand-shake. Nothing else
//! signs in by name and password here. The connection is that of a guest: it is kept apart from the tenant's
//! devices, leaves no session behind, reaches `$dps/registrations/` alone, and ends soon.

use std::sync::Arc;

use fleetward_app::Error;
use fleetward_app::enroll::Attempt;
use fleetward_app::enroll::dps::{Answer, Proof, Registrant, operation, register, sign_in};
use fleetward_base::{DeviceId, limits};
use fleetward_broker::{Connect, Message, Nack, Principal, Refusal, ServiceRequest, TopicRights};
use fleetward_core::access::DeviceRights;
use fleetward_wire::azure::message::RegisterRequest;
use fleetward_wire::azure::topic::{PREFIX, response};
use fleetward_wire::azure::{Login, Request, SasToken};
use rustls_pki_types::CertificateDer;

use crate::MqttHooks;
use crate::answer::{ANSWER_EXPIRY, undelivered};

/// Whether a topic is of this family.
pub(crate) fn owns(topic: &str) -> bool {
    topic.starts_with(PREFIX)
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
        let alike = |(one, _): &(Registrant, _), (other, _): &(Registrant, _)| one.tenant == other.tenant;
        if !self.registrants.admit(&name, (registrant, *attempt), limits::DPS_CONNECTIONS, alike, now) {
            return Err(Refusal::Quota);
        }
        let valid_until = Some(self.app.now().plus(limits::DPS_CONNECTION_LIFE));
        let (serial, rights) = ("dps".into(), DeviceRights::Registrant);
        let topics = TopicRights::default();
        Ok(Arc::new(Principal { tenant, device: name, serial, rights, topics, valid_until }))
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
