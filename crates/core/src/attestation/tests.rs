use super::*;

fn measured(text: &str) -> BTreeSet<(String, String)> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
        .collect()
}

fn references(text: &str) -> References {
    learn(&References::new(), &measured(text)).expect("few")
}

fn proven(text: &str) -> Proven {
    Proven {
        root: RootOfTrust::Tpm2,
        measurements: measured(text),
        has_log: true,
        debug: None,
        secured: None,
        boots: Some(5),
        clock_ms: Some(100),
        certified_key: true,
        elsewhere: false,
        denied: false,
    }
}

fn check(what: &Appraisal, expect: &str) {
    let reasons: Vec<String> = what.reasons.iter().map(ToString::to_string).collect();
    assert_eq!(format!("{} {}", what.verdict, reasons.join(" ")).trim_end(), expect);
}

#[test]
fn measurements_are_held_against_references() {
    let rule = ClassRule::default();
    let judge =
        |evidence: &str, good: &str| appraise(&rule, &proven(evidence), Seen::default(), &references(good), false);
    check(&judge("pcr/0=aa pcr/7=bb", "pcr/0=aa pcr/7=bb"), "affirming");
    check(&judge("pcr/0=aa pcr/7=cc", "pcr/0=aa pcr/7=bb"), "contraindicated unknown-measurement:pcr/7");
    check(&judge("pcr/0=aa pcr/7=cc", "pcr/0=aa pcr/7=bb pcr/7=cc"), "affirming");
    check(&judge("pcr/0=aa", "pcr/0=aa pcr/7=bb"), "contraindicated absent-measurement:pcr/7");
    check(&judge("pcr/0=aa pcr/9=ff", "pcr/0=aa"), "affirming");
    check(&judge("pcr/0=aa", ""), "warning no-reference");
    // A kernel update changes PCR 4 and adds a known event.
    check(&judge("pcr/4=11 event/4=a1 event/4=a2", "event/4=a1 event/4=a2 event/4=a3"), "affirming");
    check(
        &judge("pcr/4=11 event/4=a1 event/4=ff", "event/4=a1 event/4=a2"),
        "contraindicated unknown-measurement:event/4",
    );
}

#[test]
fn what_else_speaks_against_a_device() {
    let rule = ClassRule {
        root_of_trust: BTreeSet::from([RootOfTrust::Tpm2, RootOfTrust::SecureElement]),
        certified_key: true,
        event_log: true,
        ..ClassRule::default()
    };
    let good = references("pcr/0=aa");
    let judge = |change: &dyn Fn(&mut Proven)| {
        let mut evidence = proven("pcr/0=aa");
        change(&mut evidence);
        appraise(&rule, &evidence, Seen { boots: Some(5), clock_ms: Some(100) }, &good, false)
    };
    check(&judge(&|_| {}), "affirming");
    check(&judge(&|it| it.boots = Some(4)), "contraindicated went-back");
    check(&judge(&|it| it.clock_ms = Some(99)), "contraindicated went-back");
    check(&judge(&|it| it.boots = Some(6)), "affirming");
    check(&judge(&|it| (it.boots, it.clock_ms) = (Some(6), Some(50))), "affirming");
    check(&judge(&|it| (it.boots, it.clock_ms) = (None, Some(50))), "contraindicated went-back");
    check(&judge(&|it| it.elsewhere = true), "contraindicated hardware-elsewhere");
    check(&judge(&|it| it.denied = true), "contraindicated hardware-denied");
    check(&judge(&|it| it.root = RootOfTrust::Software), "contraindicated root-of-trust");
    check(&judge(&|it| it.certified_key = false), "contraindicated key-not-certified");
    check(&judge(&|it| it.has_log = false), "contraindicated no-event-log");
    check(&judge(&|it| it.debug = Some(true)), "contraindicated debug");
    check(&judge(&|it| it.secured = Some(false)), "contraindicated not-secured");
}

#[test]
fn only_who_is_sound_otherwise_teaches() {
    let rule = ClassRule::default();
    let none = References::new();
    check(&appraise(&rule, &proven("pcr/0=aa"), Seen::default(), &none, true), "affirming learned");
    let other = references("pcr/0=bb");
    let judged = appraise(&rule, &proven("pcr/0=aa"), Seen::default(), &other, true);
    check(&judged, "contraindicated unknown-measurement:pcr/0");
    let open = Proven { debug: Some(true), ..proven("pcr/0=aa") };
    check(&appraise(&rule, &open, Seen::default(), &none, true), "contraindicated debug");
}

#[test]
fn events_are_learned_and_not_the_values_that_they_lead_to() {
    let learned = references("pcr/0=aa event/0=a1 event/0=a2 pcr/7=bb");
    assert_eq!(learned.keys().collect::<Vec<_>>(), ["event/0", "pcr/7"]);
    assert_eq!(learned["event/0"].len(), 2);
}

#[test]
fn references_have_a_form_and_an_end() {
    let digest = "a".repeat(64);
    assert_eq!(check_references(&references(&format!("pcr/0={digest}"))), Ok(()));
    assert!(check_references(&references("pcr/0=AA")).is_err());
    assert!(check_references(&references("pcr/0=aa")).is_err(), "too short to be a digest");
    assert!(check_references(&References::from([(String::from("pcr/0"), BTreeSet::new())])).is_err());
    assert!(check_references(&References::from([(String::new(), BTreeSet::from([digest]))])).is_err());
    let many = (0..=limits::ATTESTATION_REFERENCES).map(|n| (String::from("event/4"), n.to_string())).collect();
    assert_eq!(learn(&References::new(), &many), None);
}

#[test]
fn what_a_device_may_do() {
    let required = ClassRule { required: true, ..ClassRule::default() };
    let policy = AttestationPolicy {
        classes: BTreeMap::from([(Class::Gateway, required)]),
        every_hours: 24,
        grace_hours: 2,
        ..AttestationPolicy::default()
    };
    let last = |verdict| Some(Last { verdict, at: Timestamp::from_secs(0) });
    let at = |hours: i64| Timestamp::from_secs(hours * 3600);
    let cases = [
        (Class::Sensor, None, 0, Standing::Full),
        (Class::Sensor, last(Verdict::Contraindicated), 99, Standing::Full),
        (Class::Gateway, None, 0, Standing::Restricted(Why::NeverAttested)),
        (Class::Gateway, last(Verdict::Affirming), 0, Standing::Full),
        (Class::Gateway, last(Verdict::Affirming), 26, Standing::Full),
        (Class::Gateway, last(Verdict::Affirming), 27, Standing::Restricted(Why::Overdue)),
        (Class::Gateway, last(Verdict::Warning), 0, Standing::Restricted(Why::Warned)),
        (Class::Gateway, last(Verdict::Contraindicated), 0, Standing::Restricted(Why::Failed)),
    ];
    for (class, last, hours, expect) in cases {
        assert_eq!(standing(&policy, class, last, at(hours)), expect, "{class} {last:?} {hours}");
    }
    let lenient = AttestationPolicy {
        on_failure: OnFailure::Warn,
        every_hours: 0,
        classes: BTreeMap::from([(
            Class::Gateway,
            ClassRule { required: true, accept_warning: true, ..ClassRule::default() },
        )]),
        ..policy
    };
    for verdict in [Verdict::Affirming, Verdict::Warning, Verdict::Contraindicated] {
        assert_eq!(standing(&lenient, Class::Gateway, last(verdict), at(9999)), Standing::Full, "{verdict}");
    }
}
