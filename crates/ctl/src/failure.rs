//! What can go wrong, with the exit code that scripts decide by.
//!
//! The codes are a contract (`docs/wardctl.md`). A message says what happened and, where there is one, the next step.

use serde_json::Value;

/// The end of a command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused, with a problem document.
    #[error("{}", problem_text(.0))]
    Refused(Box<Problem>),
    /// The server could not be asked.
    #[error("cannot reach {url}: {cause}\nnext: {hint}")]
    Unreachable { url: String, cause: String, hint: &'static str },
    /// The server did not answer in time.
    #[error("{0}")]
    TimedOut(String),
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Some of several were done, some not; each was reported on its own line.
    #[error("{failed} of {all} failed")]
    Partial { failed: usize, all: usize },
    /// A rollout that was watched paused or failed.
    #[error("{0}")]
    Rollout(String),
    /// A drill says that devices would not come back by themselves.
    #[error("{0} devices would be stranded")]
    Stranded(u64),
    /// A command that was followed did not succeed everywhere.
    #[error("{failed} of {all} did not succeed")]
    NotDone { failed: usize, all: usize },
    #[error("{0}")]
    Other(String),
}

/// A problem document as the server sent it (RFC 9457).
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) document: Value,
}

impl Problem {
    pub(crate) fn code(&self) -> &str {
        self.text("code")
    }

    fn text(&self, key: &str) -> &str {
        self.document.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Failure {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(problem) => match problem.status {
                404 => 3,
                401 | 403 => 4,
                409 | 412 | 428 => 5,
                408 | 504 => 7,
                _ => 1,
            },
            Self::Unreachable { .. } | Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Partial { .. } => 6,
            Self::TimedOut(_) => 7,
            Self::Rollout(_) => 8,
            Self::Stranded(_) => 9,
            Self::NotDone { .. } => 10,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }

    /// The resource changed between reading and writing it.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 412)
    }
}

fn problem_text(problem: &Problem) -> String {
    let mut text = match (problem.text("title"), problem.text("detail")) {
        ("", "") => format!("the server answered {}", problem.status),
        (title, "") => title.to_owned(),
        ("", detail) => detail.to_owned(),
        (title, detail) => format!("{title}: {detail}"),
    };
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("\n{label}: {value}"));
        }
    };
    line("at", problem.text("field"));
    if let Some(why) = problem.document.get("why") {
        line("why", &why.to_string());
    }
    line("code", problem.code());
    line("request", problem.text("request_id"));
    line("next", next_step(problem));
    text
}

/// What to do about it, as far as the code alone tells.
fn next_step(problem: &Problem) -> &'static str {
    match (problem.status, problem.code()) {
        (401, _) => "give a valid token with --token or FLEETWARD_TOKEN; `wardctl setup` makes the first one",
        (403, _) => "ask an owner of the tenant for a token with the role that has this permission",
        (404, _) => "look at the names with the `list` verb, and at --tenant",
        (412, _) => "somebody changed it meanwhile: look again with `show`, then repeat",
        (429, _) => "wait as long as the message says, then repeat",
        (_, "unknown-signer") => "register the public key: wardctl key register --name NAME FILE",
        (503, _) => "repeat; if it stays so, look at the server's /readyz",
        _ => "",
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16) -> Failure {
        Failure::Refused(Box::new(Problem { status, document: json!({}) }))
    }

    #[test]
    fn codes_are_the_contract() {
        for (status, code) in [(404, 3), (401, 4), (403, 4), (409, 5), (412, 5), (428, 5), (422, 1), (500, 1), (504, 7)]
        {
            assert_eq!(refused(status).code(), code, "{status}");
        }
        assert_eq!(Failure::usage("x").code(), 2);
        assert_eq!(Failure::Partial { failed: 1, all: 2 }.code(), 6);
        assert_eq!(Failure::Rollout("paused".into()).code(), 8);
        assert_eq!(Failure::Stranded(3).code(), 9);
    }

    #[test]
    fn a_problem_is_told_with_its_next_step() {
        let document =
            json!({"title": "Not yours", "detail": "x", "code": "forbidden", "request_id": "r", "field": "a.b"});
        let text = Failure::Refused(Box::new(Problem { status: 403, document })).to_string();
        assert_eq!(
            text,
            "Not yours: x\nat: a.b\ncode: forbidden\nrequest: r\nnext: ask an owner of the tenant for a token with the role that has this permission"
        );
    }
}
