//! The reserved topics below `$aws/things/`.
//!
//! [`parse`] knows topic names, not filters: what has a wildcard in it is none of them. `parse` and `Display` are inverse.

use std::fmt;

/// A reserved topic of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    pub thing: &'a str,
    pub what: What<'a>,
}

/// What a reserved topic is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What<'a> {
    /// `name` is `None` for the classic shadow.
    Shadow {
        name: Option<&'a str>,
        part: ShadowPart,
    },
    Jobs(JobsPart<'a>),
}

/// A request to the shadow service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowOp {
    Get,
    Update,
    Delete,
}

/// The end of a shadow topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowPart {
    Request(ShadowOp),
    Accepted(ShadowOp),
    Rejected(ShadowOp),
    Delta,
    Documents,
}

/// A request to the jobs service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobsOp<'a> {
    /// What is pending.
    Get,
    StartNext,
    /// One execution: by job id, or the next one.
    Describe(&'a str),
    Update(&'a str),
}

/// The end of a jobs topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobsPart<'a> {
    Request(JobsOp<'a>),
    Accepted(JobsOp<'a>),
    Rejected(JobsOp<'a>),
    Notify,
    NotifyNext,
}

/// The job id that means whichever is next.
pub const NEXT: &str = "$next";
/// What every topic here begins with.
pub const PREFIX: &str = "$aws/things/";

impl<'a> Topic<'a> {
    pub fn shadow(thing: &'a str, name: Option<&'a str>, part: ShadowPart) -> Self {
        Self { thing, what: What::Shadow { name, part } }
    }

    pub fn jobs(thing: &'a str, part: JobsPart<'a>) -> Self {
        Self { thing, what: What::Jobs(part) }
    }

    /// A device publishes to it; on all others the service does.
    pub fn is_request(&self) -> bool {
        matches!(self.what, What::Shadow { part: ShadowPart::Request(_), .. } | What::Jobs(JobsPart::Request(_)))
    }
}

/// The reserved topic that `topic` is, if it is one.
pub fn parse(topic: &str) -> Option<Topic<'_>> {
    let (thing, rest) = topic.strip_prefix(PREFIX)?.split_once('/')?;
    if !is_name(thing, 128, b":_-") {
        return None;
    }
    let levels: Vec<&str> = rest.split('/').take(6).collect();
    let what = match levels.as_slice() {
        ["shadow", "name", name, part @ ..] if is_name(name, 64, b"$:_-") => {
            What::Shadow { name: Some(name), part: shadow_part(part)? }
        }
        ["shadow", part @ ..] => What::Shadow { name: None, part: shadow_part(part)? },
        ["jobs", part @ ..] => What::Jobs(jobs_part(part)?),
        _ => return None,
    };
    Some(Topic { thing, what })
}

fn shadow_part(levels: &[&str]) -> Option<ShadowPart> {
    let (op, end) = match levels {
        ["update", "delta"] => return Some(ShadowPart::Delta),
        ["update", "documents"] => return Some(ShadowPart::Documents),
        ["get", end @ ..] => (ShadowOp::Get, end),
        ["update", end @ ..] => (ShadowOp::Update, end),
        ["delete", end @ ..] => (ShadowOp::Delete, end),
        _ => return None,
    };
    match end {
        [] => Some(ShadowPart::Request(op)),
        ["accepted"] => Some(ShadowPart::Accepted(op)),
        ["rejected"] => Some(ShadowPart::Rejected(op)),
        _ => None,
    }
}

fn jobs_part<'a>(levels: &[&'a str]) -> Option<JobsPart<'a>> {
    let (op, end) = match levels {
        ["notify"] => return Some(JobsPart::Notify),
        ["notify-next"] => return Some(JobsPart::NotifyNext),
        ["get", end @ ..] => (JobsOp::Get, end),
        ["start-next", end @ ..] => (JobsOp::StartNext, end),
        [job, "get", end @ ..] if *job == NEXT || is_job(job) => (JobsOp::Describe(job), end),
        [job, "update", end @ ..] if is_job(job) => (JobsOp::Update(job), end),
        _ => return None,
    };
    match end {
        [] => Some(JobsPart::Request(op)),
        ["accepted"] => Some(JobsPart::Accepted(op)),
        ["rejected"] => Some(JobsPart::Rejected(op)),
        _ => None,
    }
}

fn is_job(text: &str) -> bool {
    is_name(text, 64, b"_-")
}

fn is_name(text: &str, longest: usize, also: &[u8]) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

impl ShadowOp {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for JobsOp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => f.write_str("get"),
            Self::StartNext => f.write_str("start-next"),
            Self::Describe(job) => write!(f, "{job}/get"),
            Self::Update(job) => write!(f, "{job}/update"),
        }
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/", self.thing)?;
        match self.what {
            What::Shadow { name, part } => {
                f.write_str("shadow/")?;
                if let Some(name) = name {
                    write!(f, "name/{name}/")?;
                }
                match part {
                    ShadowPart::Request(op) => f.write_str(op.as_str()),
                    ShadowPart::Accepted(op) => write!(f, "{}/accepted", op.as_str()),
                    ShadowPart::Rejected(op) => write!(f, "{}/rejected", op.as_str()),
                    ShadowPart::Delta => f.write_str("update/delta"),
                    ShadowPart::Documents => f.write_str("update/documents"),
                }
            }
            What::Jobs(part) => {
                f.write_str("jobs/")?;
                match part {
                    JobsPart::Request(op) => write!(f, "{op}"),
                    JobsPart::Accepted(op) => write!(f, "{op}/accepted"),
                    JobsPart::Rejected(op) => write!(f, "{op}/rejected"),
                    JobsPart::Notify => f.write_str("notify"),
                    JobsPart::NotifyNext => f.write_str("notify-next"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(topic: &str, known: bool) {
        let parsed = parse(topic);
        assert_eq!(parsed.is_some(), known, "{topic}");
        if let Some(parsed) = parsed {
            assert_eq!(parsed.to_string(), topic);
        }
    }

    #[test]
    fn topics() {
        for op in ["get", "update", "delete"] {
            for end in ["", "/accepted", "/rejected"] {
                check(&format!("$aws/things/gw-1/shadow/{op}{end}"), true);
                check(&format!("$aws/things/gw-1/shadow/name/$cfg:1/{op}{end}"), true);
            }
        }
        for end in ["", "/accepted", "/rejected"] {
            for op in ["get", "start-next", "$next/get", "j-1/get", "j-1/update"] {
                check(&format!("$aws/things/gw-1/jobs/{op}{end}"), true);
            }
        }
        for end in ["shadow/update/delta", "shadow/update/documents", "jobs/notify", "jobs/notify-next"] {
            check(&format!("$aws/things/gw-1/{end}"), true);
        }
        for bad in [
            "",
            "$aws/things/",
            "$aws/things//shadow/get",
            "$aws/things/gw-1",
            "$aws/things/gw-1/shadow",
            "$aws/things/gw-1/shadow/",
            "$aws/things/gw-1/shadow/get/",
            "$aws/things/gw-1/shadow/get/delta",
            "$aws/things/gw-1/shadow/get/accepted/x",
            "$aws/things/gw-1/shadow/+/accepted",
            "$aws/things/+/shadow/get",
            "$aws/things/gw-1/shadow/name/get",
            "$aws/things/gw-1/shadow/name//get",
            "$aws/things/gw-1/jobs/$next/update",
            "$aws/things/gw-1/jobs/a:b/get",
            "$aws/things/gw-1/jobs/notify/accepted",
            "$AWS/things/gw-1/shadow/get",
            "aws/things/gw-1/shadow/get",
        ] {
            check(bad, false);
        }
        check(&format!("$aws/things/{}/shadow/get", "x".repeat(129)), false);
    }

    proptest! {
        #[test]
        fn parsing_inverts_formatting(thing in "[a-zA-Z0-9:_-]{1,128}", name in prop::option::of("[$a-zA-Z0-9:_-]{1,64}"),
                                      job in "[a-zA-Z0-9_-]{1,64}", pick in 0..17usize) {
            use {JobsOp as J, JobsPart as P, ShadowOp as O, ShadowPart as S};
            let shadow = [
                S::Request(O::Get), S::Accepted(O::Get), S::Rejected(O::Get), S::Request(O::Update), S::Accepted(O::Update),
                S::Rejected(O::Delete), S::Delta, S::Documents,
            ];
            let jobs = [
                P::Request(J::Get), P::Accepted(J::StartNext), P::Rejected(J::Describe(&job)), P::Request(J::Describe(NEXT)),
                P::Accepted(J::Update(&job)), P::Request(J::Update(&job)), P::Notify, P::NotifyNext, P::Request(J::StartNext),
            ];
            let topic = match shadow.get(pick) {
                Some(part) => Topic::shadow(&thing, name.as_deref(), *part),
                None => Topic::jobs(&thing, jobs[pick - shadow.len()]),
            };
            let text = topic.to_string();
            prop_assert_eq!(parse(&text), Some(topic));
        }

        #[test]
        fn any_text_is_taken(rest in "(\\$aws/things/)?.{0,40}(/[a-z$+#-]{0,8}){0,6}") {
            if let Some(topic) = parse(&rest) {
                prop_assert_eq!(topic.to_string(), rest);
            }
        }
    }
}
