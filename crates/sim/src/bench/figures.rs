//! What a benchmark found: named numbers, as JSON for programs and as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Bench;
use super::stage::Used;

/// Metrics of one run, and the parameters that they hold for.
#[derive(Clone, Debug)]
pub struct Figures {
    bench: Bench,
    metrics: BTreeMap<String, f64>,
    parameters: BTreeMap<String, u64>,
}

impl Figures {
    pub fn new(bench: Bench) -> Self {
        Self { bench, metrics: BTreeMap::new(), parameters: BTreeMap::new() }
    }

    pub fn parameter(&mut self, name: &str, value: usize) {
        self.parameters.insert(name.to_owned(), u64::try_from(value).unwrap_or(u64::MAX));
    }

    pub fn set(&mut self, name: impl Into<String>, value: f64) {
        self.metrics.insert(name.into(), value);
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    /// Rate by the wall clock, rate by the server's CPU second, CPU seconds of the server and of the load, and memory of one
    /// measured stretch.
    /// `what` is the plural of what was counted, as in `acked`; prefix and suffix stand around each name.
    pub(crate) fn stretch(&mut self, (prefix, what, suffix): (&str, &str, &str), count: u64, used: &Used) {
        self.set(format!("{prefix}{what}_per_second{suffix}"), per_second(count, used.wall));
        self.set(format!("{prefix}{what}_per_server_cpu_second{suffix}"), per_second(count, used.cpu));
        self.set(format!("{prefix}{what}{suffix}"), whole(count));
        self.set(format!("{prefix}{what}_server_cpu_seconds{suffix}"), used.cpu.as_secs_f64());
        self.set(format!("{prefix}{what}_load_cpu_seconds{suffix}"), used.load.as_secs_f64());
        self.set(format!("{prefix}{what}_seconds{suffix}"), used.wall.as_secs_f64());
        self.set(format!("{prefix}{what}_server_rss_bytes{suffix}"), whole(used.memory.rss));
    }

    /// Median and 99th percentile in milliseconds.
    pub(crate) fn latency(&mut self, (prefix, suffix): (&str, &str), latency: &Latency) {
        self.set(format!("{prefix}p50_ms{suffix}"), latency.quantile_ms(0.50));
        self.set(format!("{prefix}p99_ms{suffix}"), latency.quantile_ms(0.99));
    }

    pub fn json(&self) -> Value {
        let metrics: BTreeMap<_, _> = self.metrics.iter().map(|(name, value)| (name, rounded(*value))).collect();
        json!({ "bench": self.bench.name(), "metrics": metrics, "parameters": self.parameters })
    }

    pub fn table(&self) -> String {
        let width = self.metrics.keys().chain(self.parameters.keys()).map(String::len).max().unwrap_or(0);
        let mut out = format!("{}\n", self.bench.name());
        for (name, value) in &self.parameters {
            writeln!(out, "  {name:<width$}  {value:>14}").expect("writing to a string cannot fail");
        }
        for (name, value) in &self.metrics {
            writeln!(out, "  {name:<width$}  {:>14}", rounded(*value).to_string())
                .expect("writing to a string cannot fail");
        }
        out
    }
}

/// Three significant decimals are enough, and a whole number has none.
fn rounded(value: f64) -> Value {
    let thousandths = (value * 1000.0).round() / 1000.0;
    if thousandths.fract() == 0.0 && thousandths.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        let integer = thousandths as i64;
        json!(integer)
    } else {
        json!(thousandths)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of a benchmark is far below 2^53")]
pub(crate) fn whole(count: u64) -> f64 {
    count as f64
}

pub(crate) fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { whole(count) / span.as_secs_f64() }
}

/// Times of single operations, from a microsecond to a minute at three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds and digits are within the crate's rules"))
    }

    pub(crate) fn record(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        whole(self.0.value_at_quantile(quantile)) / 1000.0
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_agreed_shape() {
        let mut figures = Figures::new(Bench::Idle);
        figures.set("server_rss_bytes_per_connection", 10_230.0);
        figures.set("share", 0.12345);
        figures.parameter("connections", 15_000);
        let expected = r#"{"bench":"idle","metrics":{"server_rss_bytes_per_connection":10230,"share":0.123},"parameters":{"connections":15000}}"#;
        assert_eq!(figures.json().to_string(), expected);
        assert!(figures.table().contains("10230"));
    }

    #[test]
    fn quantiles() {
        let mut all = Latency::new();
        for ms in 1..=100 {
            all.record(Duration::from_millis(ms));
        }
        let mut one = Latency::new();
        one.record(Duration::from_secs(3600));
        assert!((all.quantile_ms(0.5) - 50.0).abs() < 0.1, "{}", all.quantile_ms(0.5));
        all.merge(&one);
        assert_eq!(all.count(), 101);
        assert_eq!(per_second(10, Duration::ZERO).to_string(), "0");
    }
}
