//! Which topics are whose. Deny by default; the broker keeps tenants apart before this is asked.
//!
//! | topics | publish | subscribe |
//! |---|---|---|
//! | `$aws/things/{itself}/..` | requests only, never retained | yes |
//! | `{anything}/{itself}` and below, such as `devices/gw-1/status` | yes | yes |
//! | `shared/..` | yes | yes |
//! | `fleet/..` | no: operators do | yes |
//!
//! The second level says whose a topic is, so that `telemetry/gw-1/cpu` and `devices/gw-1/log` are both a device's own and
//! nobody else's. A filter is allowed where everything that it can match is: below the part that decides it may hold
//! wildcards, and in the first level too, since what stands there decides nothing for those who listen.

use fleetward_wire::aws::topic;

/// What every device of a tenant publishes and subscribes to.
const SHARED: &str = "shared/";
/// What operators publish to all devices of a tenant.
const FLEET: &str = "fleet/";

/// Whether `device` may publish to `topic`.
pub fn may_publish(device: &str, topic: &str, retain: bool) -> bool {
    if topic.starts_with('$') {
        return !retain && topic::parse(topic).is_some_and(|topic| topic.thing == device && topic.is_request());
    }
    below(topic, SHARED) || (own(device, topic) && !topic.starts_with(FLEET))
}

/// Whether `device` may subscribe to `filter`.
pub fn may_subscribe(device: &str, filter: &str) -> bool {
    may_receive(device, filter)
}

/// Whether a message on `topic` may reach `device`.
pub fn may_receive(device: &str, topic: &str) -> bool {
    if topic.starts_with('$') {
        let rest = topic.strip_prefix(topic::PREFIX).and_then(|rest| rest.strip_prefix(device));
        return rest.and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.is_empty());
    }
    below(topic, SHARED) || below(topic, FLEET) || own(device, topic)
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
        assert_eq!(may_publish("gw-1", topic, false), expect, "{topic}");
    }

    fn subscribe(filter: &str, expect: bool) {
        assert_eq!(may_subscribe("gw-1", filter), expect, "{filter}");
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
            "$SYS/uptime",
            "$share/g/shared/x",
        ] {
            publish(denied, false);
        }
        assert!(!may_publish("gw-1", "$aws/things/gw-1/shadow/update", true), "never retained");
        assert!(may_publish("gw-1", "devices/gw-1/status", true));
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
