//! What the fuzzer starts from and has found, replayed without it.

use std::path::Path;

use fleetward_supply::{Manifest, SigningKey, VerifyingKey, version};

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is checked in") {
        check(&std::fs::read(entry.expect("readable folder").path()).expect("readable file"));
        seen += 1;
    }
    assert!(seen > 0, "{} is empty", folder.display());
}

#[test]
fn manifests() {
    replay("supply_manifest", |bytes| {
        if let Ok(manifest) = Manifest::parse(bytes) {
            let canonical = manifest.canonical();
            assert_eq!(Manifest::parse(&canonical).expect("its own form").canonical(), canonical);
        }
    });
}

#[test]
fn key_files_and_versions() {
    replay("supply_key_file", |bytes| {
        let _outcome = (VerifyingKey::from_pem(bytes), SigningKey::from_pem(bytes));
        let text = String::from_utf8_lossy(bytes);
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        let (a, b) = text.split_at(middle);
        assert_eq!(version::compare(a, b), version::compare(b, a).reverse());
    });
}
