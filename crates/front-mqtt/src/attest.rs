//! Attestation over MQTT: a device proves itself on the connection that it has, restricted or not. The use cases are those
//! behind `POST /v1/attest`; answers go to the device that asked and to nobody else.

use std::sync::Arc;

use fleetward_app::attestation::{self, Endorsement};
use fleetward_app::{Ctx, Error};
use fleetward_attest::Evidence;
use fleetward_attest::evidence::Bytes;
use fleetward_attest::messages::{Activation, Challenge, Keys, Nothing, Proof, Proven, Rejected, Verdict};
use fleetward_base::{Secret, limits};
use fleetward_broker::{Principal, ServiceRequest};
use fleetward_wire::attest::{BadBody, Op, Part, Topic, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MqttHooks;

impl MqttHooks {
    /// Works on a request below `$fleetward/things/{itself}/attest/`.
    pub(crate) async fn attest(&self, principal: &Arc<Principal>, topic: Topic<'_>, request: &ServiceRequest) {
        let ctx = self.ctx(principal);
        let answered = match topic.op {
            Op::Challenge => self.challenge(principal, &ctx, topic, &request.payload).await,
            Op::Activate => self.activate(principal, &ctx, topic, &request.payload).await,
            Op::Proof => self.prove(principal, &ctx, topic, &request.payload).await,
            Op::Evidence => self.evidence(principal, &ctx, topic, &request.payload).await,
        };
        if let Err(rejected) = answered {
            self.told(principal, topic, Part::Rejected, &rejected);
        }
    }

    /// One request too many at once.
    pub(crate) fn throttle_attestation(&self, principal: &Principal, topic: Topic<'_>) {
        let rejected = rejected(429, "too-many", "too many requests at once", Some(1));
        self.told(principal, topic, Part::Rejected, &rejected);
    }

    async fn challenge(
        &self,
        principal: &Principal,
        ctx: &Ctx,
        topic: Topic<'_>,
        payload: &[u8],
    ) -> Result<(), Rejected> {
        if !payload.is_empty() {
            read::<Nothing>(topic, payload)?;
        }
        let made = attestation::challenge(&self.app, ctx).await.map_err(of)?;
        let body = Challenge {
            nonce: Bytes(made.nonce),
            ttl: made.ttl.as_secs(),
            formats: made.formats.iter().map(|&format| format.to_owned()).collect(),
            pcrs: made.pcrs.into_iter().collect(),
        };
        self.told(principal, topic, Part::Accepted, &body);
        Ok(())
    }

    async fn activate(
        &self,
        principal: &Principal,
        ctx: &Ctx,
        topic: Topic<'_>,
        payload: &[u8],
    ) -> Result<(), Rejected> {
        let keys: Keys = read(topic, payload)?;
        let made = attestation::begin_activation(&self.app, ctx, Endorsement::from(keys)).await.map_err(of)?;
        let ttl = limits::ATTESTATION_CHALLENGE_TTL.as_secs();
        let body = Activation { credential: Bytes(made.credential), secret: Bytes(made.secret), ttl };
        self.told(principal, topic, Part::Accepted, &body);
        Ok(())
    }

    async fn prove(&self, principal: &Principal, ctx: &Ctx, topic: Topic<'_>, payload: &[u8]) -> Result<(), Rejected> {
        let Proof { secret, certified } = read(topic, payload)?;
        let proven = attestation::prove_activation(&self.app, ctx, Secret::new(secret.0), certified.as_ref()).await;
        let proven = proven.map_err(of)?;
        let body = Proven {
            certificate: proven.certificate.map(Bytes),
            certified_for: proven.certified_until.map(|until| until.since(self.app.now()).as_secs()),
        };
        self.told(principal, topic, Part::Accepted, &body);
        Ok(())
    }

    async fn evidence(
        &self,
        principal: &Principal,
        ctx: &Ctx,
        topic: Topic<'_>,
        payload: &[u8],
    ) -> Result<(), Rejected> {
        let evidence: Evidence = read(topic, payload)?;
        // Told before its session ends where its rights are others now: it would not hear it otherwise.
        let tell = |outcome: &attestation::Outcome| {
            let body = Verdict {
                verdict: outcome.verdict.to_string(),
                reasons: outcome.reasons.iter().map(ToString::to_string).collect(),
                restricted: outcome.restricted,
                due_in: outcome.due.map(|at| at.since(self.app.now()).as_secs()),
            };
            self.told(principal, topic, Part::Accepted, &body);
        };
        attestation::submit_and_tell(&self.app, ctx, evidence, tell).await.map_err(of).map(drop)
    }

    fn told<T: Serialize>(&self, principal: &Principal, topic: Topic<'_>, part: Part, body: &T) {
        let (payload, topic) = (encode(topic.format, body), topic.answer(part).to_string());
        self.answer(&principal.tenant, &principal.device, &topic, &payload);
    }
}

fn read<T: DeserializeOwned>(topic: Topic<'_>, payload: &[u8]) -> Result<T, Rejected> {
    decode(topic.format, payload).map_err(|bad: BadBody| match bad {
        BadBody::TooLong => rejected(413, "too-large", bad.to_string(), None),
        BadBody::NotJson | BadBody::NotCbor => rejected(400, "malformed", bad.to_string(), None),
        BadBody::Shape => rejected(422, "invalid", bad.to_string(), None),
    })
}

fn rejected(status: u16, code: &str, reason: impl Into<String>, retry_after: Option<u64>) -> Rejected {
    Rejected { status, code: code.to_owned(), reason: reason.into(), retry_after }
}

/// The codes of the HTTPS door, for the meanings that come up here.
fn of(error: Error) -> Rejected {
    let text = error.to_string();
    match error {
        Error::Unauthenticated { .. } => rejected(401, "unauthenticated", text, None),
        Error::Denied { .. } => rejected(403, "forbidden", text, None),
        Error::NotFound { .. } => rejected(404, "not-found", text, None),
        Error::Conflict { code, reason } => rejected(409, code, reason, None),
        Error::Stale { .. } => rejected(412, "stale", text, None),
        Error::TooLarge { .. } => rejected(413, "too-large", text, None),
        Error::Invalid { reason, .. } => rejected(422, "invalid", reason, None),
        Error::Untrusted { code, reason } => rejected(422, code, reason, None),
        Error::Pending { retry_after } => rejected(202, "pending", text, Some(retry_after.as_secs())),
        Error::TooMany { retry_after, .. } => rejected(429, "too-many", text, Some(retry_after.as_secs())),
        Error::StorageFull => rejected(507, "storage-full", text, Some(60)),
        Error::Unavailable { .. } => rejected(503, "unavailable", text, Some(2)),
        Error::Internal(cause) => {
            tracing::error!(%cause, "a device could not attest");
            rejected(500, "internal", "internal fault", None)
        }
    }
}
