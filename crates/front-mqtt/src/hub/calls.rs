//! Calls of methods that wait for the device's answer.
//!
//! An answer counts where it comes from the device that was called, with the id of the call, before its deadline. A call whose
//! caller has gone is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fleetward_app::{Called, MethodCall};
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_broker::Message;
use fleetward_wire::azure::hub::method_call;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::MqttHooks;

type Answer = (i32, Bytes);
type OfTenant = HashMap<(DeviceId, String), oneshot::Sender<Answer>>;

/// Who waits for which answer.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<TenantId, OfTenant>>,
}

/// A place among those that wait; it is given up when this goes.
struct Place {
    calls: Arc<Calls>,
    tenant: TenantId,
    key: (DeviceId, String),
}

impl Calls {
    /// A place for a call; none where too many wait already.
    fn wait(
        self: &Arc<Self>,
        tenant: &TenantId,
        device: &DeviceId,
        id: &str,
    ) -> Option<(Place, oneshot::Receiver<Answer>)> {
        let mut waiting = self.waiting.lock();
        let of_tenant = waiting.entry(tenant.clone()).or_default();
        let of_device = of_tenant.keys().filter(|(known, _)| known == device).count();
        if of_tenant.len() >= limits::METHODS_PER_TENANT || of_device >= limits::METHODS_PER_DEVICE {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let key = (device.clone(), id.to_owned());
        of_tenant.insert(key.clone(), sender);
        Some((Place { calls: Arc::clone(self), tenant: tenant.clone(), key }, receiver))
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn answered(&self, tenant: &TenantId, device: &DeviceId, id: &str, status: i32, payload: Bytes) {
        if let Some(sender) = self.take(tenant, &(device.clone(), id.to_owned())) {
            sender.send((status, payload)).ok();
        }
    }

    fn take(&self, tenant: &TenantId, key: &(DeviceId, String)) -> Option<oneshot::Sender<Answer>> {
        let mut waiting = self.waiting.lock();
        let of_tenant = waiting.get_mut(tenant)?;
        let taken = of_tenant.remove(key);
        if of_tenant.is_empty() {
            waiting.remove(tenant);
        }
        taken
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.calls.take(&self.tenant, &self.key));
    }
}

impl MqttHooks {
    /// Calls a method of a connected device and waits for its answer.
    pub(crate) async fn call_method(&self, tenant: &TenantId, device: &DeviceId, call: MethodCall) -> Called {
        let Some(broker) = self.broker.get() else { return Called::NotThere };
        let Some((place, answer)) = self.calls.wait(tenant, device, &call.id) else { return Called::TooMany };
        let topic = method_call(&call.name, &call.id);
        // A device that was away meanwhile does not do it when nobody waits any more.
        let message = Message { expiry: Some(call.deadline), ..Message::new(&topic, &call.payload) };
        match broker.tell(tenant, device, message) {
            Ok(receipt) if receipt.matched() > 0 => receipt.forget(),
            Ok(_) => return Called::NotThere,
            Err(error) => {
                crate::answer::undelivered(&topic, error);
                return Called::TooMany;
            }
        }
        let answer = tokio::time::timeout(call.deadline, answer).await;
        drop(place);
        match answer {
            Ok(Ok((status, payload))) => Called::Answered { status, payload },
            Ok(Err(_)) | Err(_) => Called::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    #[test]
    fn an_answer_counts_from_whom_it_is_expected() {
        let calls = Arc::new(Calls::default());
        let (acme, zenith): (TenantId, TenantId) = (name("acme"), name("zenith"));
        let (gw, other): (DeviceId, DeviceId) = (name("gw-1"), name("gw-2"));
        let (_place, mut answer) = calls.wait(&acme, &gw, "1").expect("a place");
        calls.answered(&zenith, &gw, "1", 200, Bytes::new());
        calls.answered(&acme, &other, "1", 200, Bytes::new());
        calls.answered(&acme, &gw, "2", 200, Bytes::new());
        assert!(answer.try_recv().is_err());
        calls.answered(&acme, &gw, "1", 201, Bytes::from_static(b"x"));
        assert_eq!(answer.try_recv(), Ok((201, Bytes::from_static(b"x"))));
        calls.answered(&acme, &gw, "1", 202, Bytes::new());
    }

    #[test]
    fn so_many_wait_and_who_has_gone_does_not() {
        let calls = Arc::new(Calls::default());
        let (acme, gw): (TenantId, DeviceId) = (name("acme"), name("gw-1"));
        let mut places: Vec<_> =
            (0..limits::METHODS_PER_DEVICE).map(|n| calls.wait(&acme, &gw, &n.to_string()).expect("a place")).collect();
        assert!(calls.wait(&acme, &gw, "x").is_none());
        assert!(calls.wait(&acme, &name("gw-2"), "x").is_some());
        places.pop();
        assert!(calls.wait(&acme, &gw, "x").is_some());
        drop(places);
        assert!(calls.waiting.lock().is_empty());
    }
}
