//! What the broker asks.

use std::sync::Arc;

use async_trait::async_trait;
use fleetward_app::enroll::{Admitted, Attempt, admit_bearer, admit_chain};
use fleetward_app::messaging::messaging;
use fleetward_app::presence::Arrival;
use fleetward_app::provisioning::Claimant;
use fleetward_app::provisioning::claims::{AdmittedClaim, admit_claim, is_claim};
use fleetward_app::rotation;
use fleetward_app::shadow::{self, ShadowKey};
use fleetward_app::topic_policies::rights_of;
use fleetward_app::{Error, ca_rotations, transfers};
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_broker::{
    Connect, Connected, Disconnected, Hooks, Nack, Overload, Peer, Principal, Protocol, Refusal, ServiceRequest,
    TopicRights,
};
use fleetward_core::access::DeviceRights;
use fleetward_core::messaging::Messaging;
use fleetward_core::shadow::Refused;
use fleetward_core::token_issuer::{Login as TokenLogin, looks_like_token};
use fleetward_core::topic_policy::Act;
use fleetward_wire::attest;
use fleetward_wire::aws::client_token;
use fleetward_wire::aws::commands::{self as aws_commands, Format};
use fleetward_wire::aws::jobs::RejectCode;
use fleetward_wire::aws::provisioning;
use fleetward_wire::aws::topic::{self, JobsPart, PREFIX, ShadowPart, Topic, What};
use fleetward_wire::azure::Login;
use fleetward_wire::light::{self, Section};
use fleetward_wire::{anchors, renew, transfer as handover};
use rustls_pki_types::CertificateDer;

use crate::jobs::Reject;
use crate::{MqttHooks, dps, hub, policy};

#[async_trait]
impl Hooks for MqttHooks {
    async fn authenticate(&self, peer: &Peer, connect: &Connect) -> Result<Arc<Principal>, Refusal> {
        let chain: Vec<_> = peer.certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let attempt = Attempt { address: peer.address.ip(), request_id: self.app.new_request_id() };
        if let Some(login) = connect.username.as_deref().and_then(Login::parse) {
            return self.authenticate_registrant(&attempt, &login, &chain, connect).await;
        }
        let Some(leaf) = chain.first() else { return self.authenticate_bearer(&attempt, connect).await };
        if is_claim(leaf) {
            return self.authenticate_claim(&attempt, leaf, connect).await;
        }
        let admitted = admit_chain(&self.app, &attempt, &chain).await.map_err(|error| refusal(&error))?;
        // An empty client id leaves the choice to the server, which has made it.
        if !connect.client_id.is_empty() && connect.client_id != admitted.device.as_str() {
            tracing::info!(device = %admitted.device, "refused: its client id is not its name");
            return Err(Refusal::ClientId);
        }
        hub::check_login(connect.username.as_deref(), &admitted.device)?;
        self.principal(admitted).await
    }

    fn authorize_publish(&self, principal: &Principal, topic: &str, retain: bool) -> bool {
        policy::may(principal, if retain { Act::Retain } else { Act::Publish }, topic)
    }

    fn authorize_subscribe(&self, principal: &Principal, filter: &str) -> bool {
        policy::may(principal, Act::Subscribe, filter)
    }

    fn authorize_delivery(&self, principal: &Principal, topic: &str) -> bool {
        policy::may(principal, Act::Receive, topic)
    }

    fn owns(&self, topic: &str, retain: bool) -> bool {
        if !topic.starts_with('$') {
            let reported = matches!(light::parse(topic), Some((_, Section::Reported)));
            return reported || (retain && hub::is_event(topic));
        }
        topic.starts_with(PREFIX)
            || topic.starts_with(aws_commands::PREFIX)
            || topic.starts_with(attest::PREFIX)
            || provisioning::owns(topic)
            || dps::owns(topic)
            || hub::owns(topic)
    }

    async fn will_owner(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        topic: &str,
        retain: bool,
    ) -> Result<Option<Arc<Principal>>, Nack> {
        match self.principal_outside(tenant, client.clone()).await {
            Ok(principal) => Ok(principal.filter(|it| self.authorize_publish(it, topic, retain))),
            Err(error) => {
                tracing::warn!(%tenant, device = %client, %error, "a device that left a will could not be asked after");
                Err(Nack::Unavailable)
            }
        }
    }

    async fn service(&self, principal: &Arc<Principal>, request: ServiceRequest) -> Result<(), Nack> {
        if provisioning::owns(&request.topic) {
            return self.provision(principal, &request).await;
        }
        if dps::owns(&request.topic) {
            return self.register(principal, &request).await;
        }
        if hub::owns(&request.topic) {
            return self.hub(principal, &request).await;
        }
        if request.topic.starts_with(attest::PREFIX) {
            let topic = attest::parse(&request.topic).ok_or(Nack::TopicInvalid)?;
            if topic.device != principal.device.as_str() || !topic.is_request() {
                return Err(Nack::NotAuthorized);
            }
            self.attest(principal, topic, &request).await;
            return Ok(());
        }
        if let Some((device, _)) = light::parse(&request.topic) {
            return self.report(principal, device, &request).await;
        }
        if request.topic.starts_with(aws_commands::PREFIX) {
            let (topic, format) = response_of(principal, &request.topic)?;
            self.command_answered(principal, topic, format, &request).await;
            return Ok(());
        }
        match request_of(principal, &request.topic)? {
            What::Shadow { name, part: ShadowPart::Request(op) } => self.shadow(principal, name, op, &request).await,
            What::Jobs(JobsPart::Request(op)) => self.jobs(principal, op, &request).await,
            What::Shadow { .. } | What::Jobs(_) => return Err(Nack::NotAuthorized),
        }
        Ok(())
    }

    fn overloaded(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Overload {
        if let Some(topic) = provisioning::parse(&request.topic) {
            self.throttle_provisioning(principal, topic);
            return Overload::Answered;
        }
        if dps::owns(&request.topic) || !request.topic.starts_with('$') {
            return Overload::Wait;
        }
        if hub::owns(&request.topic) {
            return self.throttle_hub(principal, request);
        }
        if let Some(topic) = attest::parse(&request.topic) {
            self.throttle_attestation(principal, topic);
            return Overload::Answered;
        }
        if request.topic.starts_with(aws_commands::PREFIX) {
            return match response_of(principal, &request.topic) {
                Ok((topic, format)) => {
                    self.throttle_command(principal, topic, format);
                    Overload::Answered
                }
                Err(nack) => Overload::Refuse(nack),
            };
        }
        let token = client_token(&request.payload);
        match request_of(principal, &request.topic) {
            Ok(What::Shadow { name, part: ShadowPart::Request(op) }) => {
                self.reject_shadow(principal, name, op, &Refused::TooManyRequests, token);
                Overload::Answered
            }
            Ok(What::Jobs(JobsPart::Request(op))) => {
                let reject = Reject::new(RejectCode::RequestThrottled, "Too many requests at once");
                self.reject_job(principal, op, reject, token);
                Overload::Answered
            }
            Ok(_) => Overload::Refuse(Nack::NotAuthorized),
            Err(nack) => Overload::Refuse(nack),
        }
    }

    fn connected(&self, principal: &Arc<Principal>, connected: &Connected) {
        match principal.rights {
            DeviceRights::Full | DeviceRights::Restricted => {}
            // What it showed is looked at again with each thing that it asks for.
            DeviceRights::Registrant => return self.registrants.connected(&principal.device),
            DeviceRights::Claim => {
                self.claimants.connected(&principal.device);
                return if self.ended_lately() {
                    self.recheck(principal)
                };
            }
        }
        let protocol = match connected.protocol {
            Protocol::V311 => "mqtt-3.1.1",
            Protocol::V5 => "mqtt-5",
        };
        let arrival = Arrival { epoch: connected.epoch, address: Some(connected.address.ip()), protocol };
        self.app.presence().connected(&principal.tenant, &principal.device, self.app.now(), arrival);
        self.look_for_clones(principal, connected);
        // A session that was kept has its subscriptions already.
        if connected.session_present {
            self.deliver_commands(principal);
        }
        if self.ended_lately() {
            self.recheck(principal);
        }
    }

    fn disconnected(&self, principal: &Arc<Principal>, disconnected: &Disconnected) {
        match principal.rights {
            DeviceRights::Full | DeviceRights::Restricted => {}
            DeviceRights::Registrant => return self.registrants.gone(&principal.device),
            DeviceRights::Claim => return self.claimants.gone(&principal.device),
        }
        let (now, epoch, reason) = (self.app.now(), disconnected.epoch, disconnected.reason.as_str());
        self.app.presence().disconnected(&principal.tenant, &principal.device, now, epoch, reason);
    }

    fn seen(&self, principal: &Arc<Principal>) {
        if principal.rights.is_guest() {
            return;
        }
        self.app.presence().seen(&principal.tenant, &principal.device, self.app.now());
    }

    /// A device that asks for deltas gets the one that stands now, so that it need not report before it knows
    /// (requirement S4); one that asks for requests to renew gets the one that stands, and one that asks after roots is
    /// told where it lacks one.
    fn subscribed(&self, principal: &Arc<Principal>, filters: &[Arc<str>]) {
        if principal.rights.is_guest() {
            return;
        }
        self.tell_again(principal, filters);
        self.hold_retained(principal, filters);
        if filters.iter().any(|filter| filter.contains(aws_commands::PREFIX)) {
            self.deliver_commands(principal);
        }
        for key in delta_keys(&principal.device, filters) {
            let (app, tenant) = (self.app.clone(), principal.tenant.clone());
            self.tasks.spawn(async move {
                if let Err(error) = shadow::replay_delta(&app, &tenant, &key).await {
                    tracing::warn!(device = %key.device, %error, "the delta could not be told again");
                }
            });
        }
    }

    fn queue_full(&self, tenant: &TenantId, device: &DeviceId) {
        tracing::warn!(%tenant, %device, "the queue of a session is full: new messages for it are refused");
    }
}

impl MqttHooks {
    /// Lets a connection in that shows no certificate and a token in place of a password. The user name says whose it is.
    async fn authenticate_bearer(&self, attempt: &Attempt, connect: &Connect) -> Result<Arc<Principal>, Refusal> {
        let password = connect.password.as_ref().and_then(|it| std::str::from_utf8(it.expose()).ok());
        let Some(token) = password.filter(|it| looks_like_token(it)) else { return Err(Refusal::NotAuthorized) };
        let login = connect.username.as_deref().and_then(TokenLogin::parse).ok_or(Refusal::Credentials)?;
        let token = Secret::new(token.to_owned());
        let admitted = admit_bearer(&self.app, attempt, &login, &connect.client_id, &token).await;
        self.principal(admitted.map_err(|error| refusal(&error))?).await
    }

    /// What stands of the device's identity: that it is to renew, to fetch roots, to go to another tenant.
    fn tell_again(&self, principal: &Arc<Principal>, filters: &[Arc<str>]) {
        let device = principal.device.as_str();
        let wants = |topic: &str| filters.iter().any(|filter| policy::matches(filter, topic));
        let (renewal, roots) = (wants(&renew::topic(device)), wants(&anchors::topic(device)));
        let order = wants(&handover::topic(device));
        if !(renewal || roots || order) {
            return;
        }
        let (app, principal) = (self.app.clone(), Arc::clone(principal));
        self.tasks.spawn(async move {
            let (tenant, device) = (&principal.tenant, &principal.device);
            let told = async {
                if renewal {
                    rotation::tell_again(&app, tenant, device).await?;
                }
                if roots {
                    ca_rotations::tell_again(&app, tenant, device).await?;
                }
                if order { transfers::tell_again(&app, tenant, device).await } else { Ok(()) }
            };
            if let Err(error) = told.await {
                tracing::warn!(%device, %error, "what stands of its identity could not be told again");
            }
        });
    }

    /// A device for as long as what it showed counts, with what its tenant's policies say; none that they keep out.
    async fn principal(&self, admitted: Admitted) -> Result<Arc<Principal>, Refusal> {
        let valid_until = Some(admitted.not_after);
        self.principal_until(admitted, valid_until).await
    }

    /// As [`Self::principal`], for a device that need not have a connection that could end.
    pub(crate) async fn principal_until(
        &self,
        admitted: Admitted,
        valid_until: Option<Timestamp>,
    ) -> Result<Arc<Principal>, Refusal> {
        let Admitted { tenant, device, serial, rights, .. } = admitted;
        let topics = rights_of(&self.app, &tenant, &device, &serial).await.map_err(|error| refusal(&error))?;
        if let Some(by) = topics.connect_denied() {
            tracing::info!(%tenant, %device, policy = &*by.policy, "refused: a topic policy denies it to connect");
            return Err(Refusal::NotAuthorized);
        }
        let Messaging { profile, rates } = messaging(&self.app, &tenant).await.map_err(|error| refusal(&error))?;
        Ok(Arc::new(Principal {
            tenant,
            device,
            serial: serial.into(),
            rights,
            profile,
            rates,
            topics: TopicRights::new(topics),
            valid_until,
        }))
    }

    /// Lets a connection in that shows a claim, under a name of its own.
    async fn authenticate_claim(
        &self,
        attempt: &Attempt,
        leaf: &CertificateDer<'_>,
        connect: &Connect,
    ) -> Result<Arc<Principal>, Refusal> {
        let admitted = admit_claim(&self.app, attempt, leaf, &connect.client_id).await;
        let AdmittedClaim { claimant, not_after } = admitted.map_err(|error| refusal(&error))?;
        let name: DeviceId = claimant.connection.parse().map_err(|_| Refusal::NotAuthorized)?;
        let (tenant, serial) = (claimant.tenant.clone(), claimant.serial.as_str().into());
        let alike = |one: &Claimant, other: &Claimant| one.tenant == other.tenant && one.claim == other.claim;
        let now = self.app.clock().monotonic();
        if !self.claimants.admit(&name, claimant, limits::CLAIM_CONNECTIONS, alike, now) {
            return Err(Refusal::Quota);
        }
        let rights = DeviceRights::Claim;
        let Messaging { profile, rates } = messaging(&self.app, &tenant).await.map_err(|error| refusal(&error))?;
        let topics = TopicRights::default();
        let valid_until = Some(not_after);
        Ok(Arc::new(Principal { tenant, device: name, serial, rights, profile, rates, topics, valid_until }))
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::TooMany { .. } => Refusal::Busy,
        Error::Unauthenticated { .. }
        | Error::NotFound { .. }
        | Error::Denied { .. }
        | Error::Untrusted { .. }
        | Error::Conflict { .. }
        | Error::Invalid { .. } => Refusal::NotAuthorized,
        error => {
            tracing::warn!(%error, "a device could not be asked after");
            Refusal::Unavailable
        }
    }
}

/// What a request is about. [`Hooks::authorize_publish`] has let through only the device's own.
fn request_of<'a>(principal: &Principal, topic: &'a str) -> Result<What<'a>, Nack> {
    match topic::parse(topic) {
        Some(topic) if topic.thing == principal.device.as_str() => Ok(topic.what),
        Some(_) => Err(Nack::NotAuthorized),
        None => Err(Nack::TopicInvalid),
    }
}

/// The answer to a command that a topic is for.
fn response_of<'a>(principal: &Principal, topic: &'a str) -> Result<(aws_commands::Topic<'a>, Format), Nack> {
    let topic = aws_commands::parse(topic).ok_or(Nack::TopicInvalid)?;
    match topic.response() {
        Some(format) if topic.device == principal.device.as_str() => Ok((topic, format)),
        _ => Err(Nack::NotAuthorized),
    }
}

/// Shadows whose deltas the filters ask for: the classic one by any filter that matches, a named one by its own topic.
fn delta_keys(device: &DeviceId, filters: &[Arc<str>]) -> Vec<ShadowKey> {
    let classic = Topic::shadow(device.as_str(), None, ShadowPart::Delta).to_string();
    let mut keys = Vec::new();
    if filters.iter().any(|filter| policy::matches(filter, &classic)) {
        keys.push(ShadowKey::classic(device.clone()));
    }
    for filter in filters {
        if let Some(Topic { what: What::Shadow { name: Some(name), part: ShadowPart::Delta }, .. }) =
            topic::parse(filter)
        {
            keys.push(ShadowKey { device: device.clone(), name: name.to_owned() });
        }
    }
    keys
}
