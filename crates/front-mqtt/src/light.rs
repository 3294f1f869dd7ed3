//! The light mode: a device says what is by `devices/{itself}/config/reported`, and finds what is wanted retained.

use std::sync::Arc;

use fleetward_app::shadow::light::{reported, restore};
use fleetward_app::shadow::{ShadowError, refused_body};
use fleetward_broker::{Nack, Principal, ServiceRequest};
use fleetward_core::access::DeviceRights;
use fleetward_core::shadow::Refused;
use fleetward_wire::light::{self, Section};

use crate::{MqttHooks, policy};

impl MqttHooks {
    /// Takes what a device reports. A refusal is told on a topic of its own, since a client that knows no more than this
    /// would not hear it otherwise: over 3.1.1 it would only see its connection end.
    pub(crate) async fn report(
        &self,
        principal: &Arc<Principal>,
        device: &str,
        request: &ServiceRequest,
    ) -> Result<(), Nack> {
        if device != principal.device.as_str() {
            return Err(Nack::NotAuthorized);
        }
        let (ctx, tenant) = (self.ctx(principal), &principal.tenant);
        let Err(error) = reported(&self.app, &ctx, tenant, &principal.device, &request.payload).await else {
            return Ok(());
        };
        if let ShadowError::App(error) = &error {
            tracing::warn!(%device, %error, "what a device reports could not be kept");
        }
        match error.refused() {
            Refused::Internal => Err(Nack::Unavailable),
            refused => {
                let body = refused_body(&refused, self.app.now(), None);
                self.publish(tenant, &light::rejected(device), &body);
                Ok(())
            }
        }
    }

    /// A device that asks for what is retained of its configuration: that is held against the database first thing.
    pub(crate) fn hold_retained(&self, principal: &Arc<Principal>, filters: &[Arc<str>]) {
        let device = principal.device.as_str();
        let wants = |section| {
            let topic = light::topic(device, section);
            filters.iter().any(|filter| policy::matches(filter, &topic))
        };
        if principal.rights != DeviceRights::Full || !(wants(Section::Desired) || wants(Section::Reported)) {
            return;
        }
        let (app, principal) = (self.app.clone(), Arc::clone(principal));
        self.tasks.spawn(async move {
            if let Err(error) = restore(&app, &principal.tenant, &principal.device).await {
                tracing::warn!(device = %principal.device, %error, "what is retained could not be held against the database");
            }
        });
    }
}
