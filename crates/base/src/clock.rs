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

/// A text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a moment such as 2026-11-20T10:53:00Z or 2026-11-20T11:53:00.5+01:00")]
pub struct BadTimestamp;

impl std::str::FromStr for Timestamp {
    type Err = BadTimestamp;
    /// RFC 3339 §5.6, with whatever offset. What is below a millisecond is cut off; a leap second is the one after it.
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        fn number(
            text: Option<&str>,
            digits: usize,
            range: std::ops::RangeInclusive<i64>,
        ) -> Result<i64, BadTimestamp> {
            let good = text.filter(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = good.and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
            number.ok_or(BadTimestamp)
        }
        let (date, time) = text.split_once(['T', 't', ' ']).ok_or(BadTimestamp)?;
        let mut date = date.split('-');
        let year = number(date.next(), 4, 0..=9999)?;
        let month = number(date.next(), 2, 1..=12)?;
        let day = number(date.next(), 2, 1..=31)?;
        let days = days_from_civil(year, month, day);
        if date.next().is_some() || civil_from_days(days) != (year, month, day) {
            return Err(BadTimestamp);
        }
        let at = time.find(['Z', 'z', '+', '-']).ok_or(BadTimestamp)?;
        let (time, offset) = time.split_at(at);
        let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
        let mut time = time.split(':');
        let hour = number(time.next(), 2, 0..=23)?;
        let minute = number(time.next(), 2, 0..=59)?;
        let second = number(time.next(), 2, 0..=60)?;
        if time.next().is_some() {
            return Err(BadTimestamp);
        }
        let millis = match fraction {
            None => 0,
            Some(digits) if (1..=9).contains(&digits.len()) => number(format!("{digits:0<9}").get(..3), 3, 0..=999)
                .and_then(|millis| number(Some(digits), digits.len(), 0..=999_999_999).map(|_| millis))?,
            Some(_) => return Err(BadTimestamp),
        };
        let away = match offset {
            "Z" | "z" => 0,
            offset => {
                let (sign, offset) =
                    (if offset.starts_with('-') { -1 } else { 1 }, offset.get(1..).ok_or(BadTimestamp)?);
                let (hours, minutes) = offset.split_once(':').ok_or(BadTimestamp)?;
                sign * (number(Some(hours), 2, 0..=23)? * 60 + number(Some(minutes), 2, 0..=59)?)
            }
        };
        let secs = days * 86_400 + hour * 3600 + (minute - away) * 60 + second;
        Ok(Self(secs * 1000 + millis))
    }
}

/// The way back of [`civil_from_days`].
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
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
    fn read_as_rfc_3339() {
        let read =
            |text: &str| text.parse::<Timestamp>().map(|at| at.to_string()).unwrap_or_else(|bad| bad.to_string());
        for (text, expect) in [
            ("2026-11-20T10:53:00Z", "2026-11-20T10:53:00.000Z"),
            ("2026-11-20t10:53:00.5z", "2026-11-20T10:53:00.500Z"),
            ("2026-11-20 10:53:00.123456789+01:00", "2026-11-20T09:53:00.123Z"),
            ("2000-02-29T23:59:60-00:30", "2000-03-01T00:30:00.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(read(text), expect, "{text}");
        }
        for bad in [
            "",
            "2026-11-20",
            "2026-11-20T10:53:00",
            "2026-11-20T10:53Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T10:60:00Z",
            "2026-11-20T10:53:61Z",
            "2026-11-20T10:53:00.Z",
            "2026-11-20T10:53:00.1234567890Z",
            "2026-11-20T10:53:00.1xZ",
            "2026-11-20T10:53:00+1:00",
            "2026-11-20T10:53:00+0100",
            "+026-11-20T10:53:00Z",
            "2026-11-20T10:53:00:00Z",
            "2026-11-20-01T10:53:00Z",
            "2026-11-20T10:53:00Zx",
            "ä",
            "T",
        ] {
            assert_eq!(read(bad), BadTimestamp.to_string(), "{bad}");
        }
        // Every day of some centuries, and what is written reads the same.
        for day in (-200_000..200_000).step_by(13) {
            let at = Timestamp::from_millis(day * 86_400_000 + 12_345_678);
            assert_eq!(at.to_string().parse(), Ok(at));
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_negative_span() {
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(-1).secs(), -1);
        assert_eq!(Timestamp::from_millis(i64::MAX).plus(Duration::MAX).millis(), i64::MAX);
    }
}
