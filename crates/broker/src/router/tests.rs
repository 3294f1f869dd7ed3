use fleetward_base::Timestamp;
use proptest::prelude::*;

use super::*;

fn session(name: &str) -> Arc<Session> {
    Session::new("t".parse().expect("name"), name.parse().expect("name"), Timestamp::EPOCH)
}

fn wish(qos: Qos) -> Wish {
    Wish { qos, no_local: false, retain_as_published: false, below_only: false, identifier: 0 }
}

fn routed(router: &Router, topic: &str) -> Vec<(String, Qos)> {
    let mut targets = Vec::new();
    router.route(topic, &mut targets);
    let mut found: Vec<_> = targets.iter().map(|t| (t.session.client.to_string(), t.wish.qos)).collect();
    found.sort();
    found
}

#[test]
fn each_session_once_with_its_widest_wish() {
    let mut router = Router::default();
    let (a, b) = (session("a"), session("b"));
    router.add(&"x/y".into(), &a, wish(Qos::AtMostOnce));
    router.add(&"x/+".into(), &a, wish(Qos::AtLeastOnce));
    router.add(&"x/#".into(), &a, wish(Qos::AtMostOnce));
    router.add(&"#".into(), &b, wish(Qos::AtMostOnce));
    assert_eq!(routed(&router, "x/y"), [("a".to_owned(), Qos::AtLeastOnce), ("b".to_owned(), Qos::AtMostOnce)]);
    assert_eq!(routed(&router, "x"), [("a".to_owned(), Qos::AtMostOnce), ("b".to_owned(), Qos::AtMostOnce)]);
    assert_eq!(routed(&router, "$x/y"), []);
    router.add(&"x/y".into(), &a, wish(Qos::AtLeastOnce));
    assert_eq!(router.len(), 4);
    for filter in ["x/y", "x/+", "x/#", "#", "nothing"] {
        router.remove(filter, &a);
    }
    assert_eq!(router.len(), 1);
    router.remove("#", &b);
    assert!(router.exact.is_empty() && router.wild.iter().all(HashMap::is_empty));
}

proptest! {
    /// The router and the plain definition of matching say the same, also after removals.
    #[test]
    fn as_if_each_filter_were_tried(
        filters in proptest::collection::vec("([ab+$]|)(/([ab+]|)){0,3}(/#)?", 1..20),
        removed in proptest::collection::vec(any::<bool>(), 20),
        topics in proptest::collection::vec("([ab$]|)(/([ab]|)){0,3}", 1..20),
    ) {
        let filters: Vec<_> = filters.into_iter().filter(|f| topic::check_filter(f).is_ok()).collect();
        let sessions: Vec<_> = (0..filters.len()).map(|n| session(&format!("s{n}"))).collect();
        let mut router = Router::default();
        for (filter, session) in filters.iter().zip(&sessions) {
            router.add(&filter.as_str().into(), session, wish(Qos::AtMostOnce));
        }
        for ((filter, session), _) in filters.iter().zip(&sessions).zip(&removed).filter(|(_, r)| **r) {
            router.remove(filter, session);
        }
        for name in topics.iter().filter(|t| topic::valid_name(t)) {
            let mut expected: Vec<_> = filters.iter().zip(&sessions).zip(&removed)
                .filter(|((f, _), r)| !**r && topic::matches(f, name))
                .map(|((_, s), _)| (s.client.to_string(), Qos::AtMostOnce)).collect();
            expected.sort();
            prop_assert_eq!(routed(&router, name), expected);
        }
    }
}
