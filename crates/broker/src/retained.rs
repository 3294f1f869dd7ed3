//! The retained messages of one tenant, in memory; the store has them too.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use fleetward_base::{Timestamp, limits};

use crate::codec::publish::beside;
use crate::hooks::Qos;
use crate::properties::Beside;
use crate::store::StoredRetained;
use crate::topic;

/// Lengths of stored properties with something to hand on: after the expiry, and as a record can hold them.
const PROPERTIES: std::ops::RangeInclusive<usize> = 9..=0xFFFF;

#[derive(Clone, Debug)]
pub(crate) struct Retained {
    pub(crate) payload: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) qos: Qos,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) stored_at: Timestamp,
}

impl Retained {
    fn weight(&self, topic: &str) -> usize {
        topic.len() + self.payload.len() + self.properties.len()
    }

    /// As the store keeps it: the expiry (8 bytes, 0 for none) goes before the properties.
    pub(crate) fn to_stored(&self, topic: &str) -> StoredRetained {
        let mut properties = BytesMut::new();
        if self.expires_at.is_some() || !self.properties.is_empty() {
            properties.put_i64(self.expires_at.map_or(0, Timestamp::millis));
            properties.put_slice(&self.properties);
        }
        StoredRetained {
            topic: topic.to_owned(),
            payload: self.payload.clone(),
            qos: self.qos as u8,
            properties: properties.freeze(),
            stored_at: self.stored_at,
        }
    }

    pub(crate) fn from_stored(stored: &StoredRetained) -> Self {
        let expires = stored.properties.first_chunk::<8>().map_or(0, |millis| i64::from_be_bytes(*millis));
        Self {
            payload: stored.payload.clone(),
            properties: if PROPERTIES.contains(&stored.properties.len()) {
                stored.properties.slice(8..)
            } else {
                Bytes::new()
            },
            qos: Qos::from_bits(stored.qos),
            expires_at: (expires != 0).then(|| Timestamp::from_millis(expires)),
            stored_at: stored.stored_at,
        }
    }
}

impl StoredRetained {
    /// What stands beside the message, and until when it is kept; none for as long as nothing takes its place.
    pub fn beside(&self) -> (Beside, Option<Timestamp>) {
        let retained = Retained::from_stored(self);
        (beside(&retained.properties), retained.expires_at)
    }
}

/// Too many, or too large in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetainedFull;

#[derive(Debug, Default)]
pub(crate) struct RetainedSet {
    by_topic: BTreeMap<Arc<str>, Retained>,
    bytes: usize,
}

impl RetainedSet {
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    pub(crate) fn set(&mut self, topic: &str, retained: Retained, max_bytes: usize) -> Result<(), RetainedFull> {
        let old = self.by_topic.get(topic).map_or(0, |r| r.weight(topic));
        let bytes = self.bytes - old + retained.weight(topic);
        if bytes > max_bytes || (old == 0 && self.by_topic.len() >= limits::MQTT_RETAINED_PER_TENANT) {
            return Err(RetainedFull);
        }
        self.bytes = bytes;
        match self.by_topic.get_mut(topic) {
            Some(known) => *known = retained,
            None => {
                self.by_topic.insert(topic.into(), retained);
            }
        }
        Ok(())
    }

    /// Whether there was one.
    pub(crate) fn clear(&mut self, topic: &str) -> bool {
        let Some(old) = self.by_topic.remove(topic) else { return false };
        self.bytes -= old.weight(topic);
        true
    }

    pub(crate) fn topics(&self, wanted: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        self.by_topic.keys().filter(|topic| wanted(topic)).cloned().collect()
    }

    /// What has not expired on topics after `after` that are `wanted`, in their order, `limit` at most.
    pub(crate) fn listed(
        &self,
        after: &str,
        now: Timestamp,
        limit: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<StoredRetained> {
        let later = self.by_topic.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let alive = later.filter(|(topic, r)| r.expires_at.is_none_or(|at| at > now) && wanted(topic));
        alive.take(limit).map(|(topic, r)| r.to_stored(topic)).collect()
    }

    pub(crate) fn expired(&self, now: Timestamp) -> Vec<Arc<str>> {
        let stale = self.by_topic.iter().filter(|(_, r)| r.expires_at.is_some_and(|at| at <= now));
        stale.map(|(topic, _)| topic.clone()).collect()
    }

    /// What matches a valid filter and has not expired, in order of topics, `limit` at most; whether that is all.
    pub(crate) fn matching(&self, filter: &str, now: Timestamp, limit: usize) -> (Vec<(Arc<str>, Retained)>, bool) {
        let alive = |r: &Retained| r.expires_at.is_none_or(|at| at > now);
        let Some((_, prefix, _)) = topic::split_at_wildcard(filter) else {
            let one = self.by_topic.get_key_value(filter).filter(|(_, r)| alive(r));
            return (one.map(|(t, r)| (t.clone(), r.clone())).into_iter().collect(), true);
        };
        let mut found = self
            .by_topic
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(t, _)| t.starts_with(prefix))
            .filter(|(t, r)| topic::matches(filter, t) && alive(r))
            .map(|(t, r)| (t.clone(), r.clone()));
        let first = found.by_ref().take(limit).collect();
        (first, found.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Retained {
        Retained {
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            properties: Bytes::new(),
            qos: Qos::AtMostOnce,
            expires_at: None,
            stored_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn found_by_filter_until_cleared() {
        let mut set = RetainedSet::default();
        for topic in ["a", "a/b", "a/c", "ab/c", "$aws/x"] {
            set.set(topic, message(topic), 1000).expect("room");
        }
        let topics = |filter: &str| {
            set.matching(filter, Timestamp::EPOCH, 10).0.iter().map(|(t, _)| t.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(topics("a/#"), ["a", "a/b", "a/c"]);
        assert_eq!(topics("+/c"), ["a/c", "ab/c"]);
        assert_eq!(topics("#"), ["a", "a/b", "a/c", "ab/c"]);
        assert_eq!(topics("a/b"), ["a/b"]);
        assert!(!set.matching("#", Timestamp::EPOCH, 2).1);
        for topic in ["a", "a/b", "a/c", "ab/c", "$aws/x"] {
            assert!(set.clear(topic));
        }
        assert_eq!((set.len(), set.bytes), (0, 0));
    }

    #[test]
    fn bounded_in_bytes() {
        let mut set = RetainedSet::default();
        set.set("a", message("123456789"), 10).expect("just fits");
        assert_eq!(set.set("b", message(""), 10), Err(RetainedFull));
        set.set("a", message("1"), 10).expect("replaced by a smaller one");
        set.set("b", message("2345678"), 10).expect("room again");
    }

    #[test]
    fn stored_and_back() {
        let mut retained = message("x");
        retained.properties = Bytes::from_static(&[1, 1]);
        retained.expires_at = Some(Timestamp::from_secs(5));
        let back = Retained::from_stored(&retained.to_stored("t"));
        assert_eq!(
            (back.properties, back.expires_at, back.payload),
            (retained.properties, retained.expires_at, retained.payload)
        );
        let plain = Retained::from_stored(&message("y").to_stored("t"));
        assert_eq!((plain.properties.len(), plain.expires_at), (0, None));
    }
}
