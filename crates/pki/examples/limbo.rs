//! The verifier against x509-limbo: `cargo run -p fleetward-pki --example limbo -- limbo-client.json`.
//!
//! The corpus is the C2SP project's and not kept here; docs/conformance.md says how it is made. Each case's anchors are
//! registered as a factory's authorities, under which intermediates count, and its peer is shown as a device's certificate.
//! A verdict that differs from the corpus must stand in `limbo.txt` beside this file, with its reason, and what stands
//! there must differ: the list is the truth about deviations.

#![expect(clippy::print_stdout, reason = "a report is what it is for")]
#![expect(clippy::indexing_slicing, reason = "a corpus of another form ends it there")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_pki::pem;
use fleetward_pki::trust::{Authority, Kind, Presented, TrustIndex};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

const DEVIATIONS: &str = include_str!("limbo.txt");
/// Certificates that were issued to servers, as they are: none is a client's.
const SERVERS: [&str; 2] = ["online::", "bettertls::"];
/// Where a case names no time.
const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);

fn main() -> ExitCode {
    let path = std::env::args().nth(1).expect("the file of the corpus");
    let corpus: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    let mut known: BTreeMap<&str, &str> = DEVIATIONS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("an id and a reason"))
        .collect();
    let (mut agreed, mut wrong) = (0, 0);
    let all = corpus["testcases"].as_array().expect("cases");
    let cases: Vec<&Value> =
        all.iter().filter(|case| !SERVERS.iter().any(|of| text(case, "id").starts_with(of))).collect();
    for case in &cases {
        let id = text(case, "id");
        let wanted = text(case, "expected_result") == "SUCCESS";
        let verdict = judge(case);
        if verdict.is_ok() == wanted {
            agreed += 1;
        } else if known.remove(id).is_none() {
            wrong += 1;
            println!("{id}: {}", verdict.err().unwrap_or("taken".to_owned()));
        }
    }
    for id in known.keys() {
        println!("{id}: listed as a deviation, and is none");
    }
    let listed = cases.len() - agreed - wrong;
    let servers = all.len() - cases.len();
    println!("{agreed} as expected, {listed} listed deviations, {wrong} others; {servers} of servers passed over");
    if wrong == 0 && known.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the verifier takes the case's peer, or why not.
fn judge(case: &Value) -> Result<(), String> {
    let tenant = || "acme".parse().expect("a name");
    let anchors = certificates(&case["trusted_certs"]);
    let of = |certificate| Authority { tenant: tenant(), kind: Kind::Factory, certificate };
    let index = TrustIndex::new(anchors.into_iter().map(of)).map_err(|error| error.to_string())?;
    let leaf = certificates(&case["peer_certificate"]).pop().ok_or("no certificate")?;
    let above: Vec<CertificateDer<'static>> =
        certificates(&case["untrusted_intermediates"]).into_iter().map(CertificateDer::from).collect();
    let now = match case["validation_time"].as_str() {
        Some(time) => {
            // Whole seconds, as certificates count them.
            let seconds = format!("{}Z", time.get(..19).unwrap_or(time));
            let time = seconds.parse::<der::DateTime>().map_err(|error| format!("{time}: {error}"))?;
            Timestamp::EPOCH.plus(time.unix_duration())
        }
        None => NOW,
    };
    match index.identify(&CertificateDer::from(leaf), &above, now, Duration::ZERO) {
        Ok(Presented::Factory(_)) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().expect("text")
}

fn certificates(value: &Value) -> Vec<Vec<u8>> {
    let blocks = match value {
        Value::String(one) => one.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    };
    pem::read(pem::CERTIFICATE, &blocks).expect("PEM")
}
