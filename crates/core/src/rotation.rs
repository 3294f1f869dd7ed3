//! The ladder that a device's certificates climb: how one takes the place of another without a moment in which the device
//! holds none that counts (requirement I8).
//!
//! ```text
//! pending -> issued -> proven -> active -> superseded -> retired        and from each of them: revoked
//! ```
//! A new certificate is *issued* beside the old one, *proven* by its first use, which puts the old one into its grace
//! (*superseded*: it still counts), and *active* when the grace is over or enough sessions stood; then the old one is
//! *retired*. One that nobody ever used is revoked by itself and takes nothing with it. [`decide`] is the whole rule, over
//! all certificates of one device at once. What it keeps to, and the simulation in its tests checks at each step:
//!
//! - the newest certificate that a device got in with is accepted for as long as it is valid;
//! - no step goes back;
//! - what was never proven removes nothing;
//! - deciding what was decided decides nothing.

pub mod alert;
pub mod campaign;
pub mod pace;
pub mod rise;

use std::time::Duration;

use fleetward_base::Timestamp;

use crate::text::text_enum;

text_enum! {
    /// Where a certificate stands.
    pub enum Standing("standing of a certificate") {
        /// Asked for; there is no certificate yet.
        Pending => "pending",
        /// Made; not seen in use yet.
        Issued => "issued",
        /// Seen in use; the one before it still counts.
        Proven => "proven",
        /// In use, alone.
        Active => "active",
        /// Another was proven; counts until its grace is over.
        Superseded => "superseded",
        /// Counts no longer: another has taken its place.
        Retired => "retired",
        /// Counts no longer: it was taken back.
        Revoked => "revoked",
    }
}

impl Standing {
    /// Whether a device may come in with it, its own time aside.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Issued | Self::Proven | Self::Active | Self::Superseded)
    }

    /// The device was seen with it, and nothing took its place.
    pub const fn is_in_charge(self) -> bool {
        matches!(self, Self::Proven | Self::Active)
    }

    /// Nothing follows.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Retired | Self::Revoked)
    }
}

text_enum! {
    /// Why a certificate took a step.
    pub enum Cause("cause of a step") {
        /// It was issued.
        Issued => "issued",
        /// It was used for the first time.
        FirstUse => "first-use",
        /// Another was used for the first time.
        Replaced => "replaced",
        /// Another was issued before this one was ever used.
        NeverUsed => "never-used",
        /// Enough sessions stood with the new one.
        Sessions => "sessions",
        /// The grace is over.
        GraceOver => "grace-over",
        /// It was not used by its deadline.
        Unproven => "unproven",
    }
}

/// What a policy says of how certificates take each other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a new certificate may stay unused beside one that works.
    pub proof_deadline: Duration,
    /// How long the old one counts after the new one was proven. Zero: not at all.
    pub grace: Duration,
    /// The grace ends before its time after so many sessions with the new one.
    pub grace_sessions: u32,
}

/// Sessions count where at least this lies between them: a device that flaps has not shown more by it.
pub const SESSION_GAP: Duration = Duration::from_secs(60);

/// A certificate of the device that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub serial: String,
    pub standing: Standing,
    pub issued_at: Timestamp,
    pub not_after: Timestamp,
    /// By when an issued one is to be proven; until when a superseded one counts; when a proven one is alone.
    pub deadline: Option<Timestamp>,
    /// Sessions with it, counted while it is proven, and when the last of them began.
    pub sessions: u32,
    pub session_at: Option<Timestamp>,
}

impl Held {
    /// One that is being made.
    pub fn pending(serial: String, now: Timestamp, not_after: Timestamp) -> Self {
        let standing = Standing::Pending;
        Self { serial, standing, issued_at: now, not_after, deadline: None, sessions: 0, session_at: None }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The pending one was signed. `renews`: the device showed another one for it, so it holds that.
    Issued { serial: &'a str, renews: bool },
    /// The device was let in with this one. `at_once`: those before it get no grace (emergency re-keying).
    Used { serial: &'a str, at_once: bool },
    /// Time went by.
    Elapsed,
}

/// What becomes of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// As it is afterwards.
    pub after: Held,
    pub from: Standing,
    /// None where it stands where it stood, and only its deadline or its count of sessions moved.
    pub cause: Option<Cause>,
}

/// What `event` does to the certificates of a device; `held` are those not at their end, in any order. Total: an event about
/// a certificate that is not among them does nothing.
pub fn decide(now: Timestamp, held: &[Held], event: Event<'_>, terms: &Terms) -> Vec<Step> {
    let mut ladder = Ladder { now, terms, held, steps: Vec::new() };
    match event {
        Event::Issued { serial, renews } => ladder.issued(serial, renews),
        Event::Used { serial, at_once } => ladder.used(serial, at_once),
        Event::Elapsed => ladder.elapsed(),
    }
    ladder.steps
}

struct Ladder<'a> {
    now: Timestamp,
    terms: &'a Terms,
    held: &'a [Held],
    steps: Vec<Step>,
}

impl Ladder<'_> {
    fn step(&mut self, one: &Held, to: Standing, deadline: Option<Timestamp>, cause: Cause) {
        let after = Held { standing: to, deadline, ..one.clone() };
        self.steps.push(Step { after, from: one.standing, cause: Some(cause) });
    }

    fn find(&self, serial: &str) -> Option<Held> {
        self.held.iter().find(|one| one.serial == serial).cloned()
    }

    fn others(&self, serial: &str) -> Vec<Held> {
        self.held.iter().filter(|one| one.serial != serial).cloned().collect()
    }

    fn issued(&mut self, serial: &str, renews: bool) {
        let Some(new) = self.find(serial).filter(|one| one.standing == Standing::Pending) else { return };
        let others = self.others(serial);
        // Only beside one that works does it have to prove itself; a device's only certificate waits for as long as it holds.
        let beside = others.iter().any(|one| one.standing.is_in_charge() && one.not_after > self.now);
        let deadline = beside.then(|| self.now.plus(self.terms.proof_deadline));
        self.step(&new, Standing::Issued, deadline, Cause::Issued);
        // The device that showed another one has no use for what it asked for before, or they would pile up.
        for one in others.iter().filter(|one| renews && one.standing == Standing::Issued) {
            self.step(one, Standing::Retired, None, Cause::NeverUsed);
        }
    }

    fn used(&mut self, serial: &str, at_once: bool) {
        let Some(used) = self.find(serial) else { return };
        match used.standing {
            Standing::Issued => self.first_use(&used, at_once),
            Standing::Proven => self.session(&used),
            _ => {}
        }
    }

    /// Those before it have served their time. What is in charge was proven before, whatever the clock said when it was
    /// issued.
    fn first_use(&mut self, used: &Held, at_once: bool) {
        let grace = if at_once { Duration::ZERO } else { self.terms.grace };
        let until = self.now.plus(grace);
        let (mut ends, mut overlap) = (Vec::new(), None);
        for one in self.others(&used.serial) {
            let (to, deadline, cause) = match one.standing {
                Standing::Issued if one.issued_at <= used.issued_at => {
                    (Standing::Retired, None, Some(Cause::NeverUsed))
                }
                Standing::Proven | Standing::Active | Standing::Superseded if grace.is_zero() => {
                    (Standing::Retired, None, Some(Cause::Replaced))
                }
                Standing::Proven | Standing::Active => (Standing::Superseded, Some(until), Some(Cause::Replaced)),
                // It was kept because there was no other.
                Standing::Superseded if one.deadline.is_none() => (Standing::Superseded, Some(until), None),
                Standing::Superseded => {
                    overlap = overlap.max(one.deadline);
                    continue;
                }
                Standing::Issued | Standing::Pending | Standing::Retired | Standing::Revoked => continue,
            };
            overlap = overlap.max(deadline);
            ends.push(Step { after: Held { standing: to, deadline, ..one.clone() }, from: one.standing, cause });
        }
        let standing = if overlap.is_some() { Standing::Proven } else { Standing::Active };
        let first = Held { sessions: 1, session_at: Some(self.now), ..used.clone() };
        self.step(&first, standing, overlap, Cause::FirstUse);
        self.steps.extend(ends);
        if self.terms.grace_sessions <= 1 && standing == Standing::Proven {
            self.settle();
        }
    }

    fn session(&mut self, used: &Held) {
        if used.session_at.is_some_and(|at| self.now < at.plus(SESSION_GAP) && self.now >= at) {
            return;
        }
        let sessions = used.sessions.saturating_add(1);
        let seen = Held { sessions, session_at: Some(self.now), ..used.clone() };
        if sessions >= self.terms.grace_sessions {
            self.step(&seen, Standing::Active, None, Cause::Sessions);
            for one in self.others(&used.serial).iter().filter(|one| one.standing == Standing::Superseded) {
                self.step(one, Standing::Retired, None, Cause::Sessions);
            }
        } else {
            self.steps.push(Step { after: seen, from: Standing::Proven, cause: None });
        }
    }

    /// A grace of one session, which stands: what the steps so far made proven and superseded goes on at once.
    fn settle(&mut self) {
        let mut now: Vec<Held> = self.held.to_vec();
        for step in &self.steps {
            now.retain(|one| one.serial != step.after.serial);
            now.push(step.after.clone());
        }
        for one in &now {
            match one.standing {
                Standing::Proven => self.step(one, Standing::Active, None, Cause::Sessions),
                Standing::Superseded => self.step(one, Standing::Retired, None, Cause::Sessions),
                _ => {}
            }
        }
    }

    fn elapsed(&mut self) {
        let due: Vec<Held> =
            self.held.iter().filter(|one| one.deadline.is_some_and(|deadline| deadline <= self.now)).cloned().collect();
        // Somebody else must be in charge for as long again as this one was given: a device that comes late finds one.
        let relieved = |of: &Held, until: Timestamp| {
            let mut others = self.held.iter().filter(|one| one.serial != of.serial);
            others.any(|one| one.standing.is_in_charge() && one.not_after > until)
        };
        let mut steps = Vec::new();
        for one in &due {
            let (to, cause) = match one.standing {
                Standing::Issued if relieved(one, self.now.plus(self.terms.proof_deadline)) => {
                    (Standing::Revoked, Some(Cause::Unproven))
                }
                Standing::Superseded if relieved(one, self.now) => (Standing::Retired, Some(Cause::GraceOver)),
                Standing::Proven => (Standing::Active, Some(Cause::GraceOver)),
                // It is all that the device may have: it stays to its own end.
                standing => (standing, None),
            };
            let after = Held { standing: to, deadline: None, ..one.clone() };
            steps.push(Step { after, from: one.standing, cause });
        }
        self.steps = steps;
    }
}

#[cfg(test)]
mod tests;
