//! `GET /v1/tenants/{tenant}/device-statistics`

use axum::Json;
use axum::extract::State;
use fleetward_app::search::tally_devices;
use fleetward_core::search::{Field, Query as Question};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Query;
use crate::problem::Problem;

const PERCENTS: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The question; every device where it is absent
    q: Option<String>,
    /// Of which field, as a question has it; the name where it is absent
    field: Option<String>,
    /// How many of the values that most devices have; 10 where it is absent, 1000 at most
    values: Option<usize>,
}

/// A value, and how many devices have it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValueCount)]
struct ValueView {
    value: String,
    count: u64,
}

/// The least number that is not below so many percent of all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Percentile)]
struct PercentileView {
    percent: f64,
    value: f64,
}

/// What numbers are like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Numbers)]
struct NumbersView {
    sum: f64,
    average: f64,
    minimum: f64,
    maximum: f64,
    variance: f64,
    std_deviation: f64,
    percentiles: Vec<PercentileView>,
}

/// What the values of a field are like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceStatistics)]
pub(super) struct View {
    /// Devices that have a value.
    count: u64,
    /// How many different values there are.
    distinct: usize,
    /// Those that most devices have.
    values: Vec<ValueView>,
    /// Absent where one is no number.
    numbers: Option<NumbersView>,
}

/// Add up the values of a field over devices
///
/// All devices that the question meets are looked at, so it takes as long as that.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-statistics",
    operation_id = "device_statistics",
    tag = "devices",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Query(filter): Query<Filter>,
) -> Result<Json<View>, Problem> {
    let question = Question::parse(filter.q.as_deref().unwrap_or("*"));
    let question = question.map_err(|error| Problem::invalid("q", error.to_string()))?;
    let field = Field::named(filter.field.as_deref().unwrap_or("name"));
    let field = field.ok_or_else(|| Problem::invalid("field", "not a field of a question"))?;
    let tally = tally_devices(door.app(), &caller.ctx, &caller.tenant, (&question, &field)).await?;
    let most = tally.most(filter.values.unwrap_or(10).min(1000));
    let percentile = |(percent, value)| PercentileView { percent, value };
    let numbers = tally.numbers().map(|numbers| NumbersView {
        sum: numbers.sum,
        average: numbers.average,
        minimum: numbers.minimum,
        maximum: numbers.maximum,
        variance: numbers.variance,
        std_deviation: numbers.std_deviation,
        percentiles: tally.percentiles(&PERCENTS).into_iter().map(percentile).collect(),
    });
    Ok(Json(View {
        count: tally.count(),
        distinct: tally.distinct(),
        values: most.into_iter().map(|(value, count)| ValueView { value: value.to_owned(), count }).collect(),
        numbers,
    }))
}
