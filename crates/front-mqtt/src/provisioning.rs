//! Fleet provisioning: requests of connections with a claim, answered to the connection that asked and to nobody else.

use std::sync::Arc;

use fleetward_app::Error;
use fleetward_app::provisioning::pending::{self, NewPending};
use fleetward_app::provisioning::register::register_thing;
use fleetward_app::provisioning::{Claimant, Refused};
use fleetward_broker::{Message, Nack, Principal, ServiceRequest};
use fleetward_core::access::DeviceRights;
use fleetward_wire::aws::provisioning::{
    BadBody, CertificateAccepted, CsrRequest, KeysRequest, Op, Part, ProvisionAccepted, ProvisionRequest, RejectCode,
    Rejected, Request, Topic, encode, parse,
};
use serde::Serialize;

use crate::MqttHooks;
use crate::answer::{ANSWER_EXPIRY, undelivered};

impl MqttHooks {
    /// Works on a request below `$aws/certificates/` or `$aws/provisioning-templates/`.
    pub(crate) async fn provision(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Result<(), Nack> {
        let topic = parse(&request.topic).filter(Topic::is_request).ok_or(Nack::TopicInvalid)?;
        if principal.rights != DeviceRights::Claim {
            return Err(Nack::NotAuthorized);
        }
        let claimant = self.claimants.get(&principal.device).ok_or(Nack::NotAuthorized)?;
        match self.answer_to(&claimant, topic, &request.payload).await {
            Ok(Answer::Certificate(body)) => self.tell(principal, topic, Part::Accepted, &*body),
            Ok(Answer::Thing(body)) => self.tell(principal, topic, Part::Accepted, &body),
            Err(rejected) => self.tell(principal, topic, Part::Rejected, &rejected),
        }
        Ok(())
    }

    async fn answer_to(&self, claimant: &Claimant, topic: Topic<'_>, payload: &[u8]) -> Result<Answer, Rejected> {
        match topic.op {
            Op::CreateFromCsr => {
                let asked = CsrRequest::parse(topic.format, payload).map_err(bad_body)?;
                let made = pending::create_from_csr(&self.app, claimant, &asked.certificate_signing_request).await;
                made.map(accepted).map_err(rejected)
            }
            Op::Create => {
                KeysRequest::parse(topic.format, payload).map_err(bad_body)?;
                pending::create_with_key(&self.app, claimant).await.map(accepted).map_err(rejected)
            }
            Op::Provision(template) => {
                let asked = ProvisionRequest::parse(topic.format, payload).map_err(bad_body)?;
                let token = &asked.certificate_ownership_token;
                let thing = register_thing(&self.app, claimant, template, token, asked.parameters).await;
                let thing = thing.map_err(rejected)?;
                Ok(Answer::Thing(ProvisionAccepted {
                    device_configuration: thing.device_configuration,
                    thing_name: thing.thing_name,
                }))
            }
        }
    }

    /// One request too many at once.
    pub(crate) fn throttle_provisioning(&self, principal: &Principal, topic: Topic<'_>) {
        self.tell(principal, topic, Part::Rejected, &Rejected::new(RejectCode::ThrottlingException, "Rate exceeded"));
    }

    fn tell<T: Serialize>(&self, principal: &Principal, topic: Topic<'_>, part: Part, body: &T) {
        let Some(broker) = self.broker.get() else { return };
        let (payload, topic) = (encode(topic.format, body), topic.answer(part).to_string());
        let message = Message { expiry: Some(ANSWER_EXPIRY), ..Message::new(&topic, &payload) };
        match broker.answer(principal, message) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(&topic, error),
        }
    }
}

enum Answer {
    Certificate(Box<CertificateAccepted>),
    Thing(ProvisionAccepted),
}

fn accepted(pending: NewPending) -> Answer {
    Answer::Certificate(Box::new(CertificateAccepted {
        certificate_id: pending.certificate_id,
        certificate_pem: pending.certificate_pem,
        private_key: pending.private_key.map(|key| key.expose().clone()),
        certificate_ownership_token: pending.ownership_token.expose().clone(),
    }))
}

fn bad_body(error: BadBody) -> Rejected {
    Rejected::new(RejectCode::InvalidPayload, error.to_string())
}

/// AWS's code for each meaning.
fn rejected(refused: Refused) -> Rejected {
    let code = match &refused {
        Refused::Csr(_) => RejectCode::InvalidCsr,
        Refused::Token(_) => RejectCode::InvalidCertificateOwnershipToken,
        Refused::Parameters(_) => RejectCode::InvalidParameters,
        Refused::Template(_) => RejectCode::InvalidTemplate,
        Refused::NoTemplate => RejectCode::ResourceNotFound,
        Refused::Denied(_) => RejectCode::AccessDenied,
        Refused::Conflict(_) => RejectCode::ResourceConflict,
        Refused::Limit(_) => RejectCode::LimitExceeded,
        Refused::TooMany => RejectCode::ThrottlingException,
        Refused::Unavailable => RejectCode::ServiceUnavailable,
        Refused::Internal(error) => {
            log(error);
            RejectCode::InternalServerError
        }
    };
    Rejected::new(code, refused.to_string())
}

fn log(error: &Error) {
    tracing::error!(%error, "a device could not be provisioned");
}
