//! Pages of a listing, and the signed cursors that lead from one to the next.
//!
//! A cursor is opaque to callers: base64url over a MAC and the key of the last row seen. It is bound to the route, the
//! tenant and the filter, so that one from elsewhere is refused (400) instead of giving rows that fit nothing. There are no
//! offsets: a row that comes or goes meanwhile never shifts the rest.

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleetward_base::limits;
use fleetward_vault::Mac;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Bytes of the MAC that a cursor carries; 128 bits of HMAC-SHA-256.
const MAC_BYTES: usize = 16;
/// A cursor text; the longest key is a device name.
const CURSOR_BYTES: usize = 512;

/// Signs and opens cursors.
pub struct Cursors(Mac);

impl Cursors {
    /// `mac` is the vault's for [`fleetward_vault::MacPurpose::Cursor`].
    pub fn new(mac: Mac) -> Self {
        Self(mac)
    }

    /// The cursor that goes on after `last`, within `scope` only.
    pub fn seal(&self, scope: &Scope<'_>, last: &str) -> String {
        let mut bytes = self.mac(scope, last.as_bytes()).to_vec();
        bytes.extend_from_slice(last.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key of the last row seen.
    pub fn open(&self, scope: &Scope<'_>, cursor: &str) -> Result<String, Problem> {
        self.opened(scope, cursor).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-cursor",
                "The cursor does not belong to this listing",
                "begin again without `cursor`; a cursor holds for one listing with one filter",
            )
            .at("cursor")
        })
    }

    fn opened(&self, scope: &Scope<'_>, cursor: &str) -> Option<String> {
        if cursor.len() > CURSOR_BYTES {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (mac, last) = bytes.split_at_checked(MAC_BYTES)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(mac, &self.mac(scope, last)).ok()?;
        String::from_utf8(last.to_vec()).ok()
    }

    fn mac(&self, scope: &Scope<'_>, last: &[u8]) -> [u8; MAC_BYTES] {
        let mut text = Vec::new();
        for part in [scope.route.as_bytes(), scope.tenant.as_bytes(), scope.filter.as_bytes(), last] {
            // The length goes in first, so that no two lists of parts give the same bytes.
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        let tag = self.0.tag(&text);
        std::array::from_fn(|at| tag.get(at).copied().unwrap_or_default())
    }
}

/// What a cursor holds for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub route: &'a str,
    /// Empty for a listing of the installation.
    pub tenant: &'a str,
    /// The query without `cursor` and `limit`, in one fixed spelling.
    pub filter: &'a str,
}

/// How many rows a caller wants: `limit`, held to what a page can be.
pub fn rows(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(limits::PAGE_ROWS_DEFAULT),
        Some(rows @ 1..=limits::PAGE_ROWS) => Ok(rows),
        Some(_) => Err(Problem::invalid("limit", format!("must be 1 to {}", limits::PAGE_ROWS))),
    }
}

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it back as `cursor` to go on. Absent on the last page. `Link: <...>; rel="next"` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// The answer. `path` and `filter` are the request's own, so that the link is complete.
    pub fn answer(self, path: &str, filter: &str, rows: u32) -> Response {
        let link = self.next.as_ref().map(|cursor| {
            let joint = if filter.is_empty() { "" } else { "&" };
            format!("<{path}?{filter}{joint}limit={rows}&cursor={cursor}>; rel=\"next\"")
        });
        let mut response = Json(self).into_response();
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use fleetward_base::SeededRng;
    use fleetward_vault::{MacPurpose, MasterKey, Vault};
    use proptest::prelude::*;

    use super::*;

    fn keyed(seed: u64) -> Cursors {
        Cursors::new(Vault::new(&MasterKey::random(&SeededRng::new(seed))).mac(MacPurpose::Cursor))
    }

    const HERE: Scope<'static> = Scope { route: "devices", tenant: "acme", filter: "tag=a" };

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursors = keyed(1);
        assert_eq!(cursors.open(&HERE, &cursors.seal(&HERE, "gw-9")).as_deref(), Ok("gw-9"));
    }

    #[test]
    fn a_cursor_from_elsewhere_is_refused() {
        let cursors = keyed(1);
        for other in [
            Scope { route: "events", ..HERE },
            Scope { tenant: "beta", ..HERE },
            Scope { filter: "tag=b", ..HERE },
            // The same bytes in a row, cut elsewhere.
            Scope { route: "devicesa", tenant: "cme", ..HERE },
        ] {
            assert!(cursors.open(&HERE, &cursors.seal(&other, "gw-9")).is_err(), "{other:?}");
        }
        assert!(cursors.open(&HERE, &keyed(2).seal(&HERE, "gw-9")).is_err());
    }

    #[test]
    fn a_cursor_that_was_touched_is_refused() {
        let cursors = keyed(1);
        let good = cursors.seal(&HERE, "gw-9");
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let touched = String::from_utf8(bytes).expect("ASCII");
            assert!(cursors.open(&HERE, &touched).is_err(), "byte {at}");
        }
        for bad in ["", "A", "====", "\u{e4}", &"A".repeat(4096)] {
            assert!(cursors.open(&HERE, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_opened_or_refused(text in ".{0,64}", last in ".{0,40}") {
            let cursors = keyed(1);
            prop_assert!(cursors.open(&HERE, &text).is_err());
            prop_assert_eq!(cursors.open(&HERE, &cursors.seal(&HERE, &last)), Ok(last));
        }
    }

    #[test]
    fn a_page_has_its_bounds() {
        assert_eq!(rows(None), Ok(limits::PAGE_ROWS_DEFAULT));
        assert_eq!(rows(Some(limits::PAGE_ROWS)), Ok(limits::PAGE_ROWS));
        assert!(rows(Some(0)).is_err() && rows(Some(limits::PAGE_ROWS + 1)).is_err());
    }
}
