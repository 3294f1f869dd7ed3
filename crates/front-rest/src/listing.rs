//! The query of a listing: its filter, `limit` and `cursor`.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::response::Response;
use fleetward_base::TenantId;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::door::Door;
use crate::page::{Page, Scope, rows};
use crate::problem::Problem;

/// What a caller wants to see. Unknown parameters are refused, or a misspelt filter would show everything.
#[derive(Debug)]
pub struct Listing<F> {
    pub filter: F,
    rows: u32,
    cursor: Option<String>,
    /// The filter in one fixed spelling: sorted, re-encoded.
    spelling: String,
    path: String,
}

impl<F: DeserializeOwned, S: Sync> FromRequestParts<S> for Listing<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.path(), parts.uri.query().unwrap_or_default())
    }
}

/// The parameters of what is no listing. Unknown ones are refused.
#[derive(Debug)]
pub struct Query<F>(pub F);

impl<F: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<F: DeserializeOwned> Listing<F> {
    fn parse(path: &str, query: &str) -> Result<Self, Problem> {
        let unreadable = |_| Problem::malformed("the query cannot be read");
        let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(unreadable)?;
        let limit = take(&mut pairs, "limit")?
            .map(|text| text.parse::<u32>().map_err(|_| Problem::invalid("limit", "must be a number")));
        let rows = rows(limit.transpose()?)?;
        let cursor = take(&mut pairs, "cursor")?;
        pairs.sort();
        let spelling = serde_urlencoded::to_string(&pairs).unwrap_or_default();
        Ok(Self { filter: read_query(&spelling)?, rows, cursor, spelling, path: path.to_owned() })
    }
}

fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, Problem> {
    let mut found = pairs.extract_if(.., |(key, _)| key == name);
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() { Err(Problem::malformed("given more than once").at(name)) } else { Ok(first) }
}

/// A query string as its type, or which parameter is at fault.
pub(crate) fn read_query<F: DeserializeOwned>(query: &str) -> Result<F, Problem> {
    let reader = serde_urlencoded::Deserializer::new(serde_urlencoded_pairs(query));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let field = error.path().to_string();
        // The names of parameters and variants are ours; the sentence about anything else quotes the value.
        let text = error.inner().to_string();
        let known =
            text.starts_with("unknown field") || text.starts_with("missing field") || text.starts_with("not a ");
        let detail = if known { text } else { "not an acceptable value".to_owned() };
        Problem::invalid(field, detail)
    })
}

fn serde_urlencoded_pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

impl<F> Listing<F> {
    /// Rows to ask for: one more than the page holds tells whether there is another page.
    pub fn rows_and_one(&self) -> u32 {
        self.rows.saturating_add(1)
    }

    /// Rows that the page holds, for what knows by itself whether there is another page.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The key after which to go on. `tenant` is absent for a listing of the installation.
    pub fn after(&self, door: &Door, tenant: Option<&TenantId>) -> Result<Option<String>, Problem> {
        self.cursor.as_deref().map(|cursor| door.cursors().open(&self.scope(tenant), cursor)).transpose()
    }

    /// As [`Self::after`], as the id that it is.
    pub fn after_as<T: FromStr>(&self, door: &Door, tenant: Option<&TenantId>) -> Result<Option<T>, Problem> {
        // We signed it, so it is one of our own ids; after a change of format it may be none, and begins anew.
        Ok(self.after(door, tenant)?.and_then(|key| key.parse().ok()))
    }

    fn scope<'a>(&'a self, tenant: Option<&'a TenantId>) -> Scope<'a> {
        Scope { route: &self.path, tenant: tenant.map_or("", TenantId::as_str), filter: &self.spelling }
    }

    /// The answer from what was found, where it is known from where it goes on.
    pub fn answer_until<R, V: Serialize>(
        &self,
        door: &Door,
        tenant: Option<&TenantId>,
        found: Vec<R>,
        next: Option<String>,
        view: impl FnMut(R) -> V,
    ) -> Response {
        let next = next.map(|last| door.cursors().seal(&self.scope(tenant), &last));
        Page { items: found.into_iter().map(view).collect(), next }.answer(&self.path, &self.spelling, self.rows)
    }

    /// The answer from what was found. `key` is what rows are ordered by, `view` how one is shown.
    pub fn answer<R, V: Serialize>(
        &self,
        door: &Door,
        tenant: Option<&TenantId>,
        mut found: Vec<R>,
        key: impl Fn(&R) -> String,
        view: impl FnMut(R) -> V,
    ) -> Response {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let more = found.len() > rows;
        found.truncate(rows);
        let last = found.last().filter(|_| more).map(key);
        let next = last.map(|last| door.cursors().seal(&self.scope(tenant), &last));
        Page { items: found.into_iter().map(view).collect(), next }.answer(&self.path, &self.spelling, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use fleetward_core::lifecycle::Status;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        tag: Option<String>,
        status: Option<Status>,
    }

    fn check(query: &str) -> Result<Listing<Filter>, (u16, Option<String>)> {
        Listing::parse("/x", query).map_err(|problem| (problem.status.as_u16(), problem.field))
    }

    #[test]
    fn a_filter_has_one_spelling() {
        let listing = check("limit=5&tag=a%20b&status=active&cursor=x").expect("good");
        assert_eq!(listing.spelling, "status=active&tag=a+b");
        assert_eq!((listing.rows, listing.cursor.as_deref()), (5, Some("x")));
        assert_eq!((listing.filter.tag.as_deref(), listing.filter.status), (Some("a b"), Some(Status::Active)));
        assert_eq!(check("status=active&tag=a+b").expect("good").spelling, listing.spelling);
    }

    #[test]
    fn a_misspelt_filter_is_not_everything() {
        assert_eq!(check("tags=a").expect_err("unknown"), (422, Some("tags".into())));
        assert_eq!(check("status=alive").expect_err("no such"), (422, Some("status".into())));
        assert_eq!(check("limit=x").expect_err("no number"), (422, Some("limit".into())));
        assert_eq!(check("limit=1&limit=2").expect_err("twice"), (400, Some("limit".into())));
        assert_eq!(check("tag=a&tag=b").expect_err("twice").0, 422);
    }
}
