//! A live connection as the rest of the broker sees it: something to wake, to end, and to remember a deadline for.
//!
//! Deadlines are counted in ticks of a quarter of a second since the broker started. A [`Wheel`] holds each link in one
//! slot; a connection that is heard from only writes its new deadline, and the wheel finds that out when the slot comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::{EndReason, Reason};

/// The length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Ticks in a span, rounded up.
pub(crate) fn ticks(span: Duration) -> u32 {
    u32::try_from(span.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX / 2)
}

const NOT_ENDED: u8 = 0;
const SLOW_READER: u8 = 1;

#[derive(Debug)]
pub(crate) struct Link {
    waker: AtomicWaker,
    /// [`NOT_ENDED`], [`SLOW_READER`] or the code of a [`Reason`]; written once.
    ended: AtomicU8,
    closed: AtomicBool,
    due: AtomicU32,
    /// The tick of the wheel's slot that counts; entries in other slots are stale.
    slot: AtomicU32,
    /// The last batch of the committer that the connection waits for.
    batch: AtomicU64,
}

impl Link {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            waker: AtomicWaker::new(),
            ended: AtomicU8::new(NOT_ENDED),
            closed: AtomicBool::new(false),
            due: AtomicU32::new(u32::MAX),
            slot: AtomicU32::new(u32::MAX),
            batch: AtomicU64::new(0),
        })
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Ends the connection; the first reason stays. False if it was ending already.
    pub(crate) fn end(&self, end: EndReason) -> bool {
        let code = match end {
            EndReason::SlowReader => SLOW_READER,
            EndReason::Server(reason) => reason.code(),
            EndReason::ClientDisconnected | EndReason::ConnectionLost => Reason::UnspecifiedError.code(),
        };
        let first = self.ended.compare_exchange(NOT_ENDED, code, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.wake();
        first
    }

    pub(crate) fn ended(&self) -> Option<EndReason> {
        match self.ended.load(Ordering::Acquire) {
            NOT_ENDED => None,
            SLOW_READER => Some(EndReason::SlowReader),
            code => Some(EndReason::Server(Reason::from_code(code))),
        }
    }

    /// Notes the batch that the connection waits for; false if that is known.
    pub(crate) fn waits_for(&self, batch: u64) -> bool {
        self.batch.swap(batch, Ordering::AcqRel) != batch
    }

    /// The connection is over; the wheel may forget it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// A wheel of deadlines.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Mutex<Vec<Arc<Link>>>>,
    /// The last tick that has been worked off.
    done: Mutex<u32>,
}

/// Slots; a deadline further away than this many ticks (256 s) is looked at on the way.
const SLOTS: u32 = 1024;

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::new(Vec::new())).collect(), done: Mutex::new(0) }
    }

    /// Sets the deadline of a link. Cheap when it moves away, which it mostly does.
    pub(crate) fn set(&self, link: &Arc<Link>, now: u32, due: u32) {
        link.due.store(due, Ordering::Release);
        if due < link.slot.load(Ordering::Acquire) {
            self.insert(link.clone(), now, due);
        }
    }

    fn insert(&self, link: Arc<Link>, now: u32, due: u32) {
        let at = due.clamp(now + 1, now + SLOTS - 1);
        link.slot.store(at, Ordering::Release);
        if let Some(slot) = self.slots.get(usize::try_from(at % SLOTS).unwrap_or(0)) {
            slot.lock().push(link);
        }
    }

    /// Wakes every connection whose deadline has come.
    pub(crate) fn advance(&self, now: u32) {
        let mut done = self.done.lock();
        let first = (*done + 1).max(now.saturating_sub(SLOTS - 1));
        for tick in first..=now {
            let Some(slot) = self.slots.get(usize::try_from(tick % SLOTS).unwrap_or(0)) else { continue };
            let mut links = std::mem::take(&mut *slot.lock());
            for link in links.drain(..) {
                self.visit(link, now);
            }
        }
        *done = now;
    }

    fn visit(&self, link: Arc<Link>, now: u32) {
        let slot = link.slot.load(Ordering::Acquire);
        if link.closed.load(Ordering::Acquire) || slot > now {
            return; // over, or moved to an earlier slot and then on from there
        }
        let due = link.due.load(Ordering::Acquire);
        let next = if due > now {
            due
        } else {
            link.wake();
            // Until it closes or moves its deadline it is woken again a second later.
            now + 4
        };
        self.insert(link, now, next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn watched() -> (Arc<Link>, Arc<Count>) {
        let (link, count) = (Link::new(), Arc::new(Count(AtomicUsize::new(0))));
        link.register(&count.clone().into());
        (link, count)
    }

    #[test]
    fn wakes_when_due_and_not_before() {
        let wheel = Wheel::new();
        let (link, count) = watched();
        wheel.set(&link, 0, 3000);
        wheel.advance(2999);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        wheel.advance(3000);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_deadline_can_move_both_ways() {
        let wheel = Wheel::new();
        let (link, count) = watched();
        wheel.set(&link, 0, 100);
        wheel.set(&link, 10, 200);
        wheel.advance(199);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        wheel.set(&link, 150, 160);
        wheel.set(&link, 199, 500);
        wheel.set(&link, 199, 300);
        wheel.advance(299);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        wheel.advance(300);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_closed_link_is_forgotten() {
        let wheel = Wheel::new();
        let (link, _) = watched();
        wheel.set(&link, 0, 5);
        link.close();
        wheel.advance(5);
        assert_eq!(Arc::strong_count(&link), 1);
    }

    #[test]
    fn the_first_reason_stays() {
        let (link, _) = watched();
        assert!(link.end(EndReason::Server(Reason::AdministrativeAction)));
        assert!(!link.end(EndReason::SlowReader));
        assert_eq!(link.ended(), Some(EndReason::Server(Reason::AdministrativeAction)));
    }
}
