//! Which sessions of a tenant a topic goes to.
//!
//! Filters without wildcards, nearly all in a fleet, are found by one hash lookup. The others hang in a trie of one hash
//! step per level under their literal prefix: a publish looks up each prefix of its topic and tries the tails that hang
//! there. Equal filters of many sessions are matched once. Nothing recurses.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hooks::Qos;
use crate::session::Session;
use crate::topic;

/// How a session wants the messages of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
}

impl Wish {
    /// Of two overlapping subscriptions of one session the wider counts (§3.3.4).
    fn merge(self, other: Self) -> Self {
        Self {
            qos: self.qos.max(other.qos),
            no_local: self.no_local && other.no_local,
            retain_as_published: self.retain_as_published || other.retain_as_published,
        }
    }
}

/// One receiver of a message.
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) wish: Wish,
}

type Subscribers = Vec<(Arc<Session>, Wish)>;

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
        let subscribers = match topic::split_at_wildcard(filter) {
            None => self.exact.entry(filter.clone()).or_insert_with(|| Vec::with_capacity(1)),
            Some((depth, prefix, tail)) => {
                if self.wild.len() <= depth {
                    self.wild.resize_with(depth + 1, HashMap::new);
                }
                let Some(level) = self.wild.get_mut(depth) else { return };
                let tails = level.entry(prefix.into()).or_insert_with(|| Vec::with_capacity(1));
                let at = tails.iter().position(|(t, _)| **t == *tail).unwrap_or(tails.len());
                if at == tails.len() {
                    tails.push((tail.into(), Vec::with_capacity(1)));
                }
                let Some((_, subscribers)) = tails.get_mut(at) else { return };
                subscribers
            }
        };
        match subscribers.iter_mut().find(|(s, _)| Arc::ptr_eq(s, session)) {
            Some((_, known)) => *known = wish,
            None => {
                subscribers.push((session.clone(), wish));
                self.len += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: &str, session: &Arc<Session>) {
        let removed = match topic::split_at_wildcard(filter) {
            None => {
                let Some(subscribers) = self.exact.get_mut(filter) else { return };
                let removed = drop_session(subscribers, session);
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
                let removed = drop_session(subscribers, session);
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

    /// The sessions that a valid topic name goes to, each once, appended to `targets`.
    pub(crate) fn route(&self, topic: &str, targets: &mut Vec<Target>) {
        let start = targets.len();
        let mut sources = 0;
        if let Some(subscribers) = self.exact.get(topic) {
            sources += 1;
            extend(targets, subscribers);
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
                        extend(targets, subscribers);
                    }
                }
            }
        }
        if sources > 1 {
            merge_same(targets, start);
        }
    }
}

fn drop_session(subscribers: &mut Subscribers, session: &Arc<Session>) -> bool {
    let Some(at) = subscribers.iter().position(|(s, _)| Arc::ptr_eq(s, session)) else { return false };
    subscribers.swap_remove(at);
    true
}

fn extend(targets: &mut Vec<Target>, subscribers: &Subscribers) {
    targets.extend(subscribers.iter().map(|(session, wish)| Target { session: session.clone(), wish: *wish }));
}

/// Each session once, with its widest wish.
fn merge_same(targets: &mut Vec<Target>, start: usize) {
    let Some(new) = targets.get_mut(start..) else { return };
    new.sort_by_key(|t| Arc::as_ptr(&t.session).addr());
    let mut tail = targets.split_off(start).into_iter().peekable();
    while let Some(mut target) = tail.next() {
        while let Some(same) = tail.next_if(|next| Arc::ptr_eq(&next.session, &target.session)) {
            target.wish = target.wish.merge(same.wish);
        }
        targets.push(target);
    }
}

#[cfg(test)]
mod tests;
