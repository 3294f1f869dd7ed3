//! Which sessions of a tenant a topic goes to.
//!
//! Filters without wildcards, nearly all in a fleet, are found by one hash lookup. The others hang in a trie of one hash
//! step per level under their literal prefix: a publish looks up each prefix of its topic and tries the tails that hang
//! there. Equal filters of many sessions are matched once. Nothing recurses. Who shares a subscription (§4.8.2) stands in
//! a group under the filter; each group names one of its members.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hooks::Qos;
use crate::session::Session;
use crate::topic;

/// How a session wants the messages of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// `a/#` does not match `a`.
    pub(crate) below_only: bool,
    /// The subscription identifier; 0 for none.
    pub(crate) identifier: u32,
}

impl Wish {
    /// Of two overlapping subscriptions of one session the wider counts (§3.3.4).
    fn merge(self, other: Self) -> Self {
        Self {
            qos: self.qos.max(other.qos),
            no_local: self.no_local && other.no_local,
            retain_as_published: self.retain_as_published || other.retain_as_published,
            below_only: self.below_only && other.below_only,
            identifier: self.identifier,
        }
    }
}

/// One receiver of a message.
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) wish: Wish,
}

type Members = Vec<(Arc<Session>, Wish)>;

/// Those of one filter.
#[derive(Default)]
struct Subscribers {
    each: Members,
    groups: Vec<Group>,
}

/// Sessions that share a subscription: each message goes to one of them.
struct Group {
    name: Box<str>,
    members: Members,
    next: AtomicUsize,
}

impl Group {
    /// In turn, and to one that is connected if any is.
    fn choose(&self) -> Option<&(Arc<Session>, Wish)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let from = |skip: usize| self.members.iter().cycle().skip(skip).take(self.members.len());
        let skip = turn.checked_rem(self.members.len())?;
        from(skip).find(|(session, _)| session.is_online()).or_else(|| from(skip).next())
    }
}

impl Subscribers {
    fn is_empty(&self) -> bool {
        self.each.is_empty() && self.groups.is_empty()
    }

    /// Whether it is new.
    fn add(&mut self, group: Option<&str>, session: &Arc<Session>, wish: Wish) -> bool {
        let members = match group {
            None => &mut self.each,
            Some(name) => {
                let groups = &mut self.groups;
                let at = groups.iter().position(|group| *group.name == *name).unwrap_or(groups.len());
                if at == groups.len() {
                    groups.push(Group { name: name.into(), members: Vec::with_capacity(1), next: AtomicUsize::new(0) });
                }
                let Some(group) = groups.get_mut(at) else { return false };
                &mut group.members
            }
        };
        match members.iter_mut().find(|(known, _)| Arc::ptr_eq(known, session)) {
            Some((_, known)) => {
                *known = wish;
                false
            }
            None => {
                members.push((session.clone(), wish));
                true
            }
        }
    }

    /// Whether it was there.
    fn remove(&mut self, group: Option<&str>, session: &Arc<Session>) -> bool {
        let Some(name) = group else { return drop_session(&mut self.each, session) };
        let found = self.groups.iter_mut().find(|group| *group.name == *name);
        let removed = found.is_some_and(|group| drop_session(&mut group.members, session));
        self.groups.retain(|group| !group.members.is_empty());
        removed
    }
}

/// The tails that follow one prefix, with their subscribers.
type Tails = Vec<(Box<str>, Subscribers)>;

#[derive(Default)]
pub(crate) struct Router {
    exact: HashMap<Arc<str>, Subscribers>,
    /// By number of literal levels, then by those levels.
    wild: Vec<HashMap<Box<str>, Tails>>,
    len: usize,
}

impl Router {
    /// Number of subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription, or replaces what the session wished for this filter.
    pub(crate) fn add(&mut self, filter: &Arc<str>, session: &Arc<Session>, wish: Wish) {
        let (group, filter) = match topic::split_share(filter) {
            Some((group, inner)) => (Some(group), inner.into()),
            None => (None, filter.clone()),
        };
        let subscribers = match topic::split_at_wildcard(&filter) {
            None => self.exact.entry(filter).or_default(),
            Some((depth, prefix, tail)) => {
                if self.wild.len() <= depth {
                    self.wild.resize_with(depth + 1, HashMap::new);
                }
                let Some(level) = self.wild.get_mut(depth) else { return };
                let tails = level.entry(prefix.into()).or_insert_with(|| Vec::with_capacity(1));
                let at = tails.iter().position(|(t, _)| **t == *tail).unwrap_or(tails.len());
                if at == tails.len() {
                    tails.push((tail.into(), Subscribers::default()));
                }
                let Some((_, subscribers)) = tails.get_mut(at) else { return };
                subscribers
            }
        };
        self.len += usize::from(subscribers.add(group, session, wish));
    }

    pub(crate) fn remove(&mut self, filter: &str, session: &Arc<Session>) {
        let (group, filter) = topic::split_share(filter).map_or((None, filter), |(group, inner)| (Some(group), inner));
        let removed = match topic::split_at_wildcard(filter) {
            None => {
                let Some(subscribers) = self.exact.get_mut(filter) else { return };
                let removed = subscribers.remove(group, session);
                if subscribers.is_empty() {
                    self.exact.remove(filter);
                }
                removed
            }
            Some((depth, prefix, tail)) => {
                let Some(level) = self.wild.get_mut(depth) else { return };
                let Some(tails) = level.get_mut(prefix) else { return };
                let Some(at) = tails.iter().position(|(t, _)| **t == *tail) else { return };
                let Some((_, subscribers)) = tails.get_mut(at) else { return };
                let removed = subscribers.remove(group, session);
                if subscribers.is_empty() {
                    tails.swap_remove(at);
                }
                if tails.is_empty() {
                    level.remove(prefix);
                }
                removed
            }
        };
        self.len -= usize::from(removed);
    }

    /// The sessions that a valid topic name goes to, appended to `targets`: each once for its own subscriptions with one
    /// identifier, and once for each group that chooses it.
    pub(crate) fn route(&self, topic: &str, targets: &mut Vec<Target>) {
        let start = targets.len();
        let mut sources = 0;
        let mut shared = Vec::new();
        if let Some(subscribers) = self.exact.get(topic) {
            sources += 1;
            extend(targets, &mut shared, subscribers, false);
        }
        if !self.wild.is_empty() {
            for (depth, prefix, rest) in topic::prefixes(topic) {
                // §4.7.2: a leading wildcard does not match what begins with $.
                if depth == 0 && topic.starts_with('$') {
                    continue;
                }
                let Some(level) = self.wild.get(depth) else { break };
                for (tail, subscribers) in level.get(prefix).into_iter().flatten() {
                    if topic::tail_matches(tail, rest) {
                        sources += 1;
                        extend(targets, &mut shared, subscribers, topic::is_above(tail, rest));
                    }
                }
            }
        }
        if sources > 1 {
            merge_same(targets, start);
        }
        targets.append(&mut shared);
    }
}

fn drop_session(subscribers: &mut Members, session: &Arc<Session>) -> bool {
    let Some(at) = subscribers.iter().position(|(s, _)| Arc::ptr_eq(s, session)) else { return false };
    subscribers.swap_remove(at);
    true
}

/// `above`: the topic is the level above the `#` of their filter.
fn extend(targets: &mut Vec<Target>, shared: &mut Vec<Target>, subscribers: &Subscribers, above: bool) {
    let target = |(session, wish): &(Arc<Session>, Wish)| Target { session: session.clone(), wish: *wish };
    let has = |(_, wish): &&(Arc<Session>, Wish)| !(above && wish.below_only);
    targets.extend(subscribers.each.iter().filter(has).map(target));
    shared.extend(subscribers.groups.iter().filter_map(Group::choose).filter(has).map(target));
}

/// Each session once with its widest wish, or once for each identifier: a message carries that of its own (§3.3.4).
fn merge_same(targets: &mut Vec<Target>, start: usize) {
    let Some(new) = targets.get_mut(start..) else { return };
    new.sort_by_key(|t| (Arc::as_ptr(&t.session).addr(), t.wish.identifier));
    let mut tail = targets.split_off(start).into_iter().peekable();
    while let Some(mut target) = tail.next() {
        while let Some(same) = tail.next_if(|next| alike(next, &target)) {
            target.wish = target.wish.merge(same.wish);
        }
        targets.push(target);
    }
}

fn alike(one: &Target, other: &Target) -> bool {
    Arc::ptr_eq(&one.session, &other.session) && one.wish.identifier == other.wish.identifier
}

#[cfg(test)]
mod tests;
