//! Devices that a person lets in: where a request stands, what may be decided, and how a device that polls is answered
//! (RFC 8628 §3.5).
//!
//! A request that was denied stays so until its end; after its end, decided or not, the device may ask anew.

use std::time::Duration;

use fleetward_base::{Rng, Timestamp};

use crate::text::text_enum;

text_enum! {
    /// Where a request stands, as it is stored. Its end comes by the clock.
    pub enum State("state of a request") {
        Pending => "pending",
        Approved => "approved",
        Denied => "denied",
        /// The device got what it asked for.
        Used => "used",
    }
}

text_enum! {
    /// What a person says.
    pub enum Decision("decision") {
        Approve => "approve",
        Deny => "deny",
    }
}

/// A request as far as decisions look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub expires_at: Timestamp,
}

impl Standing {
    /// How it is shown: as it is stored, or `expired`.
    pub fn shown(self, now: Timestamp) -> &'static str {
        match self.state {
            State::Pending | State::Approved if self.ended(now) => "expired",
            state => state.as_str(),
        }
    }

    fn ended(self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// What becomes of a device that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody was asked yet, or what was asked has ended: ask.
    Ask,
    Wait,
    /// It was let in.
    Enter,
    /// It was let in before and got its certificate. That one it may have again, but no other: then it is to [`Ask`](Self::Ask).
    Again,
    Denied,
}

/// What becomes of a device whose earlier request, if any, stands so.
pub fn turn(earlier: Option<Standing>, now: Timestamp) -> Turn {
    let Some(standing) = earlier else { return Turn::Ask };
    match standing.state {
        State::Used => Turn::Again,
        _ if standing.ended(now) => Turn::Ask,
        State::Pending => Turn::Wait,
        State::Approved => Turn::Enter,
        State::Denied => Turn::Denied,
    }
}

/// The decision comes too late, or against another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is {found}: only one that is pending can be decided")]
pub struct Undecidable {
    pub found: &'static str,
}

/// Where a decision takes a request. The same decision twice is harmless.
///
/// # Errors
/// [`Undecidable`] where the request ended, was used, or was decided otherwise.
pub fn decide(standing: Standing, decision: Decision, now: Timestamp) -> Result<State, Undecidable> {
    let next = match decision {
        Decision::Approve => State::Approved,
        Decision::Deny => State::Denied,
    };
    let open = standing.state == State::Pending && !standing.ended(now);
    if open || (standing.state == next && !standing.ended(now)) {
        return Ok(next);
    }
    Err(Undecidable { found: standing.shown(now) })
}

/// The pause that a device is told, and by how much it grows when the device does not keep to it (RFC 8628 §3.5).
pub const INTERVAL_S: u32 = 5;
const INTERVAL_MAX_S: u32 = 60;

/// How a poll is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    Pending,
    /// Too early; the pause is now this long.
    SlowDown {
        interval_s: u32,
    },
    Granted,
    Denied,
    Expired,
}

/// The answer to a device that polls `since_last` after its last poll, if there was one.
pub fn poll(standing: Standing, interval_s: u32, since_last: Option<Duration>, now: Timestamp) -> Poll {
    // A second of grace: the network makes the pauses that a device keeps shorter and longer.
    let pause = Duration::from_secs(u64::from(interval_s.saturating_sub(1)));
    match standing.state {
        State::Denied => Poll::Denied,
        _ if standing.ended(now) => Poll::Expired,
        State::Approved | State::Used => Poll::Granted,
        State::Pending if since_last.is_some_and(|since| since < pause) => {
            Poll::SlowDown { interval_s: interval_s.saturating_add(INTERVAL_S).min(INTERVAL_MAX_S) }
        }
        State::Pending => Poll::Pending,
    }
}

/// Consonants: no words come about, and no digit is taken for a letter (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 8;

/// A new code for people: `WDJB-MJHT`, one of 25 600 000 000.
pub fn user_code(rng: &dyn Rng) -> String {
    let (mut number, mut code) = (rng.next_u64(), String::with_capacity(CODE_LETTERS + 1));
    for at in 0..CODE_LETTERS {
        if at == CODE_LETTERS / 2 {
            code.push('-');
        }
        let index = usize::try_from(number % 20).unwrap_or(0);
        code.push(LETTERS.get(index).copied().map_or('B', char::from));
        number /= 20;
    }
    code
}

/// A code as somebody typed it, in its one spelling; none where it cannot be one.
pub fn read_user_code(typed: &str) -> Option<String> {
    if typed.len() > 4 * CODE_LETTERS {
        return None;
    }
    let letters: String =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    if letters.len() != CODE_LETTERS || !letters.bytes().all(|letter| LETTERS.contains(&letter)) {
        return None;
    }
    let (first, second) = letters.split_at(CODE_LETTERS / 2);
    Some(format!("{first}-{second}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_base::SeededRng;

    const END: i64 = 100;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn standing(state: State) -> Standing {
        Standing { state, expires_at: at(END) }
    }

    #[test]
    fn turns() {
        assert_eq!(turn(None, at(0)), Turn::Ask);
        for (state, before, after) in [
            (State::Pending, Turn::Wait, Turn::Ask),
            (State::Approved, Turn::Enter, Turn::Ask),
            (State::Denied, Turn::Denied, Turn::Ask),
            (State::Used, Turn::Again, Turn::Again),
        ] {
            assert_eq!(turn(Some(standing(state)), at(END - 1)), before, "{state}");
            assert_eq!(turn(Some(standing(state)), at(END)), after, "{state} ended");
        }
    }

    #[test]
    fn decisions() {
        use Decision::{Approve, Deny};
        let decided = |state, decision, secs| decide(standing(state), decision, at(secs)).map_err(|error| error.found);
        assert_eq!(decided(State::Pending, Approve, 1), Ok(State::Approved));
        assert_eq!(decided(State::Pending, Deny, 1), Ok(State::Denied));
        assert_eq!(decided(State::Approved, Approve, 1), Ok(State::Approved));
        assert_eq!(decided(State::Approved, Deny, 1), Err("approved"));
        assert_eq!(decided(State::Denied, Approve, 1), Err("denied"));
        assert_eq!(decided(State::Used, Approve, 1), Err("used"));
        assert_eq!(decided(State::Pending, Approve, END), Err("expired"));
        assert_eq!(decided(State::Approved, Approve, END), Err("expired"));
    }

    #[test]
    fn polls() {
        let answer =
            |state, since: Option<u64>, secs| poll(standing(state), 5, since.map(Duration::from_secs), at(secs));
        assert_eq!(answer(State::Pending, None, 1), Poll::Pending);
        assert_eq!(answer(State::Pending, Some(5), 1), Poll::Pending);
        assert_eq!(answer(State::Pending, Some(4), 1), Poll::Pending, "within the grace");
        assert_eq!(answer(State::Pending, Some(3), 1), Poll::SlowDown { interval_s: 10 });
        assert_eq!(answer(State::Approved, Some(0), 1), Poll::Granted);
        assert_eq!(answer(State::Used, Some(0), 1), Poll::Granted, "the answer was lost");
        assert_eq!(answer(State::Denied, Some(0), 1), Poll::Denied);
        assert_eq!(answer(State::Pending, Some(9), END), Poll::Expired);
        assert_eq!(poll(standing(State::Pending), 60, Some(Duration::ZERO), at(1)), Poll::SlowDown { interval_s: 60 });
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let rng = SeededRng::new(1);
        for _ in 0..1000 {
            let code = user_code(&rng);
            assert_eq!(code.len(), 9);
            assert_eq!(read_user_code(&code), Some(code.clone()));
            assert_eq!(read_user_code(&format!(" {} ", code.to_lowercase().replace('-', " "))), Some(code));
        }
        for bad in ["", "WDJB", "WDJB-MJHA", "WDJB-MJHT-X", "WDJB-MJH0", "é", &"W".repeat(1000)] {
            assert_eq!(read_user_code(bad), None, "{bad}");
        }
    }
}
