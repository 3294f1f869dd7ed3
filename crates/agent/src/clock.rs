//! The agent's clock: never before a moment that is known to have been.
//!
//! A device without a battery for its clock starts in 1970, and a certificate is not valid yet then. It is later than when this
//! program was built, later than what a server of ours last said (kept in `clock` in the data folder), and not earlier than
//! the beginning of a certificate that the pinned authority signed. From the latest of these on, the monotonic clock
//! counts. The machine's clock counts as soon as it is ahead of that. Chains are verified at this time, and never skipped.
//!
//! Nothing here comes from the machine's own clock, which may have been wrong: a clock that was once set to 2099 must not
//! hold the device there.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetward_base::{Clock, Timestamp};

use crate::disk::{self, Disk};

/// The file that keeps what a server last said.
pub const FILE: &str = "clock";
/// When this program was released, where the build does not say.
const RELEASED: Timestamp = Timestamp::from_secs(1_793_491_200);
/// What was learned is kept again when it has moved on by this.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// When this program was built: SOURCE_DATE_EPOCH at that time, for builds that can be repeated.
fn built() -> Timestamp {
    let said = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()).map(Timestamp::from_secs);
    said.map_or(RELEASED, |said| said.max(RELEASED))
}

/// A moment that has been, and when that was known.
#[derive(Clone, Copy)]
struct Floor {
    at: Timestamp,
    since: Duration,
    kept: Timestamp,
}

/// The machine's clock with a floor.
pub struct FloorClock {
    machine: Arc<dyn Clock>,
    floor: Mutex<Floor>,
}

impl fmt::Debug for FloorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FloorClock({})", self.now())
    }
}

impl FloorClock {
    pub fn new(machine: Arc<dyn Clock>) -> Self {
        let since = machine.monotonic();
        Self { machine, floor: Mutex::new(Floor { at: built(), since, kept: Timestamp::EPOCH }) }
    }

    /// With what an earlier process was told. A file that cannot be read counts for nothing.
    pub fn open(machine: Arc<dyn Clock>, disk: &dyn Disk) -> Self {
        let clock = Self::new(machine);
        let kept = disk.read(FILE).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(kept) = kept.and_then(|text| text.trim().parse().ok()).map(Timestamp::from_secs) {
            clock.learn(kept);
            clock.lock().kept = kept;
        }
        clock
    }

    fn lock(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn floor(&self) -> Timestamp {
        let floor = *self.lock();
        floor.at.plus(self.machine.monotonic().saturating_sub(floor.since))
    }

    /// The machine's clock says a time before one that is known to have been.
    pub fn is_behind(&self) -> bool {
        self.machine.now() < self.floor()
    }

    /// It is at least `at`: somebody who proved to be a server of ours said so.
    pub fn learn(&self, at: Timestamp) {
        let since = self.machine.monotonic();
        if at > self.floor() {
            let mut floor = self.lock();
            (floor.at, floor.since) = (at, since);
        }
    }

    /// Keeps what was learned, where it has moved on since it was kept.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, disk: &dyn Disk) -> io::Result<()> {
        let (floor, kept) = (self.floor(), self.lock().kept);
        if floor.since(kept) < KEEP_EVERY || self.lock().at <= built() {
            return Ok(());
        }
        disk::replace(disk, FILE, floor.secs().to_string().as_bytes())?;
        self.lock().kept = floor;
        Ok(())
    }
}

impl Clock for FloorClock {
    fn now(&self) -> Timestamp {
        self.machine.now().max(self.floor())
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

impl rustls::time_provider::TimeProvider for FloorClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let secs = u64::try_from(self.now().secs()).ok()?;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

/// Notices that the time of day moved otherwise than the monotonic clock did.
#[derive(Debug, Default)]
pub struct Steps {
    last: Option<(Timestamp, Duration)>,
}

impl Steps {
    /// Whether it was set since the last look, by more than a few seconds, either way.
    pub fn look(&mut self, clock: &dyn Clock) -> bool {
        const SLACK: Duration = Duration::from_secs(5);
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let Some((before, then)) = self.last.replace((now, monotonic)) else { return false };
        let expected = before.plus(monotonic.saturating_sub(then));
        now.since(expected) > SLACK || expected.since(now) > SLACK
    }
}

/// The time of an HTTP `Date` in its one current form (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_day_name, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let mut number = |length: usize| -> Option<i64> {
        let word = words.next()?;
        (word.len() == length && word.bytes().all(|byte| byte.is_ascii_digit())).then(|| word.parse().ok())?
    };
    let day = number(2)?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year = words.next().filter(|word| word.len() == 4)?.parse::<i64>().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() == 2));
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let whole = words.next() == Some("GMT") && words.next().is_none() && clock.next().is_none();
    let sane = (1..=31).contains(&day) && (0..24).contains(&hours) && (0..60).contains(&minutes);
    if !whole || !sane || !(0..=60).contains(&seconds) || year < 1970 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(Timestamp::from_secs(days * 86_400 + hours * 3600 + minutes * 60 + seconds))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counting in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use fleetward_base::ManualClock;

    use super::*;
    use crate::disk::sim::SimDisk;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_clock_that_starts_in_1970_is_later_than_the_build_and_than_what_was_learned() {
        let machine = Arc::new(ManualClock::at(Timestamp::EPOCH));
        let clock = FloorClock::new(machine.clone());
        assert_eq!((clock.now(), clock.is_behind()), (built(), true));
        machine.advance(DAY);
        assert_eq!(clock.now(), built().plus(DAY), "it goes on");
        let said = built().plus(DAY * 100);
        clock.learn(said);
        machine.advance(DAY);
        assert_eq!(clock.now(), said.plus(DAY));
        clock.learn(said.minus(DAY * 50));
        assert_eq!(clock.now(), said.plus(DAY), "it does not go back");
        machine.jump_to(said.plus(DAY * 2));
        assert_eq!((clock.now(), clock.is_behind()), (said.plus(DAY * 2), false), "the machine knows better now");
        machine.jump_to(Timestamp::EPOCH);
        assert_eq!(clock.now(), said.plus(DAY), "and does no longer");
    }

    #[test]
    fn what_a_server_said_outlives_the_process_and_what_the_machine_said_does_not() {
        let (disk, machine) = (SimDisk::new(), Arc::new(ManualClock::at(Timestamp::EPOCH)));
        let said = built().plus(DAY * 10);
        let clock = FloorClock::open(machine.clone(), &disk);
        clock.keep(&disk).expect("writes");
        assert_eq!(disk.read(FILE).expect("reads"), None, "nothing was learned");
        clock.learn(said);
        clock.keep(&disk).expect("writes");
        machine.advance(Duration::from_secs(1800));
        clock.keep(&disk).expect("writes");
        assert_eq!(disk.read(FILE).expect("reads"), Some(said.secs().to_string().into_bytes()), "not each moment");
        machine.jump_to(Timestamp::from_secs(4_000_000_000));
        machine.advance(DAY);
        clock.keep(&disk).expect("writes");
        let again = FloorClock::open(Arc::new(ManualClock::at(Timestamp::EPOCH)), &disk);
        assert_eq!(again.now(), said.plus(Duration::from_secs(1800)).plus(DAY));
        disk.write(FILE, b"soon").expect("writes");
        assert_eq!(FloorClock::open(Arc::new(ManualClock::at(Timestamp::EPOCH)), &disk).now(), built());
    }

    #[test]
    fn steps_are_noticed_either_way() {
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let mut steps = Steps::default();
        assert!(!steps.look(&clock));
        clock.advance(DAY);
        assert!(!steps.look(&clock), "both moved");
        clock.jump_to(Timestamp::from_secs(1_900_000_000));
        assert!(steps.look(&clock) && !steps.look(&clock));
        clock.jump_to(Timestamp::from_secs(1_899_999_998));
        assert!(!steps.look(&clock), "a correction of seconds is none");
        clock.jump_to(Timestamp::EPOCH);
        assert!(steps.look(&clock));
    }

    #[test]
    fn dates() {
        let at = |text: &str| parse_date(text).map(Timestamp::secs);
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(at("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(at("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        for bad in [
            "",
            "06 Nov 1994",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Non 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
