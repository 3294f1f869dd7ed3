//! The floor table: which crate may know which. Arrows point down only.
//!
//! The table is that of `ARCHITECTURE.md`. A crate uses what stands on a lower floor; anything else is in `besides`, with
//! its reason. Crates with `only` use nothing of ours but that list. Foreign crates that a floor must never know are in
//! [`NEVER`].

use super::Finding;
use crate::workspace::{Package, Use, Workspace};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Ground,
    Pure,
    Engine,
    Work,
    Door,
    Program,
    Workshop,
}
use Floor::{Door, Engine, Ground, Program, Pure, Work, Workshop};

struct Room {
    name: &'static str,
    floor: Floor,
    /// Edges that do not point down, with the reason.
    besides: &'static [(&'static str, &'static str)],
    /// The same for tests.
    in_tests: &'static [(&'static str, &'static str)],
    /// Where this is given, nothing else of ours is used outside tests.
    only: Option<&'static [&'static str]>,
}

const fn room(name: &'static str, floor: Floor) -> Room {
    Room { name, floor, besides: &[], in_tests: &[], only: None }
}

const ROOMS: &[Room] = &[
    room("base", Ground),
    room("core", Pure),
    room("pki", Pure),
    Room { besides: &[("pki", "evidence comes with certificates, and `pki` reads them")], ..room("attest", Pure) },
    room("supply", Pure),
    room("wire", Pure),
    room("store", Engine),
    room("vault", Engine),
    room("broker", Engine),
    room("app", Work),
    Room {
        besides: &[(
            "front-rest",
            "the same callers on the same listener: one count of failed sign-ins, one key for cursors",
        )],
        ..room("front-aws", Door)
    },
    room("front-rest", Door),
    Room { in_tests: &[("sim", "its tests speak MQTT with the workshop's client")], ..room("front-mqtt", Door) },
    room("front-enroll", Door),
    room("front-update", Door),
    Room { besides: &[("sim", "`fleetward demo` runs the simulated fleet")], ..room("server", Program) },
    Room { only: Some(&["base", "pki", "attest", "supply", "wire"]), ..room("agent", Program) },
    Room { only: Some(&["base", "pki", "supply", "vault", "wire"]), ..room("ctl", Program) },
    room("sim", Workshop),
    room("xtask", Workshop),
];

/// Foreign crates by the floors that must never know them.
const NEVER: &[(&[Floor], &[&str], &str)] = &[
    (
        &[Ground, Pure],
        &[
            "tokio",
            "tokio-util",
            "futures",
            "async-trait",
            "axum",
            "hyper",
            "reqwest",
            "rusqlite",
            "tokio-postgres",
            "rustls",
            "tokio-rustls",
            "object_store",
            "tracing",
        ],
        "the pure floors do no I/O",
    ),
    (&[Work], &["axum", "hyper", "mqtt-protocol-core", "rusqlite", "tokio-postgres"], "`app` knows no HTTP, MQTT, SQL"),
    (&[Ground, Pure, Engine, Work, Door], &["anyhow"], "a library names its errors; `anyhow` is for programs"),
    (
        &[Ground, Pure, Engine, Work, Door, Program, Workshop],
        &["chrono", "time", "lazy_static", "once_cell", "rand", "native-tls", "openssl", "ring", "sqlx"],
        "the house has its own: `base::Timestamp`, `base::Rng`, `std::sync::LazyLock`, aws-lc-rs, `store`",
    ),
    (&[Door], &["rusqlite", "tokio-postgres", "deadpool-postgres"], "a door knows no SQL"),
];

pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let packages = workspace.packages()?;
    let mut found: Vec<Finding> = packages.iter().flat_map(judge).collect();
    for room in ROOMS.iter().filter(|room| !packages.iter().any(|package| package.name == room.name)) {
        found.push(Finding::new("xtask/src/tidy/floors.rs", format!("no crate `{}`: take its row away", room.name)));
    }
    Ok(found)
}

fn judge(package: &Package) -> Vec<Finding> {
    let place = format!("crate {}", package.name);
    let Some(room) = ROOMS.iter().find(|room| room.name == package.name) else {
        return vec![Finding::new(place, "has no row in the floor table (xtask/src/tidy/floors.rs, ARCHITECTURE.md)")];
    };
    let mut found = Vec::new();
    for (used, edge) in &package.ours {
        if let Err(why) = may_use(room, used, *edge) {
            found.push(Finding::new(&place, format!("must not use `{used}`: {why}")));
        }
    }
    for (exception, _) in room.besides.iter().chain(room.in_tests) {
        if !package.ours.contains_key(*exception) {
            found.push(Finding::new(&place, format!("the exception for `{exception}` is not used: take it away")));
        }
    }
    for (floors, crates, why) in NEVER.iter().filter(|(floors, ..)| floors.contains(&room.floor)) {
        debug_assert!(!floors.is_empty());
        let bad = package.foreign.iter().filter(|name| crates.contains(&name.as_str()));
        found.extend(bad.map(|name| Finding::new(&place, format!("must not use `{name}`: {why}"))));
    }
    found
}

fn may_use(room: &Room, used: &str, edge: Use) -> Result<(), String> {
    let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == used);
    if used == room.name {
        return Ok(()); // its own tests ask for a feature of it
    }
    if listed(room.besides) || (edge == Use::TestsOnly && listed(room.in_tests)) {
        return Ok(());
    }
    if edge == Use::Production && room.only.is_some_and(|only| !only.contains(&used)) {
        return Err(format!("it uses only {}", room.only.unwrap_or_default().join(", ")));
    }
    match ROOMS.iter().find(|other| other.name == used) {
        None => Err("it has no row in the floor table".to_owned()),
        Some(other) if other.floor < room.floor => Ok(()),
        Some(other) => Err(format!("{:?} must not look to {:?}", room.floor, other.floor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_edges(name: &str, ours: &[(&str, Use)], foreign: &[&str]) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            ours: ours.iter().map(|(name, edge)| ((*name).to_owned(), *edge)).collect(),
            foreign: foreign.iter().map(|name| (*name).to_owned()).collect(),
        };
        judge(&package).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn arrows_point_down() {
        assert!(judge_edges("app", &[("store", Use::Production), ("core", Use::Production)], &["tokio"]).is_empty());
        assert_eq!(judge_edges("core", &[("store", Use::Production)], &[]).len(), 1, "up");
        assert_eq!(judge_edges("store", &[("vault", Use::Production)], &[]).len(), 1, "sideways");
        assert_eq!(judge_edges("store", &[("app", Use::TestsOnly)], &[]).len(), 1, "up in tests");
        assert_eq!(judge_edges("cellar", &[], &[]).len(), 1, "not in the table");
    }

    #[test]
    fn the_agent_keeps_to_its_list() {
        assert!(judge_edges("agent", &[("pki", Use::Production)], &["tokio"]).is_empty());
        assert_eq!(judge_edges("agent", &[("core", Use::Production)], &[]).len(), 1);
    }

    #[test]
    fn the_pure_floor_does_no_io() {
        assert_eq!(judge_edges("wire", &[("base", Use::Production)], &["tokio", "serde"]).len(), 1);
        assert_eq!(judge_edges("front-rest", &[("app", Use::Production)], &["rusqlite"]).len(), 1);
    }

    #[test]
    fn an_exception_nobody_needs_is_found() {
        assert_eq!(judge_edges("server", &[("app", Use::Production)], &[]).len(), 1);
    }
}
