//! How a job goes, in AWS's shapes and ours.

use fleetward_core::job::{Abort, AtEnd, Exponential, Failure, Hundredths, Increase, Rate, Retry, Schedule, Window};
use fleetward_wire::aws::time::parse_moment;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::Refusal;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RolloutConfig {
    maximum_per_minute: Option<u32>,
    exponential_rate: Option<ExponentialRate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExponentialRate {
    base_rate_per_minute: u32,
    increment_factor: f64,
    rate_increase_criteria: IncreaseCriteria,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncreaseCriteria {
    number_of_notified_things: Option<u32>,
    number_of_succeeded_things: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AbortConfig {
    criteria_list: Vec<AbortCriteria>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AbortCriteria {
    failure_type: String,
    action: String,
    threshold_percentage: f64,
    min_number_of_executed_things: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TimeoutConfig {
    pub(super) in_progress_timeout_in_minutes: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryConfig {
    criteria_list: Vec<RetryCriteria>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetryCriteria {
    failure_type: String,
    number_of_retries: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SchedulingConfig {
    start_time: Option<String>,
    end_time: Option<String>,
    end_behavior: Option<String>,
    maintenance_windows: Vec<MaintenanceWindow>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MaintenanceWindow {
    start_time: String,
    duration_in_minutes: u32,
}

pub(super) fn bad(field: &str) -> Refusal {
    Refusal::invalid(format!("{field} is not a value that can be"))
}

impl RolloutConfig {
    pub(super) fn rate(self) -> Result<Rate, Refusal> {
        let exponential = self.exponential_rate.map(|rate| {
            let criteria = rate.rate_increase_criteria;
            let increase_after = match (criteria.number_of_notified_things, criteria.number_of_succeeded_things) {
                (Some(number), None) => Increase::Notified(number),
                (None, Some(number)) => Increase::Succeeded(number),
                _ => return Err(bad("rateIncreaseCriteria")),
            };
            let increment_factor = Hundredths::try_from(rate.increment_factor).map_err(|_| bad("incrementFactor"))?;
            Ok(Exponential { base_per_minute: rate.base_rate_per_minute, increment_factor, increase_after })
        });
        Ok(Rate { maximum_per_minute: self.maximum_per_minute, exponential: exponential.transpose()? })
    }
}

impl AbortConfig {
    pub(super) fn list(self) -> Result<Vec<Abort>, Refusal> {
        let one = |criteria: AbortCriteria| {
            if criteria.action != "CANCEL" {
                return Err(bad("action"));
            }
            Ok(Abort {
                failure: failure(&criteria.failure_type)?,
                threshold_percent: Hundredths::try_from(criteria.threshold_percentage)
                    .map_err(|_| bad("thresholdPercentage"))?,
                minimum_executed: criteria.min_number_of_executed_things,
            })
        };
        self.criteria_list.into_iter().map(one).collect()
    }
}

impl RetryConfig {
    pub(super) fn list(self) -> Result<Vec<Retry>, Refusal> {
        let one = |criteria: RetryCriteria| {
            Ok(Retry { failure: failure(&criteria.failure_type)?, retries: criteria.number_of_retries })
        };
        self.criteria_list.into_iter().map(one).collect()
    }
}

impl SchedulingConfig {
    pub(super) fn schedule(self) -> Result<Schedule, Refusal> {
        let moment = |text: Option<String>, field: &str| {
            text.map(|text| parse_moment(&text).ok_or_else(|| bad(field))).transpose()
        };
        let (start_at, end_at) = (moment(self.start_time, "startTime")?, moment(self.end_time, "endTime")?);
        let at_end = self.end_behavior.map(|text| word::<AtEnd>(&text, "endBehavior")).transpose()?;
        let window = |window: MaintenanceWindow| {
            let start = window.start_time.parse().map_err(|_| bad("maintenanceWindows.startTime"))?;
            Ok(Window { start, duration_minutes: window.duration_in_minutes })
        };
        let windows = self.maintenance_windows.into_iter().map(window).collect::<Result<_, Refusal>>()?;
        Ok(Schedule { start_at, end_at, at_end, windows })
    }
}

pub(super) fn failure(text: &str) -> Result<Failure, Refusal> {
    word(text, "failureType")
}

/// AWS writes in capitals what we write small.
pub(in crate::operations) fn word<T: std::str::FromStr>(text: &str, field: &str) -> Result<T, Refusal> {
    text.to_ascii_lowercase().parse().map_err(|_| bad(field))
}

pub(super) fn list(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| json!({ "criteriaList": items }))
}

pub(super) fn rate(rate: &Rate) -> Value {
    let mut view = Map::new();
    view.extend(rate.maximum_per_minute.map(|number| ("maximumPerMinute".to_owned(), json!(number))));
    if let Some(exponential) = &rate.exponential {
        let criteria = match exponential.increase_after {
            Increase::Notified(number) => json!({ "numberOfNotifiedThings": number }),
            Increase::Succeeded(number) => json!({ "numberOfSucceededThings": number }),
        };
        let exponential = json!({
            "baseRatePerMinute": exponential.base_per_minute,
            "incrementFactor": f64::from(exponential.increment_factor),
            "rateIncreaseCriteria": criteria,
        });
        view.insert("exponentialRate".to_owned(), exponential);
    }
    Value::Object(view)
}

pub(super) fn abort(abort: &Abort) -> Value {
    json!({
        "failureType": abort.failure.as_str().to_ascii_uppercase(),
        "action": "CANCEL",
        "thresholdPercentage": f64::from(abort.threshold_percent),
        "minNumberOfExecutedThings": abort.minimum_executed,
    })
}

pub(super) fn retry(retry: &Retry) -> Value {
    json!({ "failureType": retry.failure.as_str().to_ascii_uppercase(), "numberOfRetries": retry.retries })
}

pub(super) fn schedule(schedule: &Schedule) -> Value {
    let windows: Vec<Value> = schedule
        .windows
        .iter()
        .map(|window| json!({ "startTime": window.start.to_string(), "durationInMinutes": window.duration_minutes }))
        .collect();
    let mut view = json!({ "maintenanceWindows": windows });
    if let Some(fields) = view.as_object_mut() {
        fields.extend(schedule.at_end.map(|end| ("endBehavior".to_owned(), json!(end.as_str().to_ascii_uppercase()))));
        fields.extend(schedule.start_at.map(|at| ("startTime".to_owned(), json!(at.to_string()))));
        fields.extend(schedule.end_at.map(|at| ("endTime".to_owned(), json!(at.to_string()))));
    }
    view
}
