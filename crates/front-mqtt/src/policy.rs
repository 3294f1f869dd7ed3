//! Which topics are whose. Deny by default; the broker keeps tenants apart before this is asked.
//!
//! | topics | publish | subscribe |
//! |---|---|---|
//! | `$aws/things/{itself}/..` | requests only, never retained | yes |
//! | `$fleetward/things/{itself}/attest/..` | requests only, never retained | yes |
//! | `{anything}/{itself}` and below, such as `devices/gw-1/status` | yes | yes |
//! | `shared/..` | yes | yes |
//! | `fleet/..` | no: operators do | yes |
//!
//! That is for a device with all its rights. One with [`DeviceRights::Restricted`] keeps its jobs and its attestation, and of its
//! own topics those
//! with `attest`, `diagnostics`, `identity` or `status` in the third level: enough to prove itself, to be updated, and to be
//! looked at. Guests are no devices yet: one with [`DeviceRights::Claim`] publishes the requests of fleet provisioning and
//! hears their answers, one with [`DeviceRights::Registrant`] those of Azure's registration.
//!
//! The second level says whose a topic is, so that `telemetry/gw-1/cpu` and `devices/gw-1/log` are both a device's own and
//! nobody else's. What a tenant's topic policies give and take comes on top (`core::topic_policy`). A filter is allowed where everything that it can match is: below the part that decides it may hold
//! wildcards, and in the first level too, since what stands there decides nothing for those who listen.

use fleetward_broker::Principal;
use fleetward_core::access::DeviceRights;
use fleetward_core::topic_policy::Act;
use fleetward_wire::attest;
use fleetward_wire::aws::provisioning;
use fleetward_wire::aws::topic::{self, What};
use fleetward_wire::azure;

/// What every device of a tenant publishes and subscribes to.
const SHARED: &str = "shared/";
/// What operators publish to all devices of a tenant.
const FLEET: &str = "fleet/";

/// The third level of a device's own topics that are left to it with [`DeviceRights::Restricted`].
const RESTRICTED: [&str; 4] = ["attest", "diagnostics", "identity", "status"];

/// Whether the built-in rules let a device do it.
pub fn built_in(rights: DeviceRights, device: &str, act: Act, topic: &str) -> bool {
    match act {
        Act::Connect => true,
        Act::Publish => may_publish(rights, device, topic, false),
        Act::Retain => may_publish(rights, device, topic, true),
        Act::Subscribe => may_subscribe(rights, device, topic),
        Act::Receive => may_receive(rights, device, topic),
    }
}

/// Whether a connection may do it: by its tenant's policies, which only take from guests and from those in quarantine, and
/// by the built-in rules.
pub(crate) fn may(principal: &Principal, act: Act, topic: &str) -> bool {
    let (rights, device) = (principal.rights, principal.device.as_str());
    let built_in = |act| built_in(rights, device, act, topic);
    match principal.topics.read() {
        None => built_in(act),
        Some(topics) => topics.judge(act, topic, device, rights == DeviceRights::Full, built_in).is_allowed(),
    }
}

/// Whether `device` may publish to `topic`.
pub fn may_publish(rights: DeviceRights, device: &str, topic: &str, retain: bool) -> bool {
    if rights.is_guest() {
        return !retain && may_ask(rights, topic);
    }
    if topic.starts_with(attest::PREFIX) {
        return !retain && attest::parse(topic).is_some_and(|topic| topic.device == device && topic.is_request());
    }
    if topic.starts_with('$') {
        let request = topic::parse(topic).filter(|topic| topic.thing == device && topic.is_request());
        return !retain && request.is_some_and(|topic| may_request(rights, &topic.what));
    }
    match rights {
        DeviceRights::Full => below(topic, SHARED) || (own(device, topic) && !topic.starts_with(FLEET)),
        DeviceRights::Restricted => left(device, topic) && !topic.starts_with(FLEET),
        DeviceRights::Claim | DeviceRights::Registrant => false,
    }
}

/// Whether `device` may subscribe to `filter`.
pub fn may_subscribe(rights: DeviceRights, device: &str, filter: &str) -> bool {
    may_receive(rights, device, filter)
}

/// Whether a message on `topic` may reach `device`.
pub fn may_receive(rights: DeviceRights, device: &str, topic: &str) -> bool {
    match rights {
        DeviceRights::Claim => return answers_to_claims(topic),
        DeviceRights::Registrant => return answers_to_registrants(topic),
        DeviceRights::Full | DeviceRights::Restricted => {}
    }
    if let Some(rest) = topic.strip_prefix(attest::PREFIX) {
        let rest = rest.strip_prefix(device).and_then(|rest| rest.strip_prefix("/attest/"));
        return rest.is_some_and(|rest| !rest.is_empty());
    }
    if topic.starts_with('$') {
        let rest = topic.strip_prefix(topic::PREFIX).and_then(|rest| rest.strip_prefix(device));
        let rest = rest.and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.is_empty());
        return match rights {
            DeviceRights::Full => rest.is_some(),
            DeviceRights::Restricted => rest.is_some_and(|rest| rest.starts_with("jobs/")),
            DeviceRights::Claim | DeviceRights::Registrant => false,
        };
    }
    match rights {
        DeviceRights::Full => below(topic, SHARED) || below(topic, FLEET) || own(device, topic),
        DeviceRights::Restricted => left(device, topic),
        DeviceRights::Claim | DeviceRights::Registrant => false,
    }
}

/// Whether a guest may ask for it.
fn may_ask(rights: DeviceRights, topic: &str) -> bool {
    match rights {
        DeviceRights::Claim => provisioning::parse(topic).is_some_and(|topic| topic.is_request()),
        DeviceRights::Registrant => azure::Request::parse(topic).is_some(),
        DeviceRights::Full | DeviceRights::Restricted => false,
    }
}

/// Whether a filter asks only for answers of fleet provisioning. AWS's clients ask by `+` in the last level too.
fn answers_to_claims(filter: &str) -> bool {
    let named = match filter.rsplit_once('/') {
        Some((request, "+")) => provisioning::parse(request).filter(provisioning::Topic::is_request),
        _ => provisioning::parse(filter).filter(|topic| !topic.is_request()),
    };
    named.is_some()
}

/// Whether a message or a filter is an answer of Azure's registration.
fn answers_to_registrants(topic: &str) -> bool {
    topic
        .strip_prefix(azure::topic::PREFIX)
        .and_then(|rest| rest.strip_prefix("res/"))
        .is_some_and(|rest| !rest.is_empty())
}

const fn may_request(rights: DeviceRights, what: &What<'_>) -> bool {
    match rights {
        DeviceRights::Full => true,
        DeviceRights::Restricted => matches!(what, What::Jobs(_)),
        DeviceRights::Claim | DeviceRights::Registrant => false,
    }
}

/// Whether it is one of the device's own topics that are left to it: the third level is as fixed as the second.
fn left(device: &str, topic: &str) -> bool {
    own(device, topic) && topic.split('/').nth(2).is_some_and(|third| RESTRICTED.contains(&third))
}

/// Whether a topic is this device's and nobody else's: not what all share, nor what operators say to all.
pub(crate) fn is_own(device: &str, topic: &str) -> bool {
    own(device, topic) && !topic.starts_with(SHARED) && !topic.starts_with(FLEET)
}

/// Whether the second level is the device's name. A name holds neither wildcards nor slashes, so a filter with it there
/// matches only topics with it there; and a wildcard in the first level does not reach `$` (MQTT 5.0 §4.7.2).
fn own(device: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    let first = levels.next().unwrap_or_default();
    if first.is_empty() || first == "#" || levels.next() != Some(device) {
        return false;
    }
    // `devices/gw-1/` is a level without a name, and most likely a mistake.
    levels.next().is_none_or(|third| !third.is_empty())
}

/// Whether `topic` is something below `tree`, which ends with a slash.
fn below(topic: &str, tree: &str) -> bool {
    topic.strip_prefix(tree).is_some_and(|rest| !rest.is_empty())
}

/// Whether `filter` matches `topic` (MQTT 5.0 §4.7), for filters that [`may_subscribe`] lets through: their first level is
/// fixed, so the rule on `$` does not come up.
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            (None, None) => return true,
            // `a/#` matches `a` too.
            (Some(_), None) | (None, Some(_)) | (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(topic: &str, expect: bool) {
        assert_eq!(may_publish(DeviceRights::Full, "gw-1", topic, false), expect, "{topic}");
    }

    fn subscribe(filter: &str, expect: bool) {
        assert_eq!(may_subscribe(DeviceRights::Full, "gw-1", filter), expect, "{filter}");
    }

    #[test]
    fn publishing() {
        publish("devices/gw-1/status", true);
        publish("devices/gw-1/a/b/c", true);
        publish("devices/gw-1", true);
        publish("telemetry/gw-1/cpu", true);
        publish("shared/x", true);
        publish("$aws/things/gw-1/shadow/get", true);
        publish("$aws/things/gw-1/shadow/name/config/update", true);
        publish("$aws/things/gw-1/jobs/start-next", true);
        publish("$fleetward/things/gw-1/attest/evidence/cbor", true);
        for denied in [
            "",
            "x",
            "devices",
            "devices/",
            "gw-1",
            "gw-1/devices",
            "/gw-1/x",
            "devices/gw-1/",
            "devices/gw-2/status",
            "devices/gw-2/gw-1",
            "telemetry/gw-2/cpu",
            "fleet/gw-1",
            "devices/gw-10/status",
            "devices/gw-1x/status",
            "shared",
            "shared/",
            "fleet/news",
            "sharedx/y",
            "/devices/gw-1/status",
            "$aws/things/gw-1/shadow/get/accepted",
            "$aws/things/gw-1/shadow/update/delta",
            "$aws/things/gw-1/jobs/notify",
            "$aws/things/gw-1/unknown",
            "$aws/things/gw-2/shadow/get",
            "$aws/rules/r/x",
            "$fleetward/things/gw-1/attest/evidence/json/accepted",
            "$fleetward/things/gw-1/attest/rumour/json",
            "$fleetward/things/gw-1/x",
            "$fleetward/things/gw-2/attest/evidence/json",
            "$SYS/uptime",
            "$share/g/shared/x",
        ] {
            publish(denied, false);
        }
        assert!(!may_publish(DeviceRights::Full, "gw-1", "$aws/things/gw-1/shadow/update", true), "never retained");
        assert!(may_publish(DeviceRights::Full, "gw-1", "devices/gw-1/status", true));
    }

    #[test]
    fn subscribing() {
        for allowed in [
            "devices/gw-1/#",
            "devices/gw-1/+/x",
            "devices/gw-1/status",
            "devices/gw-1",
            "telemetry/gw-1/#",
            "+/gw-1/#",
            "shared/#",
            "shared/+/x",
            "fleet/#",
            "$aws/things/gw-1/#",
            "$aws/things/gw-1/shadow/get/+",
            "$aws/things/gw-1/jobs/notify-next",
            "$fleetward/things/gw-1/attest/#",
            "$fleetward/things/gw-1/attest/+/json/accepted",
        ] {
            subscribe(allowed, true);
        }
        for denied in [
            "#",
            "+",
            "+/#",
            "+/+/status",
            "gw-1/#",
            "#/gw-1",
            "devices/#",
            "devices/+/status",
            "devices/+/#",
            "devices/gw-2/#",
            "devices/gw-1#",
            "telemetry/+/gw-1",
            "$aws/#",
            "$aws/things/#",
            "$aws/things/+/shadow/update/accepted",
            "$aws/things/gw-2/#",
            "$aws/+/gw-1/#",
            "$fleetward/#",
            "$fleetward/things/+/attest/#",
            "$fleetward/things/gw-1/#",
            "$fleetward/things/gw-10/attest/#",
            "$share/g/shared/x",
            "$SYS/#",
            "$events/#",
            "shared",
            "acme/devices/gw-1/#",
        ] {
            subscribe(denied, false);
        }
    }

    #[test]
    fn what_is_left_in_quarantine() {
        let publish = |topic| may_publish(DeviceRights::Restricted, "gw-1", topic, false);
        let subscribe = |filter| may_subscribe(DeviceRights::Restricted, "gw-1", filter);
        for left in ["devices/gw-1/attest/quote", "devices/gw-1/diagnostics", "devices/gw-1/status"] {
            assert!(publish(left) && subscribe(left), "{left}");
        }
        assert!(publish("$aws/things/gw-1/jobs/start-next") && subscribe("$aws/things/gw-1/jobs/#"));
        let own = "$fleetward/things/gw-1/attest/challenge/json";
        assert!(publish(own) && subscribe("$fleetward/things/gw-1/attest/#"));
        assert!(subscribe("devices/gw-1/attest/#") && subscribe("+/gw-1/identity/renew"));
        for taken in [
            "devices/gw-1",
            "devices/gw-1/log",
            "telemetry/gw-1/cpu",
            "shared/x",
            "fleet/news",
            "devices/gw-2/attest/quote",
            "$aws/things/gw-1/shadow/update",
            "$aws/things/gw-1/shadow/get",
            "$aws/things/gw-2/jobs/start-next",
        ] {
            assert!(!publish(taken) && !subscribe(taken), "{taken}");
        }
        for wide in ["devices/gw-1/#", "devices/gw-1/+/x", "$aws/things/gw-1/#", "$aws/things/gw-1/+/x", "fleet/#"] {
            assert!(!subscribe(wide), "{wide}");
        }
    }

    #[test]
    fn guests_have_no_topics_of_a_device_nor_of_each_other() {
        let (claim, registrant) = (DeviceRights::Claim, DeviceRights::Registrant);
        let attests = "$fleetward/things/gw-1/attest/challenge/json";
        for topic in ["devices/gw-1/status", "shared/x", "fleet/news", "$aws/things/gw-1/jobs/get", attests] {
            for rights in [claim, registrant] {
                assert!(!may_publish(rights, "gw-1", topic, false), "{topic}");
                assert!(!may_receive(rights, "gw-1", topic), "{topic}");
            }
        }
        for (rights, own, answer) in [
            (claim, "$aws/certificates/create/json", "$aws/certificates/create/json/accepted"),
            (
                registrant,
                "$dps/registrations/PUT/iotdps-register/?$rid=1",
                "$dps/registrations/res/202/?$rid=1&retry-after=3",
            ),
        ] {
            let other = if rights == claim { registrant } else { claim };
            assert!(may_publish(rights, "x", own, false) && may_receive(rights, "x", answer), "{own}");
            assert!(!may_publish(rights, "x", own, true), "never retained");
            assert!(!may_publish(other, "x", own, false) && !may_receive(other, "x", answer), "{own}");
        }
    }

    #[test]
    fn filters_match_topics() {
        for (filter, topic, expect) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/b", "a/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expect, "{filter} {topic}");
        }
    }
}
