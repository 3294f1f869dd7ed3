//! Moments as AWS's clients write them: `2026-11-28T18:30:00Z`, `2026-11-28 18:30`, in UTC where they do not say otherwise.

use std::str::FromStr;

use fleetward_base::Timestamp;

/// Reads a date and a time of day, with or without seconds and an offset. `None` where it is none.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.trim().split_once(['T', ' '])?;
    let [year, month, day]: [i64; 3] = numbers(date, '-', &[4, 2, 2])?.try_into().ok()?;
    let (time, offset_minutes) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => match time.rfind(['+', '-']) {
            Some(at) => (time.get(..at)?, offset(time.get(at..)?)?),
            None => (time, 0),
        },
    };
    // Parts of a second say nothing of a schedule.
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts = numbers(time, ':', &[2, 2, 2]).or_else(|| numbers(time, ':', &[2, 2]))?;
    let (hour, minute) = (*parts.first()?, *parts.get(1)?);
    let second = parts.get(2).copied().unwrap_or(0);
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some(Timestamp::from_secs(days * 86_400 + hour * 3600 + (minute - offset_minutes) * 60 + second))
}

fn numbers(text: &str, between: char, digits: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(between).collect();
    let fits = parts.len() == digits.len()
        && parts.iter().zip(digits).all(|(part, len)| part.len() == *len && part.bytes().all(|b| b.is_ascii_digit()));
    if !fits {
        return None;
    }
    parts.into_iter().map(|part| i64::from_str(part).ok()).collect()
}

/// `+02:00` in minutes.
fn offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let [hours, minutes]: [i64; 2] = numbers(text.get(1..)?, ':', &[2, 2])?.try_into().ok()?;
    (hours <= 14 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// Days since 1970-01-01 of a day of the Gregorian calendar, counting years from March.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let most = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=most).contains(&day) {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_clients_write_them() {
        let moment = Some(Timestamp::from_secs(1_795_890_600));
        for text in [
            "2026-11-28T18:30:00Z",
            "2026-11-28T18:30:00.000Z",
            "2026-11-28T18:30",
            "2026-11-28 18:30",
            "2026-11-28T20:30:00+02:00",
            "2026-11-28T13:30-05:00",
        ] {
            assert_eq!(parse_moment(text), moment, "{text}");
        }
        for bad in [
            "",
            "2026-11-28",
            "2026-02-29T10:00",
            "2026-13-01T10:00",
            "2026-11-28T24:00",
            "2026-11-28T10",
            "26-11-28T10:00",
            "2026-11-28T10:00+2:00",
            "2026-11-28T10:00:00.Z",
            "2026-11-28T10:00:00ZZ",
            "+026-11-28T10:00",
        ] {
            assert_eq!(parse_moment(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(secs in 0..253_402_300_799_i64) {
            let moment = Timestamp::from_secs(secs);
            prop_assert_eq!(parse_moment(&moment.to_string()), Some(moment));
        }

        #[test]
        fn anything_can_be_asked_for(text: String) {
            parse_moment(&text);
        }
    }
}
