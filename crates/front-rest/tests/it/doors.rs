//! No route of any crate is without its probe: what the description does not hold stands in `golden/doors.txt`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const LIST: &str = include_str!("golden/doors.txt");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Crate and path of every `.route("..` in the sources of the doors and the server; tests inside of them aside.
fn routes() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for name in ["front-enroll", "front-mqtt", "front-rest", "front-update", "server"] {
        let mut folders = vec![root().join("crates").join(name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                    let text = std::fs::read_to_string(&path).expect("a source");
                    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
                    found.extend(literals(production).map(|route| (name.to_owned(), route)));
                }
            }
        }
    }
    found
}

/// The text in the first argument of each `.route(`, where it is one; and the paths in each list that a router is made of.
fn literals(source: &str) -> impl Iterator<Item = String> {
    let routed = source.split(".route(").skip(1).filter_map(|rest| rest.split(',').next()?.split('"').nth(1));
    let listed = source.split("fn served()").skip(1).filter_map(|rest| rest.split("\n}\n").next());
    let listed = listed.flat_map(|list| list.split('"').filter(|text| text.starts_with('/')));
    routed.chain(listed).map(str::to_owned)
}

#[test]
fn every_route_of_every_door_has_its_probe() {
    let mut listed = BTreeSet::new();
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("crate, path, probe and its name");
        let (name, path, probe, test) = (word(), word(), word(), word());
        listed.insert((name.to_owned(), path.to_owned()));
        if probe != "open" {
            let source = std::fs::read_to_string(root().join(probe)).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}(")), "{path}: there is no test {test} in {probe}");
        }
    }
    assert_eq!(routes(), listed, "a route without its line in golden/doors.txt, or a line without its route");
}
