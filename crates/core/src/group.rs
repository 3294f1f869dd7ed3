//! Groups whose devices a question decides.
//!
//! A device is in a group by having its name as a tag, whoever gave the tag. Of a dynamic group the server does, by asking
//! its question of each device. A question sees no tag of a dynamic group: so no group depends on another, and asking twice
//! changes nothing the second time. Whether a device is online cannot be asked: membership is written down, and would be
//! with each connection.

use std::collections::BTreeSet;

use crate::registry::Device;
use crate::search::{BadQuery, Query, Subject};

/// Why a question cannot decide who is in a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGroupQuery {
    #[error(transparent)]
    Query(#[from] BadQuery),
    #[error("whether a device is connected cannot decide who is in a group: it changes too often to be written down")]
    Online,
}

/// A group with its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicGroup {
    pub name: String,
    query: Query,
}

impl DynamicGroup {
    /// # Errors
    /// [`BadGroupQuery`].
    pub fn new(name: impl Into<String>, query: &str) -> Result<Self, BadGroupQuery> {
        let query = Query::parse(query)?;
        if query.asks_presence() {
            return Err(BadGroupQuery::Online);
        }
        Ok(Self { name: name.into(), query })
    }
}

/// The tags that a device is to have where these are all dynamic groups of its tenant.
pub fn tags_of(groups: &[DynamicGroup], device: &Device) -> BTreeSet<String> {
    let mut plain = device.clone();
    plain.tags.retain(|tag| !groups.iter().any(|group| group.name == *tag));
    let subject = Subject { device: &plain, online: false };
    let met = groups.iter().filter(|group| group.query.matches(subject)).map(|group| group.name.clone());
    plain.tags.iter().cloned().chain(met).collect()
}

#[cfg(test)]
mod tests {
    use fleetward_base::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn device(tags: &[&str], site: &str) -> Device {
        let mut device = Device::new("gw-1".parse().expect("a name"), Timestamp::EPOCH);
        device.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        device.site = Some(site.to_owned());
        device
    }

    fn group(name: &str, query: &str) -> DynamicGroup {
        DynamicGroup::new(name, query).expect("a question")
    }

    #[test]
    fn whom_a_question_meets_is_in_and_nobody_else() {
        let groups = [group("berlin", "site:berlin"), group("rest", "NOT site:berlin"), group("old", "tag:rev-a")];
        for (tags, site, expected) in [
            (vec!["eu"], "berlin", vec!["berlin", "eu"]),
            (vec!["eu", "berlin"], "rome", vec!["eu", "rest"]),
            (vec!["rev-a"], "rome", vec!["old", "rest", "rev-a"]),
        ] {
            let found = tags_of(&groups, &device(&tags, site));
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn no_group_depends_on_another() {
        let groups = [group("a", "NOT tag:b"), group("b", "NOT tag:a"), group("c", "tag:c")];
        let found = tags_of(&groups, &device(&[], "x"));
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for query in ["online:true", "site:a OR NOT (connectivity.connected:false)"] {
            assert_eq!(DynamicGroup::new("x", query), Err(BadGroupQuery::Online), "{query}");
        }
        assert!(matches!(DynamicGroup::new("x", "nothing:1"), Err(BadGroupQuery::Query(_))));
    }

    proptest! {
        #[test]
        fn asking_twice_changes_nothing(
            tags in proptest::collection::btree_set("[a-e]", 0..5),
            queries in proptest::collection::vec(("[a-e]", "(NOT )?(tag:[a-e*]|site:[xy])"), 0..5),
        ) {
            let groups: Vec<_> = queries.iter().map(|(name, query)| group(name, query)).collect();
            let mut one = device(&tags.iter().map(String::as_str).collect::<Vec<_>>(), "x");
            one.tags = tags_of(&groups, &one);
            prop_assert_eq!(tags_of(&groups, &one), one.tags.clone());
        }
    }
}
