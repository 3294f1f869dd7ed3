//! The rules on topics as an access list in Mosquitto's form, for a broker that asks nobody.
//!
//! The list is for devices with all their rights: a file knows no registry. `%u` is the user name, which has to be the name in the
//! certificate (`use_identity_as_username`); a name of a device holds no wildcard. A test holds the list to [`policy`](crate::policy)
//! by reading it as Mosquitto does: what is denied counts first.

use std::fmt::Write as _;

use fleetward_wire::aws::topic::PREFIX;

use crate::external::REQUESTS;

/// What a line allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Both,
    /// Before all others, as Mosquitto takes it.
    Deny,
}

impl Access {
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Both => "readwrite",
            Self::Deny => "deny",
        }
    }
}

/// A device's own topics. Those of operators' words to all are not among them: the first level is spelled out.
const OWN: [&str; 2] = ["devices/%u/#", "telemetry/%u/#"];

/// What only the server says, and does not say there.
const TOLD: [&str; 2] = ["devices/%u/config/desired", "devices/%u/config/rejected"];

fn lines() -> Vec<(Access, String)> {
    let requests =
        REQUESTS.iter().map(|request| (Access::Write, format!("{PREFIX}{}", request.replacen('+', "%u", 1))));
    let own = OWN.iter().map(|own| (Access::Both, (*own).to_owned()));
    let others = [
        (Access::Read, format!("{PREFIX}%u/#")),
        (Access::Both, "shared/#".to_owned()),
        (Access::Read, "fleet/#".to_owned()),
    ];
    let told = TOLD.iter().map(|told| (Access::Deny, (*told).to_owned()));
    told.chain(own).chain(others).chain(requests).collect()
}

/// The file. Whoever installs it adds the user that the server connects as.
pub(crate) fn text() -> String {
    let mut text = String::from(
        "# What devices may do, by the name in their certificate: use_identity_as_username true.\n\
         # Made by Fleetward from its own rules; ask again after an upgrade. It knows no quarantine.\n",
    );
    for (access, filter) in lines() {
        writeln!(text, "pattern {} {filter}", access.word()).expect("a string takes it");
    }
    text
}

#[cfg(test)]
mod tests {
    use fleetward_core::access::DeviceRights;

    use super::*;
    use crate::policy::{matches, may_publish, may_receive};

    fn listed(device: &str, topic: &str, write: bool) -> bool {
        let found = lines().into_iter().find(|(access, filter)| {
            let fits = matches!(access, Access::Both | Access::Deny) || (*access == Access::Write) == write;
            // A wildcard at the front does not reach `$`; no line has one.
            fits && matches(&filter.replace("%u", device), topic)
        });
        found.is_some_and(|(access, _)| access != Access::Deny)
    }

    #[test]
    fn the_list_allows_nothing_that_the_rules_do_not() {
        let mut allowed = 0;
        for topic in [
            "devices/gw-1/status",
            "devices/gw-2/status",
            "devices/gw-1/config/desired",
            "devices/gw-1/config/reported",
            "telemetry/gw-1/cpu",
            "telemetry/gw-2/cpu",
            "fleet/news",
            "fleet/gw-1",
            "shared/x",
            "$aws/things/gw-1/shadow/get",
            "$aws/things/gw-1/shadow/get/accepted",
            "$aws/things/gw-1/shadow/update/delta",
            "$aws/things/gw-1/shadow/name/config/update",
            "$aws/things/gw-1/jobs/$next/get",
            "$aws/things/gw-1/jobs/j-1/update",
            "$aws/things/gw-1/jobs/notify",
            "$aws/things/gw-2/shadow/get",
            "$aws/things/gw-10/shadow/get",
            "$aws/things/gw-2/jobs/notify",
            "$fleetward/things/gw-1/attest/challenge/json",
            "$iothub/twin/GET/?$rid=1",
            "$SYS/broker/uptime",
            "devices",
            "x",
        ] {
            let (write, read) = (listed("gw-1", topic, true), listed("gw-1", topic, false));
            assert!(!write || may_publish(DeviceRights::Full, "gw-1", topic, false), "{topic} is written");
            assert!(!read || may_receive(DeviceRights::Full, "gw-1", topic), "{topic} is read");
            allowed += usize::from(write) + usize::from(read);
        }
        assert_eq!(allowed, 21, "the list has lost something, or the topics have");
    }

    #[test]
    fn the_file_is_one_that_mosquitto_reads() {
        let text = text();
        assert!(text.contains("\npattern write $aws/things/%u/shadow/update\n"));
        let good = |line: &str| line.starts_with('#') || line.split(' ').count() == 3 && line.starts_with("pattern ");
        assert!(text.lines().all(good), "{text}");
    }
}
