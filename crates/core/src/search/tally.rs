//! What the values of a field are like, over the devices that a question meets.

use std::collections::BTreeMap;

use fleetward_base::limits;

use super::{Field, Subject};

/// More values than are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} different values", limits::SEARCH_VALUES)]
pub struct TooManyValues;

/// Values of one field, added up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    devices: u64,
    values: BTreeMap<String, u64>,
    numbers: Vec<f64>,
    other: bool,
}

/// What numbers are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    pub sum: f64,
    pub average: f64,
    pub minimum: f64,
    pub maximum: f64,
    pub sum_of_squares: f64,
    pub variance: f64,
    pub std_deviation: f64,
}

impl Tally {
    /// Adds a device, if it has a value.
    ///
    /// # Errors
    /// [`TooManyValues`].
    pub fn add(&mut self, field: &Field, subject: Subject<'_>) -> Result<(), TooManyValues> {
        let values = field.values(subject);
        self.devices += u64::from(!values.is_empty());
        for value in values {
            match value.parse::<f64>() {
                Ok(number) if number.is_finite() => self.numbers.push(number),
                _ => self.other = true,
            }
            *self.values.entry(value).or_default() += 1;
        }
        if self.values.len() > limits::SEARCH_VALUES { Err(TooManyValues) } else { Ok(()) }
    }

    /// Devices that have a value.
    pub fn count(&self) -> u64 {
        self.devices
    }

    /// How many different values there are.
    pub fn distinct(&self) -> usize {
        self.values.len()
    }

    /// The values that most devices have, with how many that are.
    pub fn most(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.values.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        // In their own order where as many have them.
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(limit);
        all
    }

    /// `None` where there is none, or one that is no number.
    #[expect(clippy::cast_precision_loss, reason = "a count of devices is far below what a float tells apart")]
    pub fn numbers(&self) -> Option<Numbers> {
        if self.other || self.numbers.is_empty() {
            return None;
        }
        let count = self.numbers.len() as f64;
        let sum: f64 = self.numbers.iter().sum();
        let average = sum / count;
        let variance = self.numbers.iter().map(|number| (number - average).powi(2)).sum::<f64>() / count;
        Some(Numbers {
            sum,
            average,
            minimum: self.numbers.iter().copied().fold(f64::INFINITY, f64::min),
            maximum: self.numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            sum_of_squares: self.numbers.iter().map(|number| number * number).sum(),
            variance,
            std_deviation: variance.sqrt(),
        })
    }

    /// For each of these percents, the least number that is not below so many of all; nothing where they are no numbers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank is between 1 and the count"
    )]
    pub fn percentiles(&self, percents: &[f64]) -> Vec<(f64, f64)> {
        if self.other {
            return Vec::new();
        }
        let mut numbers = self.numbers.clone();
        numbers.sort_by(f64::total_cmp);
        let at = |percent: f64| {
            let rank = (percent.clamp(0.0, 100.0) / 100.0 * numbers.len() as f64).ceil() as usize;
            numbers.get(rank.saturating_sub(1)).map(|number| (percent, *number))
        };
        percents.iter().filter_map(|percent| at(*percent)).collect()
    }
}

#[cfg(test)]
mod tests {
    use fleetward_base::Timestamp;

    use super::*;
    use crate::registry::{Device, Scalar};

    fn tally(values: &[Scalar]) -> Tally {
        let (field, mut tally) = (Field::named("attributes.x").expect("a field"), Tally::default());
        for value in values {
            let mut device = Device::new("gw-1".parse().expect("a name"), Timestamp::EPOCH);
            device.attributes.insert("x".to_owned(), value.clone());
            tally.add(&field, Subject { device: &device, online: false }).expect("few");
        }
        let without = Device::new("gw-2".parse().expect("a name"), Timestamp::EPOCH);
        tally.add(&field, Subject { device: &without, online: false }).expect("few");
        tally
    }

    fn texts(values: &[&str]) -> Vec<Scalar> {
        values.iter().map(|text| Scalar::Text((*text).to_owned())).collect()
    }

    #[test]
    fn numbers_are_added_up_and_ranked() {
        let tally = tally(&texts(&["4", "1", "2", "3", "10"]));
        let numbers = tally.numbers().expect("numbers");
        assert_eq!((tally.count(), tally.distinct()), (5, 5));
        assert_eq!((numbers.sum, numbers.average, numbers.minimum, numbers.maximum), (20.0, 4.0, 1.0, 10.0));
        assert_eq!((numbers.sum_of_squares, numbers.variance), (130.0, 10.0));
        let ranks = tally.percentiles(&[0.0, 20.0, 50.0, 99.0, 100.0, 700.0]);
        assert_eq!(ranks.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1.0, 1.0, 3.0, 10.0, 10.0, 10.0]);
    }

    #[test]
    fn texts_are_counted() {
        let tally = tally(&texts(&["b", "a", "b", "c", "7"]));
        assert_eq!(tally.most(2), [("b", 2), ("7", 1)]);
        assert_eq!((tally.count(), tally.distinct(), tally.numbers()), (5, 4, None));
        assert!(tally.percentiles(&[50.0]).is_empty());
        assert_eq!(Tally::default().numbers(), None);
    }
}
