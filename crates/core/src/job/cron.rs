//! When something comes again: AWS's form of a cron expression, in UTC.
//!
//! `cron(minute hour day-of-month month day-of-week year)`. A field is `*`, `?`, numbers, names (`JAN`, `MON`), lists,
//! ranges and steps; days of the week count from 1, Sunday. `L`, `W` and `#` are refused, as is a text in which no day can
//! ever be meant. Of the days one field must be `?` or `*`, as with AWS.

use std::fmt;
use std::str::FromStr;

use fleetward_base::Timestamp;
use serde::{Deserialize, Serialize};

/// A text that is no such expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCron(&'static str);

/// An expression that was understood, with the text it came as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    /// A bit for each value; bit 0 of `years` is [`FIRST_YEAR`].
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    years: [u64; 4],
}

const FIRST_YEAR: u32 = 1970;
const LAST_YEAR: u32 = 2199;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// The longest that two matching days can lie apart: 29 February around a year like 2100.
const DAYS_LOOKED_AT: i64 = 366 * 9;
const TEXT_BYTES: usize = 256;
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl FromStr for Cron {
    type Err = BadCron;
    fn from_str(text: &str) -> Result<Self, BadCron> {
        if text.len() > TEXT_BYTES {
            return Err(BadCron("longer than 256 bytes"));
        }
        let inner = text.trim().strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')'));
        let fields: Vec<&str> = inner.unwrap_or(text).split_whitespace().collect();
        let [minute, hour, day, month, weekday, year] = fields.as_slice() else {
            return Err(BadCron("six fields are wanted: minute hour day-of-month month day-of-week year"));
        };
        let any = |field: &&str| matches!(*field, "*" | "?");
        if !any(day) && !any(weekday) {
            return Err(BadCron("of day-of-month and day-of-week one is ?"));
        }
        let mut years = [0; 4];
        for value in values(year, FIRST_YEAR..=LAST_YEAR, &[])? {
            set(&mut years, value - FIRST_YEAR);
        }
        let bits = |field, range, names: &[&str]| {
            Ok::<_, BadCron>(values(field, range, names)?.into_iter().fold(0_u64, |bits, value| bits | 1 << value))
        };
        let cron = Self {
            text: text.trim().to_owned(),
            minutes: bits(minute, 0..=59, &[])?,
            hours: bits(hour, 0..=23, &[])?,
            days: bits(day, 1..=31, &[])?,
            months: bits(month, 1..=12, &MONTHS)?,
            weekdays: bits(weekday, 1..=7, &WEEKDAYS)?,
            years,
        };
        let longest = (1..=12).filter(|month| cron.months >> month & 1 == 1).map(days_at_most).max().unwrap_or(0);
        if cron.days.trailing_zeros() > longest {
            return Err(BadCron("there is no such day in these months"));
        }
        Ok(cron)
    }
}

impl TryFrom<String> for Cron {
    type Error = BadCron;
    fn try_from(text: String) -> Result<Self, BadCron> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// Whether `now` is less than `minutes` after a time that is meant.
    pub fn within(&self, minutes: u32, now: Timestamp) -> bool {
        let begun = now.millis() - i64::from(minutes) * MINUTE_MS;
        self.next_after(Timestamp::from_millis(begun)).is_some_and(|next| next <= now)
    }

    /// The first minute that is meant and begins after `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let first = after.millis().div_euclid(MINUTE_MS).saturating_add(1).saturating_mul(MINUTE_MS);
        let (day, mut minute) = (first.div_euclid(DAY_MS), first.rem_euclid(DAY_MS) / MINUTE_MS);
        for day in day..day.saturating_add(DAYS_LOOKED_AT) {
            if self.means_day(day) {
                let found = (minute..1440)
                    .find(|minute| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1);
                if let Some(minute) = found {
                    return Some(Timestamp::from_millis(day * DAY_MS + minute * MINUTE_MS));
                }
            }
            minute = 0;
        }
        None
    }

    fn means_day(&self, day: i64) -> bool {
        let (year, month, of_month) = Timestamp::from_millis(day.saturating_mul(DAY_MS)).civil_day();
        // 1970-01-01 was a Thursday, the fifth.
        let weekday = (day + 4).rem_euclid(7) + 1;
        let year = year - i64::from(FIRST_YEAR);
        self.months >> month & 1 == 1
            && self.days >> of_month & 1 == 1
            && self.weekdays >> weekday & 1 == 1
            && u32::try_from(year).is_ok_and(|year| is_set(&self.years, year))
    }
}

fn set(bits: &mut [u64; 4], at: u32) {
    if let Some(word) = usize::try_from(at / 64).ok().and_then(|word| bits.get_mut(word)) {
        *word |= 1 << (at % 64);
    }
}

fn is_set(bits: &[u64; 4], at: u32) -> bool {
    usize::try_from(at / 64).ok().and_then(|word| bits.get(word)).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

const fn days_at_most(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The values that a field means.
fn values(field: &str, range: std::ops::RangeInclusive<u32>, names: &[&str]) -> Result<Vec<u32>, BadCron> {
    let (least, most) = (*range.start(), *range.end());
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|at| u32::try_from(at).ok());
        let value = named.map_or_else(|| text.parse::<u32>().ok(), |at| at.checked_add(least));
        value.filter(|value| range.contains(value)).ok_or(BadCron("a value is out of its range"))
    };
    let mut found = Vec::new();
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => {
                (span, step.parse().ok().filter(|step| *step > 0).ok_or(BadCron("a step is a number"))?)
            }
            None => (part, 1),
        };
        let (from, to) = match span.split_once('-') {
            _ if matches!(span, "*" | "?") => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(span)?, most),
            None => (number(span)?, number(span)?),
        };
        if from > to {
            return Err(BadCron("a range ends before it begins"));
        }
        let step: usize = step;
        found.extend((from..=to).step_by(step));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-27T22:30:00Z, a Friday.
    const NOW: Timestamp = Timestamp::from_secs(1_795_818_600);

    fn next(cron: &str) -> String {
        match cron.parse::<Cron>() {
            Ok(cron) => cron.next_after(NOW).map_or_else(|| "never".to_owned(), |next| next.to_string()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_comes_next() {
        assert_eq!(NOW.to_string(), "2026-11-27T22:30:00.000Z");
        for (cron, expect) in [
            ("cron(* * * * ? *)", "2026-11-27T22:31:00.000Z"),
            ("cron(0 2 ? * SUN *)", "2026-11-29T02:00:00.000Z"),
            ("cron(0 2 ? * 6 *)", "2026-12-04T02:00:00.000Z"),
            ("cron(0 23 ? * fri *)", "2026-11-27T23:00:00.000Z"),
            ("cron(15 10 1 * ? *)", "2026-12-01T10:15:00.000Z"),
            ("cron(0/20 22 * * ? *)", "2026-11-27T22:40:00.000Z"),
            ("cron(0 8-10,20 ? JAN-MAR MON,TUE 2027)", "2027-01-04T08:00:00.000Z"),
            ("cron(0 0 29 2 ? *)", "2028-02-29T00:00:00.000Z"),
            ("0 0 31 12 ? 2026", "2026-12-31T00:00:00.000Z"),
            ("cron(0 0 1 1 ? 2020)", "never"),
            ("cron(0 0 30 2 ? *)", "there is no such day in these months"),
            ("cron(0 0 1 * 2 *)", "of day-of-month and day-of-week one is ?"),
            ("cron(60 0 * * ? *)", "a value is out of its range"),
            ("cron(0 0 L * ? *)", "a value is out of its range"),
            ("cron(0 0 * * ?)", "six fields are wanted: minute hour day-of-month month day-of-week year"),
            ("cron(0 5-2 * * ? *)", "a range ends before it begins"),
            ("cron(0/0 0 * * ? *)", "a step is a number"),
        ] {
            assert_eq!(next(cron), expect, "{cron}");
        }
    }

    #[test]
    fn windows_open_and_close() {
        let cron: Cron = "cron(0 22 ? * FRI *)".parse().expect("one");
        assert!(cron.within(31, NOW) && !cron.within(30, NOW));
        let midnight: Cron = "cron(30 23 ? * THU *)".parse().expect("one");
        assert!(midnight.within(1430, NOW) && !midnight.within(60, NOW));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,40}", cron in "cron\\([0-9*?,/A-Z-]{1,6}( [0-9*?,/A-Z-]{1,6}){5}\\)") {
            drop(text.parse::<Cron>());
            if let Ok(cron) = cron.parse::<Cron>() {
                prop_assert_eq!(cron.to_string().parse::<Cron>(), Ok(cron.clone()));
                if let Some(next) = cron.next_after(NOW) {
                    prop_assert!(next > NOW && cron.within(1, next));
                }
            }
        }
    }
}
