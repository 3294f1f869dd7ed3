//! One request of an operation: its names, its parameters, its body, and where a page goes on.
//!
//! AWS's services ignore what they do not know in a request, and so do these.

use fleetward_app::{App, Ctx};
use fleetward_base::{DeviceId, TenantId};
use fleetward_front_rest::Door;
use fleetward_front_rest::page::Scope;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::answer::{Answer, Refusal};
use crate::gate::Entered;
use crate::names::Names;
use crate::operations::Operation;

/// A request on its way to its use case.
pub struct Call<'a> {
    door: &'a Door,
    pub(crate) ctx: Ctx,
    pub(crate) tenant: TenantId,
    pub(crate) names: Names,
    operation: &'static Operation,
    path: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    parts: Parts,
    raw: bytes::Bytes,
}

/// So many rows, after this key.
pub(crate) struct Paging {
    pub(crate) rows: u32,
    pub(crate) after: Option<String>,
    scope: String,
}

impl Paging {
    /// One more than the page holds tells whether there is another one.
    pub(crate) fn rows_and_one(&self) -> u32 {
        self.rows.saturating_add(1)
    }
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        door: &'a Door,
        operation: &'static Operation,
        path: Vec<(&'static str, String)>,
        entered: Entered,
    ) -> Result<Self, Refusal> {
        let Entered { ctx, tenant, region, parts, body, .. } = entered;
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let names = Names::new(&tenant, &region);
        Ok(Self { door, ctx, tenant, names, operation, path, query, parts, raw: body })
    }

    pub(crate) fn app(&self) -> &App {
        self.door.app()
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The body, where it is a message.
    pub(crate) fn payload(&self) -> bytes::Bytes {
        self.raw.clone()
    }

    /// A part of the path. Each operation asks for its own only.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The thing that the path names. A name that cannot be one is of nothing.
    pub(crate) fn thing(&self) -> Result<DeviceId, Refusal> {
        thing(self.path("thingName"))
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.query(name).map(|text| text.parse().map_err(|_| not_a(name, "true or false"))).transpose()
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.query(name).map(|text| text.parse().map_err(|_| not_a(name, "a number"))).transpose()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body; none at all says the same as an object without fields.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let bytes: &[u8] = if self.raw.is_empty() { b"{}" } else { &self.raw };
        // A list would be read as the fields of an object in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::invalid("The body must be a JSON object"));
        }
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        // The sentence of the error would repeat what was sent.
        value.map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            Refusal::new(
                http::StatusCode::BAD_REQUEST,
                "InvalidRequestException",
                format!("The body cannot be read: {} at {at}", category(&error)),
            )
        })
    }

    /// What page is asked for, by the parameters of this operation.
    pub(crate) fn paging(&self, rows: &str, token: &str, most: u32) -> Result<Paging, Refusal> {
        let asked = self.number(rows)?;
        self.paging_of(asked, self.query(token), (rows, token), most)
    }

    /// The same, where the body asks.
    pub(crate) fn paging_of(
        &self,
        asked: Option<u64>,
        token: Option<&str>,
        names: (&str, &str),
        most: u32,
    ) -> Result<Paging, Refusal> {
        let rows = match asked {
            None => most.min(25),
            Some(0) => return Err(not_a(names.0, "at least 1")),
            Some(rows) => u32::try_from(rows).unwrap_or(most).min(most),
        };
        let mut filter: Vec<_> =
            self.query.iter().filter(|(name, _)| name != names.0 && name != names.1).cloned().collect();
        filter.extend(self.path.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        filter.extend(self.header(PRINCIPAL).map(|value| (PRINCIPAL.to_owned(), value.to_owned())));
        filter.sort();
        let scope = filter.into_iter().fold(String::new(), |text, (name, value)| format!("{text}{name}={value}\n"));
        let after = token.map(|token| {
            let scope = Scope { route: self.operation.name, tenant: self.tenant.as_str(), filter: &scope };
            self.door.cursors().open(&scope, token).map_err(|_| not_a(names.1, "what the page before gave"))
        });
        Ok(Paging { rows, after: after.transpose()?, scope })
    }

    /// Where a token goes on that a listing with this question in its body gave.
    pub(crate) fn place_in(&self, question: &str, token: &str) -> Result<String, Refusal> {
        let scope = Scope { route: self.operation.name, tenant: self.tenant.as_str(), filter: question };
        self.door.cursors().open(&scope, token).map_err(|_| not_a("nextToken", "what the page before gave"))
    }

    /// The token with which it goes on after `last`.
    pub(crate) fn token_after(&self, question: &str, last: &str) -> String {
        let scope = Scope { route: self.operation.name, tenant: self.tenant.as_str(), filter: question };
        self.door.cursors().seal(&scope, last)
    }

    /// The answer of a listing: `found` has one row more than the page where there is another page.
    pub(crate) fn page<R>(
        &self,
        paging: &Paging,
        (list, token): (&str, &str),
        mut found: Vec<R>,
        key: impl Fn(&R) -> String,
        view: impl FnMut(R) -> Value,
    ) -> Answer {
        let rows = usize::try_from(paging.rows).unwrap_or(usize::MAX);
        let more = found.len() > rows;
        found.truncate(rows);
        let last = found.last().filter(|_| more).map(key);
        let items = found.into_iter().map(view).collect();
        self.listing(paging, (list, token), items, last.as_deref())
    }

    /// The same, where it is known from where it goes on.
    pub(crate) fn listing(
        &self,
        paging: &Paging,
        (list, token): (&str, &str),
        items: Vec<Value>,
        next: Option<&str>,
    ) -> Answer {
        let mut body = Map::new();
        body.insert(list.to_owned(), Value::Array(items));
        if let Some(next) = next {
            let scope = Scope { route: self.operation.name, tenant: self.tenant.as_str(), filter: &paging.scope };
            body.insert(token.to_owned(), Value::String(self.door.cursors().seal(&scope, next)));
        }
        Answer::Json(Value::Object(body))
    }
}

/// The header field in which a certificate is named.
pub(crate) const PRINCIPAL: &str = "x-amzn-principal";

pub(crate) fn thing(name: &str) -> Result<DeviceId, Refusal> {
    name.parse().map_err(|error: fleetward_base::BadId| Refusal::invalid(format!("thingName must be {}", error.rule)))
}

fn not_a(name: &str, what: &str) -> Refusal {
    Refusal::invalid(format!("{name} must be {what}"))
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a value of another kind than is meant, or one that is missing,",
        serde_json::error::Category::Eof => "JSON ends early",
        _ => "no JSON",
    }
}
