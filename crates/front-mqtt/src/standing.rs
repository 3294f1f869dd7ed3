//! A device that was revoked while it connected.
//!
//! It is admitted, then revoked, then its session begins: whoever ended its sessions found none. So a session that begins
//! shortly after sessions were ended is asked after once more. At other times a connection costs nothing here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fleetward_app::messaging::messaging;
use fleetward_app::provisioning::claims;
use fleetward_app::topic_policies::rights_of;
use fleetward_app::{App, detection, enroll};
use fleetward_base::TenantId;
use fleetward_broker::{Broker, Connected, Principal, Reason};
use fleetward_core::access::DeviceRights;
use fleetward_core::detection::sessions::Arrival;

use crate::MqttHooks;
use crate::guests::COMING;

/// What the tenant's topic policies say now. The session goes on with it, unless it holds something that is not allowed any
/// more.
async fn refresh_topics(app: &App, broker: &Broker, principal: &Arc<Principal>) {
    let (tenant, device) = (&principal.tenant, &principal.device);
    let topics = match rights_of(app, tenant, device, &principal.serial).await {
        Ok(topics) => topics,
        Err(error) => {
            // What it may do is not known, so it comes again and is asked after then.
            tracing::warn!(%tenant, %device, %error, "the topic policies of a device could not be read");
            broker.kick_serial(tenant, device, &principal.serial, Reason::NotAuthorized);
            return;
        }
    };
    if topics.connect_denied().is_some() {
        broker.kick_serial(tenant, device, &principal.serial, Reason::NotAuthorized);
    } else if principal.topics.set(topics) {
        broker.reauthorize(tenant, device);
    }
}

impl MqttHooks {
    /// Before sessions are ended: those that begin from now on are asked after.
    pub(crate) fn note_end(&self) {
        self.ended_ms.store(self.elapsed_ms().saturating_add(1), Ordering::SeqCst);
    }

    pub(crate) fn ended_lately(&self) -> bool {
        let ended = self.ended_ms.load(Ordering::SeqCst);
        let lately = u64::try_from(COMING.as_millis()).unwrap_or(u64::MAX);
        ended > 0 && self.elapsed_ms() <= ended.saturating_add(lately)
    }

    /// What all devices of a tenant may do together now.
    pub(crate) fn refresh_rates(&self, tenant: &TenantId) {
        let (app, tenant, broker) = (self.app.clone(), tenant.clone(), self.broker.get().cloned());
        self.tasks.spawn(async move {
            match (messaging(&app, &tenant).await, broker) {
                (Ok(found), Some(broker)) => broker.limit(&tenant, found.rates),
                (Ok(_), None) => {}
                (Err(error), _) => tracing::warn!(%tenant, %error, "the rates of a tenant could not be read"),
            }
        });
    }

    /// Asks the registry once more, and ends the session where it should not be.
    pub(crate) fn recheck(&self, principal: &Arc<Principal>) {
        let (app, principal, broker) = (self.app.clone(), Arc::clone(principal), self.broker.get().cloned());
        let turns = Arc::clone(&self.rechecks);
        self.tasks.spawn(async move {
            // Nobody closes it.
            let _turn = turns.acquire().await;
            let (tenant, device) = (&principal.tenant, &principal.device);
            let serial = &principal.serial;
            // Who is in to register has no claim that could end; its connection ends soon by itself.
            if principal.rights == DeviceRights::Registrant {
                return;
            }
            if principal.rights == DeviceRights::Claim {
                let claim = device.as_str().rsplit_once(':').map_or("", |(claim, _)| claim);
                match (claims::still_admitted(&app, tenant, claim, serial).await, broker) {
                    (Ok(false), Some(broker)) => drop(broker.kick_claim(tenant, serial, Reason::AdministrativeAction)),
                    (Ok(_), _) => {}
                    (Err(error), _) => tracing::warn!(%error, "a claim could not be asked after again"),
                }
                return;
            }
            let admitted = enroll::still_admitted(&app, tenant, device, serial, principal.rights).await;
            match (admitted, broker) {
                (Ok(false), Some(broker)) => {
                    broker.kick_serial(tenant, device, &principal.serial, Reason::AdministrativeAction);
                }
                (Ok(true), Some(broker)) => refresh_topics(&app, &broker, &principal).await,
                (Ok(_), None) => {}
                (Err(error), _) => tracing::warn!(%error, "a device that connected could not be asked after again"),
            }
        });
    }

    /// Has a connection held against those before it.
    pub(crate) fn look_for_clones(&self, principal: &Arc<Principal>, connected: &Connected) {
        if principal.rights.is_guest() {
            return;
        }
        let arrival = Arrival {
            at: self.app.now(),
            address: connected.address.ip(),
            serial: principal.serial.to_string(),
            took_over: connected.took_over,
        };
        let findings = detection::connected(&self.app, &principal.tenant, &principal.device, arrival);
        if findings.is_empty() {
            return;
        }
        let (app, principal) = (self.app.clone(), Arc::clone(principal));
        self.tasks.spawn(async move {
            let settled = detection::settle(&app, &principal.tenant, Some(&principal.device), findings).await;
            if let Err(error) = settled {
                tracing::warn!(%error, "a finding could not be journaled");
            }
        });
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.app.clock().monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}
