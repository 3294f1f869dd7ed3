//! Time as an argument.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, as AWS and X.509 have them.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_millis(span)))
    }

    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_millis(span)))
    }

    /// Year, month and day in UTC.
    pub fn civil_day(self) -> (i64, i64, i64) {
        civil_from_days(self.0.div_euclid(86_400_000))
    }

    /// How long after `earlier` this is; zero where it is not after it (a clock may go back).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

const fn span_millis(span: Duration) -> i64 {
    let millis = span.as_millis();
    if millis > i64::MAX as u128 {
        i64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "held against i64::MAX on the line above")]
        let short = millis as i64;
        short
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, for people: `2026-11-20T10:53:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.div_euclid(1000);
        let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            rest / 3600,
            rest % 3600 / 60,
            rest % 60,
            self.0.rem_euclid(1000)
        )
    }
}

/// Days since 1970-01-01 to the proleptic Gregorian year, month and day, counting in eras of 400 years from March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Where time comes from. Programs use [`SystemClock`], tests and simulation a [`ManualClock`].
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may jump either way.
    fn now(&self) -> Timestamp;

    /// A count that never goes back, for measuring spans. Its zero means nothing.
    fn monotonic(&self) -> Duration;
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    monotonic_ms: AtomicI64,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self { now_ms: AtomicI64::new(now.millis()), monotonic_ms: AtomicI64::new(0) }
    }

    /// Both the time of day and the count of elapsed time move on.
    pub fn advance(&self, span: Duration) {
        self.now_ms.fetch_add(span_millis(span), Ordering::SeqCst);
        self.monotonic_ms.fetch_add(span_millis(span), Ordering::SeqCst);
    }

    /// Only the time of day changes, as when an operator or NTP sets it.
    pub fn jump_to(&self, now: Timestamp) {
        self.now_ms.store(now.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.monotonic_ms.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

/// The machine's clock.
#[cfg(feature = "system")]
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

#[cfg(feature = "system")]
impl SystemClock {
    #[expect(clippy::new_without_default, reason = "reading the clock is not a default")]
    #[expect(clippy::disallowed_methods, reason = "this is where the ambient clock is read")]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

#[cfg(feature = "system")]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the ambient clock is read")]
    fn now(&self) -> Timestamp {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(span) => Timestamp::EPOCH.plus(span),
            Err(before) => Timestamp::EPOCH.minus(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_171_980_007, "2026-11-20T10:53:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_negative_span() {
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(-1).secs(), -1);
        assert_eq!(Timestamp::from_millis(i64::MAX).plus(Duration::MAX).millis(), i64::MAX);
    }
}
