//! Token services that a tenant believes (requirement I13), and what a token of one is worth.
//!
//! Whoever checked the signature gives the claims here; [`judge`] holds them to what the tenant has written down of the
//! service: issuer and audience word for word, a life that is short enough, a moment that lies within it, and a claim that
//! names one device. A token that leaves out what bounds it (`exp`, `iat`) is refused, however it is signed.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::identity_policy::{Invalid, within};
use crate::text::text_enum;

text_enum! {
    /// An algorithm that tokens may be signed with. Shared secrets and `none` have no name here.
    pub enum Algorithm("algorithm of tokens") {
        Es256 => "ES256",
        Es384 => "ES384",
        EdDsa => "EdDSA",
        Rs256 => "RS256",
    }
}

/// What is believed of a token service. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The `iss` of its tokens, word for word.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audience: BTreeSet<String>,
    #[serde(default = "Rules::usual_algorithms")]
    pub algorithms: BTreeSet<Algorithm>,
    /// The claim that names the device.
    #[serde(default = "Rules::usual_claim")]
    pub device_claim: String,
    /// A token may not be good for longer than this.
    #[serde(default = "Rules::usual_lifetime")]
    pub max_lifetime_s: u64,
    /// How far the clocks of the service and of this server may be apart.
    #[serde(default = "Rules::usual_leeway")]
    pub leeway_s: u64,
    /// A device that is not there is made, and one that was never in comes in. Without this only devices that the tenant
    /// has come in.
    #[serde(default)]
    pub registers: bool,
}

impl Rules {
    fn usual_algorithms() -> BTreeSet<Algorithm> {
        [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256].into()
    }

    fn usual_claim() -> String {
        "sub".to_owned()
    }

    fn usual_lifetime() -> u64 {
        3600
    }

    fn usual_leeway() -> u64 {
        30
    }

    /// # Errors
    /// [`Invalid`] names the first field that holds what it may not.
    pub fn check(&self) -> Result<(), Invalid> {
        let text = |field, text: &str| {
            let good =
                (1..=limits::TOKEN_ISSUER_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
            let why = || format!("1 to {} bytes without control characters", limits::TOKEN_ISSUER_TEXT_BYTES);
            if good { Ok(()) } else { Err(Invalid { field, why: why() }) }
        };
        text("issuer", &self.issuer)?;
        text("device_claim", &self.device_claim)?;
        within("audience", &self.audience.len(), &(1..=limits::TOKEN_AUDIENCES))?;
        self.audience.iter().try_for_each(|audience| text("audience", audience))?;
        if self.algorithms.is_empty() {
            return Err(Invalid { field: "algorithms", why: "at least one".to_owned() });
        }
        let longest = limits::TOKEN_LIFE.as_secs();
        within("max_lifetime_s", &self.max_lifetime_s, &(60..=longest))?;
        within("leeway_s", &self.leeway_s, &(0..=300))
    }

    fn leeway(&self) -> Duration {
        Duration::from_secs(self.leeway_s)
    }
}

/// What a token says. Moments in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    pub expires_at: Option<i64>,
    pub not_before: Option<i64>,
    pub issued_at: Option<i64>,
    pub id: Option<String>,
    /// What the claim of [`Rules::device_claim`] says.
    pub device: Option<String>,
}

/// A token that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub device: DeviceId,
    /// Its id, where it has one.
    pub id: Option<String>,
    pub expires_at: Timestamp,
}

text_enum! {
    /// Why a token does not count. The text is the cause that security events are counted by.
    pub enum Refused("cause") {
        Issuer => "jwt-issuer",
        Audience => "jwt-audience",
        /// It says no `exp` or no `iat`, or an `exp` before its `iat`.
        Unbounded => "jwt-unbounded",
        TooLong => "jwt-too-long",
        Expired => "jwt-expired",
        NotYet => "jwt-not-yet",
        Device => "jwt-no-device",
        Id => "jwt-bad-id",
    }
}

impl Refused {
    /// What its bearer is told.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another audience",
            Self::Unbounded => "the token does not say from when until when it counts",
            Self::TooLong => "the token counts for longer than this tenant allows",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token does not count yet",
            Self::Device => "the token names no device",
            Self::Id => "the token's id is not one",
        }
    }
}

/// Whether a token with these claims counts at `now`, and whose it is.
///
/// # Errors
/// [`Refused`].
pub fn judge(now: Timestamp, rules: &Rules, claims: &Claims) -> Result<Bearer, Refused> {
    if claims.issuer.as_deref() != Some(rules.issuer.as_str()) {
        return Err(Refused::Issuer);
    }
    if !claims.audience.iter().any(|audience| rules.audience.contains(audience)) {
        return Err(Refused::Audience);
    }
    // Beyond these no moment means anything, and sums stay far from the ends of their type.
    let moment = |secs: i64| (0..=MOMENTS).contains(&secs).then(|| Timestamp::from_secs(secs));
    let (Some(expires_at), Some(issued_at)) = (claims.expires_at.and_then(moment), claims.issued_at.and_then(moment))
    else {
        return Err(Refused::Unbounded);
    };
    if expires_at <= issued_at {
        return Err(Refused::Unbounded);
    }
    if expires_at.since(issued_at) > Duration::from_secs(rules.max_lifetime_s) {
        return Err(Refused::TooLong);
    }
    if expires_at.plus(rules.leeway()) <= now {
        return Err(Refused::Expired);
    }
    let from = claims.not_before.map_or(Some(issued_at), moment).ok_or(Refused::Unbounded)?;
    if now.plus(rules.leeway()) < from.max(issued_at) {
        return Err(Refused::NotYet);
    }
    let id = match &claims.id {
        Some(id) if id.is_empty() || id.len() > limits::TOKEN_ISSUER_TEXT_BYTES => return Err(Refused::Id),
        id => id.clone(),
    };
    let device = claims.device.as_ref().and_then(|name| name.parse().ok()).ok_or(Refused::Device)?;
    Ok(Bearer { device, id, expires_at })
}

/// The year 9999.
const MOMENTS: i64 = 253_402_300_799;

/// Who somebody says to be that connects with a token: `TENANT`, or `TENANT/DEVICE`, as a user name. No tenant has a slash in
/// its name, so there is one way to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub tenant: TenantId,
    pub device: Option<DeviceId>,
}

impl Login {
    pub fn parse(name: &str) -> Option<Self> {
        let (tenant, device) = match name.split_once('/') {
            Some((tenant, device)) => (tenant, Some(device.parse().ok()?)),
            None => (name, None),
        };
        Some(Self { tenant: tenant.parse().ok()?, device })
    }
}

/// Whether a text has the form of a token: three parts of base64url. One-time tokens and symmetric keys never do.
pub fn looks_like_token(text: &str) -> bool {
    let part = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut parts = text.split('.');
    let three = [parts.next(), parts.next(), parts.next()];
    parts.next().is_none()
        && text.len() <= limits::TOKEN_BYTES
        && three.iter().all(|it| it.is_some_and(|it| !it.is_empty() && part(it)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_171_980;

    fn rules() -> Rules {
        serde_json::from_str(r#"{"issuer": "https://id.example", "audience": ["fleet"]}"#).expect("rules")
    }

    fn claims() -> Claims {
        Claims {
            issuer: Some("https://id.example".to_owned()),
            audience: vec!["other".to_owned(), "fleet".to_owned()],
            expires_at: Some(NOW + 600),
            not_before: None,
            issued_at: Some(NOW),
            id: Some("1".to_owned()),
            device: Some("gw-1".to_owned()),
        }
    }

    #[test]
    fn verdicts() {
        let check = |claims: Claims| match judge(Timestamp::from_secs(NOW), &rules(), &claims) {
            Ok(bearer) => bearer.device.to_string(),
            Err(refused) => refused.to_string(),
        };
        let text = |text: &str| Some(text.to_owned());
        for (claims, expect) in [
            (claims(), "gw-1"),
            (Claims { id: None, ..claims() }, "gw-1"),
            (Claims { issuer: text("https://id.example/"), ..claims() }, "jwt-issuer"),
            (Claims { issuer: None, ..claims() }, "jwt-issuer"),
            (Claims { audience: vec!["Fleet".to_owned()], ..claims() }, "jwt-audience"),
            (Claims { audience: Vec::new(), ..claims() }, "jwt-audience"),
            (Claims { expires_at: None, ..claims() }, "jwt-unbounded"),
            (Claims { issued_at: None, ..claims() }, "jwt-unbounded"),
            (Claims { expires_at: Some(NOW), ..claims() }, "jwt-unbounded"),
            (Claims { expires_at: Some(i64::MAX), ..claims() }, "jwt-unbounded"),
            (Claims { not_before: Some(i64::MIN), ..claims() }, "jwt-unbounded"),
            (Claims { expires_at: Some(NOW + 3601), ..claims() }, "jwt-too-long"),
            (Claims { issued_at: Some(NOW - 3000), expires_at: Some(NOW - 29), ..claims() }, "gw-1"),
            (Claims { issued_at: Some(NOW - 3000), expires_at: Some(NOW - 30), ..claims() }, "jwt-expired"),
            (Claims { issued_at: Some(NOW + 30), ..claims() }, "gw-1"),
            (Claims { issued_at: Some(NOW + 31), ..claims() }, "jwt-not-yet"),
            (Claims { not_before: Some(NOW + 31), ..claims() }, "jwt-not-yet"),
            (Claims { device: None, ..claims() }, "jwt-no-device"),
            (Claims { device: text("gw 1"), ..claims() }, "jwt-no-device"),
            (Claims { id: text(""), ..claims() }, "jwt-bad-id"),
        ] {
            assert_eq!(check(claims.clone()), expect, "{claims:?}");
        }
    }

    #[test]
    fn rules_have_bounds() {
        let refused = |change: fn(&mut Rules)| {
            let mut rules = rules();
            change(&mut rules);
            rules.check().map_err(|invalid| invalid.field)
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|it| it.issuer = String::new()), Err("issuer"));
        assert_eq!(refused(|it| it.audience.clear()), Err("audience"));
        assert_eq!(refused(|it| it.algorithms.clear()), Err("algorithms"));
        assert_eq!(refused(|it| it.device_claim = "a\nb".to_owned()), Err("device_claim"));
        assert_eq!(refused(|it| it.max_lifetime_s = 59), Err("max_lifetime_s"));
        assert_eq!(refused(|it| it.max_lifetime_s = 86_401), Err("max_lifetime_s"));
        assert_eq!(refused(|it| it.leeway_s = 301), Err("leeway_s"));
        for alg in ["none", "HS256", "es256"] {
            let text = format!(r#"{{"issuer": "x", "audience": ["y"], "algorithms": ["{alg}"]}}"#);
            assert!(serde_json::from_str::<Rules>(&text).is_err(), "{alg}");
        }
    }

    #[test]
    fn names_and_forms() {
        let read =
            |name: &str| Login::parse(name).map(|it| (it.tenant.to_string(), it.device.map(|it| it.to_string())));
        assert_eq!(read("acme"), Some(("acme".to_owned(), None)));
        assert_eq!(read("acme/gw-1"), Some(("acme".to_owned(), Some("gw-1".to_owned()))));
        for bad in ["", "/gw-1", "acme/", "Acme", "acme/gw 1", "acme/gw-1/x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for (text, is) in [
            ("e30.e30.AA", true),
            ("e30.e30.", false),
            ("a.b", false),
            ("a.b.c.d", false),
            ("fwe_x", false),
            ("a=.b.c", false),
        ] {
            assert_eq!(looks_like_token(text), is, "{text}");
        }
    }

    proptest! {
        /// Whatever it says, a token that counts is bounded, of now, and no longer than allowed.
        #[test]
        fn what_counts_is_short_and_of_now(iat in proptest::option::of(NOW - 9000..NOW + 9000), exp in proptest::option::of(NOW - 9000..NOW + 9000),
            nbf in proptest::option::of(NOW - 9000..NOW + 9000), leeway in 0_u64..300, life in 60_u64..7200)
        {
            let rules = Rules { leeway_s: leeway, max_lifetime_s: life, ..rules() };
            let claims = Claims { issued_at: iat, expires_at: exp, not_before: nbf, ..claims() };
            if judge(Timestamp::from_secs(NOW), &rules, &claims).is_ok() {
                let (iat, exp, leeway) = (iat.expect("said"), exp.expect("said"), i64::try_from(leeway).expect("small"));
                prop_assert!(exp > iat && exp - iat <= i64::try_from(life).expect("small"));
                prop_assert!(NOW < exp + leeway && iat <= NOW + leeway && nbf.is_none_or(|nbf| nbf <= NOW + leeway));
            }
        }

        #[test]
        fn any_claims_have_a_verdict(iat: Option<i64>, exp: Option<i64>, nbf: Option<i64>, device: Option<String>, id: Option<String>) {
            let claims = Claims { issued_at: iat, expires_at: exp, not_before: nbf, device, id, ..claims() };
            judge(Timestamp::from_secs(NOW), &rules(), &claims).ok();
        }

        #[test]
        fn any_name_is_read_or_not(name: String) {
            if let Some(login) = Login::parse(&name) {
                let again = login.device.map_or_else(|| login.tenant.to_string(), |device| format!("{}/{device}", login.tenant));
                prop_assert_eq!(again, name);
            }
        }
    }
}
