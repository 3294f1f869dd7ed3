//! What the fuzz targets were given, given again: their corpora on the stable toolchain.

use std::collections::BTreeMap;
use std::path::Path;

use fleetward_base::{Timestamp, limits};
use fleetward_core::invariants::{shadow_metadata_fits, shadow_version_grew};
use fleetward_core::job::Policy;
use fleetward_core::provisioning::Template;
use fleetward_core::shadow::history::apply;
use fleetward_core::shadow::{Document, UpdateRequest, update};

#[test]
fn shadows_keep_their_invariants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_shadow");
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
        let (mut current, mut played) = (None::<Document>, serde_json::Map::new());
        for (secs, payload) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let request = UpdateRequest::parse(payload).or_else(|_| UpdateRequest::reported(payload));
            let Ok(request) = request else { continue };
            let Ok(applied) = update(current.as_ref(), &request, Timestamp::from_secs(secs)) else { continue };
            shadow_version_grew(current.as_ref(), &applied.document).expect("versions grow");
            shadow_metadata_fits(&applied.document).expect("metadata fits");
            apply(&mut played, &applied.patch);
            assert_eq!(serde_json::Value::Object(played.clone()), applied.document.state.to_value());
            current = Some(applied.document);
        }
    }
}

#[test]
fn imports_are_read_the_same_in_any_pieces() {
    use fleetward_core::inventory::import::{Format, Import, Line};
    let read = |format, pieces: &[&[u8]]| -> Option<Vec<Line>> {
        let (mut import, mut out) = (Import::new(format), Vec::new());
        pieces.iter().try_for_each(|piece| import.feed(piece, &mut out)).ok()?;
        import.finish(&mut out).ok()?;
        Some(out)
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_inventory");
    let mut rows = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
        for format in [Format::Csv, Format::JsonLines] {
            let whole = read(format, &[&bytes]);
            for at in 0..bytes.len() {
                assert_eq!(read(format, &[&bytes[..at], &bytes[at..]]), whole);
            }
            rows += whole.into_iter().flatten().filter(Result::is_ok).count();
        }
    }
    assert!(rows >= 3, "{rows} good rows");
}

#[test]
fn templates_are_evaluated_within_their_bounds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_template");
    let given = BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]);
    let certificate = BTreeMap::from([("AWS::IoT::Certificate::CommonName", "gw-1".to_owned())]);
    let mut evaluated = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let Ok(template) = Template::parse(&text) else { continue };
        let Ok(plan) = template.evaluate(&given, &certificate) else { continue };
        assert!(plan.attributes.values().map(String::len).sum::<usize>() <= limits::TEMPLATE_OUTPUT_BYTES);
        evaluated += 1;
    }
    assert!(evaluated > 0, "the corpus has lost what is good in it");
}

#[test]
fn policies_of_jobs_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_job");
    let now = Timestamp::from_secs(1_795_818_600);
    let mut good = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
        let Ok(policy) = serde_json::from_slice::<Policy>(&bytes) else { continue };
        let again = serde_json::to_vec(&policy).expect("JSON");
        assert_eq!(serde_json::from_slice::<Policy>(&again).expect("own output"), policy);
        if policy.check().is_ok() {
            let opens = policy.schedule.opens_after(now);
            assert!(opens.is_none_or(|opens| opens > now && policy.schedule.is_open(opens)));
            good += 1;
        }
    }
    assert!(good >= 4, "the corpus has lost what is good in it");
}

#[test]
fn questions_are_read_or_refused() {
    use fleetward_core::registry::Device;
    use fleetward_core::search::{Query, Subject};
    let device = Device::new("gw-1".parse().expect("a name"), Timestamp::from_secs(1));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_search");
    let (mut read, mut met) = (0, 0);
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let Ok(query) = Query::parse(&text) else { continue };
        read += 1;
        met += usize::from(query.matches(Subject { device: &device, online: false }));
    }
    assert_eq!((read, met), (3, 1), "everybody is everybody");
}

#[test]
fn topic_policies_answer_within_their_bounds() {
    use fleetward_core::topic_policy::Document;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_topic_policy");
    let mut read = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let Ok(document) = serde_json::from_str::<Document>(&text) else { continue };
        document.check().expect("what reads here is in order");
        for template in document.statements.iter().flat_map(|statement| &statement.topics) {
            let pattern = template.fill_any();
            for filter in ["a", "a/b", "a/+/c", "a/#", "+/b", "#", "devices/gw-1/#"] {
                assert!(!pattern.covers(filter) || pattern.meets(filter), "{template} {filter}");
            }
            assert!(template.as_str().starts_with('$') || !pattern.matches("$aws/x"), "{template}");
            read += 1;
        }
    }
    assert!(read > 5, "the corpus has lost what is good in it");
}
