use proptest::prelude::*;

use super::*;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn json(artifacts: &str) -> String {
    format!(r#"{{"name":"gateway-os","version":"2.0.0","created_at":1795171980000,"artifacts":[{artifacts}]}}"#)
}

fn artifact(filename: &str, hardware: &str) -> String {
    format!(r#"{{"hardware":[{hardware}],"filename":"{filename}","sha256":"{HASH}","size":3}}"#)
}

fn refusal(text: &str) -> String {
    Manifest::parse(text.as_bytes()).expect_err(text).to_string()
}

#[test]
fn each_hardware_gets_its_artifact() {
    let text = json(&[artifact("a.img", r#""r1","r2""#), artifact("b.img", r#""r3""#)].join(","));
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(select(&manifest, "r2").unwrap().filename, "a.img");
    assert_eq!(select(&manifest, "r3").unwrap().filename, "b.img");
    let none = select(&manifest, "r4").unwrap_err();
    assert_eq!(none.known, ["r1", "r2", "r3"]);
    assert!(select(&manifest, "R1").is_err(), "revisions are compared byte by byte");
}

#[test]
fn what_is_refused_and_why() {
    let good = artifact("a.img", r#""r1""#);
    for (text, why) in [
        (String::new(), "JSON"),
        ("null".into(), "JSON"),
        (json(&good).replace("2.0.0", "2.0.0\",\"extra\":\"x"), "unknown field"),
        (json(&good).replace(r#""name""#, r#""name":"x","name""#), "duplicate field"),
        (json(&good.replace(r#""size":3"#, r#""size":3,"size":4"#)), "duplicate field"),
        (format!("{} x", json(&good)), "trailing"),
        (json(&good).replace("gateway-os", "../etc"), "`name`"),
        (json(&good).replace("gateway-os", ""), "`name`"),
        (json(&good).replace("2.0.0", "2.0/0"), "`version`"),
        (json(&good).replace("2.0.0", &"1".repeat(129)), "`version`"),
        (json(&good).replace("1795171980000", "-1"), "`created_at`"),
        (json(&good).replace("1795171980000", "1.5"), "JSON"),
        (json(""), "0 artifacts"),
        (
            json(&(0..65).map(|i| artifact(&format!("{i}"), &format!("\"h{i}\""))).collect::<Vec<_>>().join(",")),
            "65 art",
        ),
        (json(&artifact("a/b", r#""r1""#)), "`artifacts.filename`"),
        (json(&artifact("..", r#""r1""#)), "`artifacts.filename`"),
        (json(&artifact(".hidden", r#""r1""#)), "`artifacts.filename`"),
        (json(&artifact("a.img", "")), "`artifacts.hardware`"),
        (json(&artifact("a.img", r#""""#)), "`artifacts.hardware`"),
        (json(&artifact("a.img", r#""r\n1""#)), "`artifacts.hardware`"),
        (json(&artifact("a.img", r#"" r1""#)), "`artifacts.hardware`"),
        (json(&good.replace(":3", ":0")), "`artifacts.size`"),
        (json(&good.replace(":3", ":-3")), "JSON"),
        (json(&good.replace(":3", ":17179869185")), "`artifacts.size`"),
        (json(&good.replace("ba78", "BA78")), "SHA-256"),
        (json(&[artifact("a", r#""r1","r2""#), artifact("b", r#""r2""#)].join(",")), "claim hardware revision `r2`"),
        (json(&artifact("a", r#""r1","r1""#)), "claim hardware revision `r1`"),
        (json(&[artifact("a", r#""r1""#), artifact("a", r#""r2""#)].join(",")), "two artifacts are named"),
        (json(&[artifact("a", r#""r1""#), artifact("b", r#""r2""#).replace(":3", ":4")].join(",")), "two sizes"),
        (" ".repeat(limits::MANIFEST_BYTES + 1), "at most"),
        (format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), "JSON"),
    ] {
        assert!(refusal(&text).contains(why), "{text}\n  said: {}", refusal(&text));
    }
}

#[test]
fn one_file_may_serve_two_hardware_families_under_two_names() {
    let text = json(&[artifact("a", r#""r1""#), artifact("b", r#""r2""#)].join(","));
    assert!(Manifest::parse(text.as_bytes()).is_ok());
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let part = ("[a-z0-9][a-z0-9._+-]{0,12}", any::<[u8; 32]>(), 1..limits::ARTIFACT_BYTES, 1..4_usize);
    ("[a-zA-Z0-9][a-z0-9._+-]{0,20}", "[0-9][0-9a-z.+-]{0,10}", 0..i64::MAX, prop::collection::vec(part, 1..8))
        .prop_map(|(name, version, created_at, parts)| {
            let artifacts = parts.into_iter().enumerate().map(|(i, (filename, hash, size, revisions))| Artifact {
                filename: format!("{filename}{i}"),
                hardware: (0..revisions).rev().map(|r| format!("hw é\"{i}.{r}")).collect(),
                sha256: Sha256::from_bytes(hash),
                size,
            });
            let created_at = Timestamp::from_millis(created_at);
            Manifest::new(name, version, created_at, artifacts.collect()).expect("made by the rules")
        })
}

proptest! {
    #[test]
    fn canonical_form_reads_back(manifest in any_manifest()) {
        let bytes = manifest.canonical();
        let read = Manifest::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &manifest);
        prop_assert_eq!(read.canonical(), bytes);
        for revision in manifest.hardware() {
            let artifact = select(&manifest, revision).unwrap();
            prop_assert!(artifact.hardware.iter().any(|h| h == revision));
        }
    }

    #[test]
    fn order_and_white_space_do_not_change_the_canonical_form(manifest in any_manifest(), turn in 0..8_usize) {
        let mut artifacts = manifest.artifacts().to_vec();
        let count = artifacts.len();
        artifacts.rotate_left(turn % count);
        artifacts.iter_mut().for_each(|a| a.hardware.reverse());
        let again = Manifest::new(manifest.name().into(), manifest.version().into(), manifest.created_at(), artifacts);
        prop_assert_eq!(again.unwrap().canonical(), manifest.canonical());
        let pretty = serde_json::to_vec_pretty(&manifest).unwrap();
        prop_assert_eq!(Manifest::parse(&pretty).unwrap().canonical(), manifest.canonical());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _outcome = Manifest::parse(&bytes);
    }
}

#[test]
fn measurements_are_of_the_hardware_that_there_is() {
    let good = json(&artifact("a.img", r#""r1""#));
    let with = |text: &str| good.replace(r#""artifacts""#, &format!(r#""measurements":{text},"artifacts""#));
    let text = with(&format!(r#"{{"r1":{{"pcr/4":["{HASH}"]}}}}"#));
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.measurements("r1").unwrap()["pcr/4"].first().unwrap(), HASH);
    assert!(manifest.measurements("r2").is_none());
    assert_eq!(Manifest::parse(&manifest.canonical()).unwrap(), manifest);
    let without = Manifest::parse(good.as_bytes()).unwrap();
    assert!(!String::from_utf8(without.canonical()).unwrap().contains("measurements"), "older agents refuse the field");
    for bad in [
        format!(r#"{{"r2":{{"pcr/4":["{HASH}"]}}}}"#),
        r#"{"r1":{}}"#.into(),
        r#"{"r1":{"pcr/4":[]}}"#.into(),
        r#"{"r1":{"pcr/4":["AB"]}}"#.into(),
        format!(r#"{{"r1":{{"pcr 4":["{HASH}"]}}}}"#),
    ] {
        assert!(refusal(&with(&bad)).contains("measurements"), "{bad}");
    }
}
