//! What a path asks for.

use fleetward_base::TenantId;
use http::Method;

const ROOT: &str = "/.well-known/est/";

/// An operation of RFC 7030 §3.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CaCerts,
    SimpleEnroll,
    SimpleReenroll,
    CsrAttrs,
    ServerKeyGen,
    FullCmc,
}

impl Operation {
    pub(crate) const ALL: [Self; 6] =
        [Self::CaCerts, Self::CsrAttrs, Self::SimpleEnroll, Self::SimpleReenroll, Self::ServerKeyGen, Self::FullCmc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CaCerts => "cacerts",
            Self::SimpleEnroll => "simpleenroll",
            Self::SimpleReenroll => "simplereenroll",
            Self::CsrAttrs => "csrattrs",
            Self::ServerKeyGen => "serverkeygen",
            Self::FullCmc => "fullcmc",
        }
    }

    pub(crate) const fn method(self) -> Method {
        match self {
            Self::CaCerts | Self::CsrAttrs => Method::GET,
            Self::SimpleEnroll | Self::SimpleReenroll | Self::ServerKeyGen | Self::FullCmc => Method::POST,
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// An operation, and the tenant that it is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) label: Option<TenantId>,
    pub(crate) operation: Operation,
}

impl Target {
    /// `None` where the path is no operation, or the label no tenant's name or that of an operation (which it must not be,
    /// RFC 7030 §3.2.2).
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (_, rest) = path.split_once(ROOT)?;
        match rest.split_once('/') {
            None => Some(Self { label: None, operation: Operation::of(rest)? }),
            Some((label, _)) if Operation::of(label).is_some() => None,
            Some((label, operation)) => {
                Some(Self { label: Some(label.parse().ok()?), operation: Operation::of(operation)? })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let target = |label: Option<&str>, operation| {
            Some(Target { label: label.map(|label| label.parse().expect("a name")), operation })
        };
        for (path, expected) in [
            ("/.well-known/est/cacerts", target(None, Operation::CaCerts)),
            ("/.well-known/est/acme/simpleenroll", target(Some("acme"), Operation::SimpleEnroll)),
            ("/some/where/.well-known/est/acme/csrattrs", target(Some("acme"), Operation::CsrAttrs)),
            ("/.well-known/est/cacerts/cacerts", None),
            ("/.well-known/est/ACME/cacerts", None),
            ("/.well-known/est/acme/", None),
            ("/.well-known/est/acme/x/cacerts", None),
            ("/.well-known/est/", None),
            ("/.well-known/est", None),
            ("/.well-known/est/../cacerts", None),
        ] {
            assert_eq!(Target::of(path), expected, "{path}");
        }
    }
}
