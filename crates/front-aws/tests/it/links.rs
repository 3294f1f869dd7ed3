//! In place of a broker: it remembers what is retained, and what was published.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::topic_messages::Beside;
use fleetward_app::{DeviceLinks, EndReason, PublishRefused, Retained, TopicMessage};
use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::job::queue::Change;
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Links {
    retained: Mutex<BTreeMap<(TenantId, String), Retained>>,
    pub(crate) published: Mutex<Vec<(TenantId, TopicMessage)>>,
}

#[async_trait]
impl DeviceLinks for Links {
    fn end_sessions(&self, _: &TenantId, _: &DeviceId, _: EndReason) {}
    async fn forget(&self, _: &TenantId, _: &DeviceId) {}
    fn end_claim(&self, _: &TenantId, _: &str) {}
    fn end_certificate(&self, _: &TenantId, _: &DeviceId, _: &str) {}
    fn live(&self, _: &TenantId, _: &DeviceId) -> Option<String> {
        None
    }
    fn recheck(&self, _: &TenantId, _: &DeviceId) {}
    fn recheck_all(&self, _: &TenantId) {}
    async fn publish(&self, _: &TenantId, _: String, _: Bytes) {}
    async fn queue_changed(&self, _: &TenantId, _: &[(DeviceId, Change)]) {}

    async fn publish_to_topic(&self, tenant: &TenantId, message: TopicMessage) -> Result<usize, PublishRefused> {
        let key = (tenant.clone(), message.topic.clone());
        if message.retain {
            let TopicMessage { topic, payload, qos, .. } = message.clone();
            let stored_at = Timestamp::from_secs(7);
            let beside = Beside { user: vec![("a".to_owned(), "b".to_owned())], ..Beside::default() };
            let retained = Retained { topic, payload, qos, stored_at, expires_at: None, beside };
            let mut all = self.retained.lock();
            if retained.payload.is_empty() {
                all.remove(&key)
            } else {
                all.insert(key, retained)
            };
        }
        self.published.lock().push((tenant.clone(), message));
        Ok(1)
    }

    fn retained(&self, tenant: &TenantId, topic: &str) -> Option<Retained> {
        self.retained.lock().get(&(tenant.clone(), topic.to_owned())).cloned()
    }

    fn all_retained(&self, tenant: &TenantId, after: &str, limit: usize) -> Vec<Retained> {
        let all = self.retained.lock();
        let here = all.iter().filter(|((of, topic), _)| of == tenant && topic.as_str() > after);
        here.map(|(_, retained)| retained.clone()).take(limit).collect()
    }
}
