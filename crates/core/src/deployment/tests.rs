use proptest::prelude::*;

use super::*;

fn deployment(status: Status, version: u64) -> Deployment {
    Deployment {
        rollout: "01935000-0000-7000-8000-000000000001".parse().expect("an id"),
        device: "gw-1".parse().expect("a name"),
        kind: Kind::Update,
        phase: 0,
        status,
        step: None,
        hardware: "rev-a".to_owned(),
        from_version: None,
        detail: BTreeMap::new(),
        version,
        queued_at: Timestamp::from_secs(1),
        started_at: None,
        updated_at: Timestamp::from_secs(1),
        finished_at: None,
    }
}

fn check(from: &str, version: u64, to: &str, expected_version: Option<u64>, expect: &str) {
    let before = deployment(from.parse().expect("a status"), version);
    let report = Report { status: to.parse().expect("a status"), detail: None, expected_version };
    let found = match apply(&before, &report, Timestamp::from_secs(2)) {
        Ok(Applied::Changed(next)) => format!("{} v{}", next.status, next.version),
        Ok(Applied::Repeated) => "repeated".to_owned(),
        Err(refused) => refused.to_string(),
    };
    assert_eq!(found, expect, "{from} v{version} -> {to} expecting {expected_version:?}");
}

#[test]
fn reports() {
    check("queued", 1, "in_progress", None, "in_progress v2");
    check("queued", 1, "succeeded", Some(1), "succeeded v2");
    check("queued", 1, "rejected", None, "rejected v2");
    check("in_progress", 2, "in_progress", Some(2), "in_progress v3");
    check("in_progress", 2, "in_progress", None, "repeated");
    check("in_progress", 2, "in_progress", Some(1), "repeated");
    check("in_progress", 3, "in_progress", Some(1), "expected version 1, found 3");
    check("in_progress", 2, "failed", Some(2), "failed v3");
    check("in_progress", 2, "failed", Some(9), "expected version 9, found 2");
    check("succeeded", 3, "succeeded", None, "repeated");
    check("succeeded", 3, "succeeded", Some(2), "repeated");
    check("succeeded", 3, "succeeded", Some(3), "a deployment that is succeeded cannot become succeeded");
    check("succeeded", 3, "in_progress", None, "a deployment that is succeeded cannot become in_progress");
    check("canceled", 2, "succeeded", None, "a deployment that is canceled cannot become succeeded");
    check("queued", 1, "canceled", None, "a deployment that is queued cannot become canceled");
    check("queued", 1, "timed_out", None, "a deployment that is queued cannot become timed_out");
    check("queued", 1, "queued", None, "a deployment that is queued cannot become queued");
}

#[test]
fn details_are_bounded_and_give_the_step() {
    let before = deployment(Status::Queued, 1);
    let report = |detail: BTreeMap<String, String>| Report {
        status: Status::InProgress,
        detail: Some(detail),
        expected_version: None,
    };
    let pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let now = Timestamp::from_secs(2);
    let Ok(Applied::Changed(next)) = apply(&before, &report(pair("step", "downloading")), now) else {
        panic!("a good report");
    };
    assert_eq!(next.step.as_deref(), Some("downloading"));
    for bad in [pair("", "x"), pair("a b", "x"), pair("k", &"x".repeat(1025))] {
        assert_eq!(apply(&before, &report(bad), now), Err(Refused::BadDetail));
    }
    let many = (0..33).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(apply(&before, &report(many), now), Err(Refused::BadDetail));
}

#[test]
fn a_job_id_has_one_spelling() {
    let good = "01935000-0000-7000-8000-000000000001";
    for text in [good.to_owned(), format!("{good}-rollback")] {
        assert_eq!(text.parse::<DeploymentId>().expect("an id").to_string(), text);
    }
    for bad in ["$next", "", "x", &good.to_uppercase().replace('0', "A"), &good.replace('-', ""), "-rollback"] {
        assert!(bad.parse::<DeploymentId>().is_err(), "{bad}");
    }
}

fn any_status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL)
}

proptest! {
    /// A second copy of any report that was taken is taken as repeated, and the version only grows.
    #[test]
    fn a_report_is_idempotent(from in any_status(), to in any_status(), version in 1u64..9, expected in prop::option::of(0u64..9)) {
        let before = deployment(from, version);
        let report = Report { status: to, detail: Some(BTreeMap::from([("step".into(), "x".into())])), expected_version: expected };
        if let Ok(Applied::Changed(next)) = apply(&before, &report, Timestamp::from_secs(5)) {
            prop_assert!(next.version > before.version && !before.status.is_terminal());
            prop_assert_eq!(next.finished_at.is_some(), next.status.is_terminal());
            prop_assert_eq!(apply(&next, &report, Timestamp::from_secs(6)), Ok(Applied::Repeated));
        }
    }
}
