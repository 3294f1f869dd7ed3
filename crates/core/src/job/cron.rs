//! When something comes again: AWS's form of a cron expression, in UTC.
//!
//! `cron(minute hour day-of-month month day-of-week year)`. A field is `*`, `?`, numbers, names (`JAN`, `MON`), lists,
//! ranges and steps; days of the week count from 1, Sunday. Days also have names by their place:
//!
//! - of the month: `L` is the last, `L-3` the third before it, `15W` the weekday (Monday to Friday) nearest to the 15th and
//!   within its month, `LW` the last weekday;
//! - of the week: `6L` is the last Friday of the month, `6#3` its third, and `L` alone is Saturday.
//!
//! A text in which no day can ever be meant is refused. Of the days one field must be `?` or `*`, as with AWS.

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
    days: Days,
    months: u64,
    weekdays: Weekdays,
    years: [u64; 4],
}

/// Days of a month. A bit for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Days {
    plain: u64,
    /// So many days before the last.
    before_last: u64,
    /// The weekday nearest to it.
    near: u64,
    last_weekday: bool,
}

/// Days of the week. A bit for each, of which 1 is Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Weekdays {
    plain: u64,
    /// The last such day of the month.
    last: u64,
    /// The first, second.. such day of the month.
    nth: [u64; 5],
}

const FIRST_YEAR: u32 = 1970;
const LAST_YEAR: u32 = 2199;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// The longest that two matching days can lie apart: 29 February around a year like 2100.
const DAYS_LOOKED_AT: i64 = 366 * 9;
/// The same where a fifth weekday is meant: February has one of a kind every 28 years, and around a year like 2100 after 40.
const DAYS_TO_A_FIFTH: i64 = 366 * 41;
const SATURDAY: u32 = 7;
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
            days: Days::parse(day)?,
            months: bits(month, 1..=12, &MONTHS)?,
            weekdays: Weekdays::parse(weekday)?,
            years,
        };
        let longest = (1..=12).filter(|month| cron.months >> month & 1 == 1).map(days_at_most).max().unwrap_or(0);
        if !cron.days.are_in_a_month_of(longest) {
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
        let [.., fifth] = self.weekdays.nth;
        let looked_at = if fifth == 0 { DAYS_LOOKED_AT } else { DAYS_TO_A_FIFTH };
        for day in day..day.saturating_add(looked_at) {
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
        let (year, month, of_month) = civil(day);
        let date = Date { of_month, weekday: weekday_of(day), in_month: days_in(year, month) };
        let year = year - i64::from(FIRST_YEAR);
        self.months >> month & 1 == 1
            && self.days.mean(date)
            && self.weekdays.mean(date)
            && u32::try_from(year).is_ok_and(|year| is_set(&self.years, year))
    }
}

/// A day as the two fields of days see it.
#[derive(Clone, Copy)]
struct Date {
    of_month: u32,
    /// 1 is Sunday.
    weekday: u32,
    in_month: u32,
}

impl Date {
    /// Another day of the same month; none beyond it.
    fn other(self, of_month: u32) -> Option<Self> {
        let inside = (1..=self.in_month).contains(&of_month);
        let apart = (i64::from(of_month) - i64::from(self.of_month)).rem_euclid(7);
        let weekday = (u32::try_from(apart).ok()? + self.weekday - 1) % 7 + 1;
        inside.then_some(Self { of_month, weekday, ..self })
    }

    const fn is_working(self) -> bool {
        !matches!(self.weekday, 1 | SATURDAY)
    }

    /// The weekday nearest to a day of its month, within the month.
    fn nearest(self, of_month: u32) -> Option<Self> {
        let day = self.other(of_month)?;
        let aside: [i64; 2] = if day.weekday == SATURDAY { [-1, 2] } else { [1, -2] };
        if day.is_working() {
            return Some(day);
        }
        aside.into_iter().find_map(|aside| self.other(u32::try_from(i64::from(of_month) + aside).ok()?))
    }
}

impl Days {
    fn parse(field: &str) -> Result<Self, BadCron> {
        let mut days = Self::default();
        for part in field.split(',') {
            let upper = part.to_ascii_uppercase();
            if upper == "L" {
                days.before_last |= 1;
            } else if upper == "LW" {
                days.last_weekday = true;
            } else if let Some(before) = upper.strip_prefix("L-") {
                days.before_last |= 1 << whole(before, 1..=30)?;
            } else if let Some(day) = upper.strip_suffix('W') {
                days.near |= 1 << whole(day, 1..=31)?;
            } else {
                days.plain |= values(part, 1..=31, &[])?.into_iter().fold(0, |bits, value| bits | 1 << value);
            }
        }
        Ok(days)
    }

    fn mean(self, date: Date) -> bool {
        let Date { of_month, in_month, .. } = date;
        let at = |bits: u64, value: u32| bits >> value & 1 == 1;
        // A weekday is never further than two days from what it is nearest to.
        let near = |day: u32| at(self.near, day) && date.nearest(day).is_some_and(|near| near.of_month == of_month);
        let last = || (1..=in_month).rev().filter_map(|day| date.other(day)).find(|day| day.is_working());
        at(self.plain, of_month)
            || at(self.before_last, in_month.saturating_sub(of_month))
            || (self.near != 0 && (of_month.saturating_sub(2)..=of_month + 2).any(near))
            || (self.last_weekday && last().is_some_and(|last| last.of_month == of_month))
    }

    fn are_in_a_month_of(self, days: u32) -> bool {
        self.last_weekday
            || self.plain.trailing_zeros() <= days
            || self.near.trailing_zeros() <= days
            || self.before_last.trailing_zeros() < days
    }
}

impl Weekdays {
    fn parse(field: &str) -> Result<Self, BadCron> {
        let mut days = Self::default();
        for part in field.split(',') {
            let upper = part.to_ascii_uppercase();
            if upper == "L" {
                days.plain |= 1 << SATURDAY;
            } else if let Some((day, nth)) = upper.split_once('#') {
                let nth = usize::try_from(whole(nth, 1..=5)?).unwrap_or(usize::MAX);
                let bits = days.nth.get_mut(nth.saturating_sub(1)).ok_or(OUT_OF_RANGE)?;
                *bits |= 1 << weekday(day)?;
            } else if let Some(day) = upper.strip_suffix('L').filter(|day| !day.is_empty()) {
                days.last |= 1 << weekday(day)?;
            } else {
                days.plain |= values(part, 1..=7, &WEEKDAYS)?.into_iter().fold(0, |bits, value| bits | 1 << value);
            }
        }
        Ok(days)
    }

    fn mean(self, Date { of_month, weekday, in_month }: Date) -> bool {
        let at = |bits: u64| bits >> weekday & 1 == 1;
        let nth = usize::try_from(of_month.saturating_sub(1) / 7).ok().and_then(|nth| self.nth.get(nth));
        at(self.plain) || (at(self.last) && of_month + 7 > in_month) || nth.is_some_and(|bits| at(*bits))
    }
}

const OUT_OF_RANGE: BadCron = BadCron("a value is out of its range");

fn whole(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, BadCron> {
    text.parse().ok().filter(|value| range.contains(value)).ok_or(OUT_OF_RANGE)
}

/// One day of the week, by number or name.
fn weekday(text: &str) -> Result<u32, BadCron> {
    match values(text, 1..=7, &WEEKDAYS)?.as_slice() {
        [day] => Ok(*day),
        _ => Err(OUT_OF_RANGE),
    }
}

/// Year, month and day of a day since 1970.
fn civil(day: i64) -> (i64, u32, u32) {
    let (year, month, of_month) = Timestamp::from_millis(day.saturating_mul(DAY_MS)).civil_day();
    let small = |value: i64| u32::try_from(value).unwrap_or(0);
    (year, small(month), small(of_month))
}

/// 1970-01-01 was a Thursday, the fifth.
fn weekday_of(day: i64) -> u32 {
    u32::try_from((day + 4).rem_euclid(7) + 1).unwrap_or(1)
}

const fn days_in(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if month == 2 && !leap { 28 } else { days_at_most(month) }
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
        value.filter(|value| range.contains(value)).ok_or(OUT_OF_RANGE)
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
            // The last day, the third before it, the last working day; November 2026 ends on a Monday.
            ("cron(0 0 L * ? *)", "2026-11-30T00:00:00.000Z"),
            ("cron(0 0 L-3 * ? *)", "2026-12-28T00:00:00.000Z"),
            ("cron(0 0 LW 1 ? *)", "2027-01-29T00:00:00.000Z"),
            ("cron(0 0 L 2 ? *)", "2027-02-28T00:00:00.000Z"),
            ("cron(0 0 l-2,1 12 ? *)", "2026-12-01T00:00:00.000Z"),
            // The 5th of December 2026 is a Saturday, the 6th a Sunday; 1 August 2027 is a Sunday, 1 May a Saturday, 31 October a Sunday.
            ("cron(0 0 5W 12 ? *)", "2026-12-04T00:00:00.000Z"),
            ("cron(0 0 6W 12 ? *)", "2026-12-07T00:00:00.000Z"),
            ("cron(0 0 8w 12 ? *)", "2026-12-08T00:00:00.000Z"),
            ("cron(0 0 1W 8 ? *)", "2027-08-02T00:00:00.000Z"),
            ("cron(0 0 1W 5 ? *)", "2027-05-03T00:00:00.000Z"),
            ("cron(0 0 31W 10 ? *)", "2027-10-29T00:00:00.000Z"),
            // The last Friday, the third Tuesday, a fifth Monday, Saturday.
            ("cron(0 2 ? * 6L *)", "2026-12-25T02:00:00.000Z"),
            ("cron(0 23 ? * FRIL *)", "2026-11-27T23:00:00.000Z"),
            ("cron(0 0 ? * 3#3 *)", "2026-12-15T00:00:00.000Z"),
            ("cron(0 0 ? * tue#1,THU#2 *)", "2026-12-01T00:00:00.000Z"),
            ("cron(0 0 ? * 2#5 *)", "2026-11-30T00:00:00.000Z"),
            ("cron(0 0 ? 2 6#5 *)", "2036-02-29T00:00:00.000Z"),
            ("cron(0 0 ? * L *)", "2026-11-28T00:00:00.000Z"),
            ("cron(0 0 31W 2,4 ? *)", "there is no such day in these months"),
            ("cron(0 0 L-30 4 ? *)", "there is no such day in these months"),
            ("cron(0 0 L-31 * ? *)", "a value is out of its range"),
            ("cron(0 0 0W * ? *)", "a value is out of its range"),
            ("cron(0 0 W * ? *)", "a value is out of its range"),
            ("cron(0 0 1-5W * ? *)", "a value is out of its range"),
            ("cron(0 0 ? * 6#6 *)", "a value is out of its range"),
            ("cron(0 0 ? * 2-3#1 *)", "a value is out of its range"),
            ("cron(0 0 ? * 8L *)", "a value is out of its range"),
            ("cron(L 0 ? * 2 *)", "a value is out of its range"),
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

    /// Whether a day is meant, as the words of the form define it: by counting through its month.
    fn defined(field: &str, of_week: bool, day: i64) -> bool {
        let (year, month, of_month) = civil(day);
        let of_this: Vec<i64> = (day - 31..=day + 31)
            .filter(|other| {
                let (y, m, _) = civil(*other);
                (y, m) == (year, month)
            })
            .collect();
        let working = |day: &i64| !matches!(weekday_of(*day), 1 | 7);
        let alike: Vec<i64> = of_this.iter().copied().filter(|other| weekday_of(*other) == weekday_of(day)).collect();
        match (field.split_once('#'), of_week) {
            (Some((weekday, nth)), _) => {
                weekday_of(day).to_string() == weekday && alike.get(nth.parse::<usize>().unwrap() - 1) == Some(&day)
            }
            (None, true) if field == "L" => weekday_of(day) == 7,
            (None, true) => field.strip_suffix('L') == Some(&weekday_of(day).to_string()) && alike.last() == Some(&day),
            (None, false) if field == "L" => of_this.last() == Some(&day),
            (None, false) if field == "LW" => of_this.iter().rev().find(|day| working(day)) == Some(&day),
            (None, false) if field.starts_with("L-") => {
                of_this.iter().rev().nth(field[2..].parse().unwrap()) == Some(&day)
            }
            (None, false) => {
                let near: u32 = field.strip_suffix('W').unwrap().parse().unwrap();
                let Some(meant) = of_this.get(near as usize - 1) else { return false };
                // Of two that are equally far there is none: Saturday and Sunday each have one neighbour at work.
                let nearest = of_this.iter().filter(|day| working(day)).min_by_key(|day| (*day - meant).abs());
                working(&day) && nearest == Some(&day) && of_month > 0
            }
        }
    }

    proptest! {
        #[test]
        fn places_of_days_are_as_they_are_defined(
            at in 0_i64..60_000,
            (field, of_week) in prop_oneof![
                (Just("L".to_owned()), Just(false)), (Just("LW".to_owned()), Just(false)), (Just("L".to_owned()), Just(true)),
                ((1..=30_u32).prop_map(|before| format!("L-{before}")), Just(false)),
                ((1..=31_u32).prop_map(|day| format!("{day}W")), Just(false)),
                ((1..=7_u32).prop_map(|day| format!("{day}L")), Just(true)),
                ((1..=7_u32, 1..=5_u32).prop_map(|(day, nth)| format!("{day}#{nth}")), Just(true)),
            ],
        ) {
            let cron = if of_week { format!("cron(30 4 ? * {field} *)") } else { format!("cron(30 4 {field} * ? *)") };
            let cron: Cron = cron.parse().expect("one");
            let after = Timestamp::from_millis(at * DAY_MS);
            let next = cron.next_after(after).expect("one");
            prop_assert!(next > after && cron.within(1, next));
            let day = next.millis() / DAY_MS;
            prop_assert_eq!(next.millis() % DAY_MS, (4 * 60 + 30) * MINUTE_MS);
            prop_assert!(defined(&field, of_week, day), "{cron} {next}");
            for between in at..day {
                prop_assert!(!defined(&field, of_week, between), "{cron} left out {}", Timestamp::from_millis(between * DAY_MS));
            }
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,40}", cron in "cron\\([0-9*?,/A-Z#-]{1,6}( [0-9*?,/A-Z#-]{1,6}){5}\\)") {
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
