//! The ceremony of a root that is kept offline, from an empty folder to an authority of a tenant.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleetward_app::{authority, offline_root};
use fleetward_pki::Certificate;
use serde_json::Value;

use crate::house::{House, Run, away};

const PASSPHRASE: &str = "correct horse battery staple";

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

async fn create(folder: &Path, passphrase: &str) -> Run {
    let args = ["ca", "root", "create", "--offline", "--out", utf8(folder), "--passphrase", "env:PASSPHRASE"];
    away(&[&args[..], &["-o", "json"]].concat(), passphrase, "").await
}

async fn sign(root: &Path, request: &Path, out: &Path, passphrase: &str, said: &str) -> Run {
    let args =
        ["ca", "sign", "--root", utf8(root), utf8(request), "--out", utf8(out), "--passphrase", "env:PASSPHRASE"];
    away(&[&args[..], &["-o", "json"]].concat(), passphrase, said).await
}

fn certificate(folder: &Path) -> Certificate {
    let bytes = std::fs::read(folder.join("root.pem")).expect("a certificate");
    offline_root::root_certificate(&bytes).expect("a root")
}

#[tokio::test]
async fn a_root_stays_with_whoever_made_it() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("root");
    let short = create(&folder, "short").await;
    assert!(short.code == 1 && short.err.contains("twelve") || short.err.contains("12"), "{short:?}");
    let made = create(&folder, PASSPHRASE).await.json();
    assert_eq!(made["fingerprint"], certificate(&folder).fingerprint());
    for name in ["root.key", "root.salt"] {
        let mode = std::fs::metadata(folder.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = std::fs::read(folder.join("root.key")).expect("there");
    assert!(!String::from_utf8_lossy(&key).contains("PRIVATE"));
    let again = create(&folder, PASSPHRASE).await;
    assert!(again.code == 2 && again.err.contains("is there already"), "{again:?}");
    assert_eq!(std::fs::read(folder.join("root.key")).expect("there"), key, "nothing is overwritten");
    let bare = away(&["ca", "root", "create", "--offline", "--out", utf8(&place.path().join("b"))], "", "").await;
    assert!(bare.code == 2 && bare.err.contains("--passphrase"), "{bare:?}");
    let shown = away(&["ca", "root", "show", "--root", utf8(&folder), "-o", "json"], "", "").await.json();
    assert_eq!(shown["fingerprint"], made["fingerprint"]);
}

#[tokio::test]
async fn from_an_empty_folder_to_an_authority_of_a_tenant() {
    let place = tempfile::tempdir().expect("a folder");
    let (root, other, carried) = (place.path().join("root"), place.path().join("other"), place.path().join("carried"));
    create(&root, PASSPHRASE).await.json();
    create(&other, PASSPHRASE).await.json();
    std::fs::create_dir(&carried).expect("a folder");
    let house = House::under(&certificate(&root)).await;
    let acme = "acme".parse().expect("a name");
    assert!(authority::authority_chain(&house.app, Some(&acme)).await.is_err());

    let asked = house.run(&["ca", "csr", "--out", utf8(&carried), "-o", "json"]).await.json();
    let asked: Vec<Value> = asked.as_array().expect("rows").clone();
    assert_eq!(asked.len(), 2);
    let files: Vec<_> = asked.iter().map(|row| Path::new(row["file"].as_str().expect("a file")).to_owned()).collect();
    let again = house.run(&["ca", "csr", "--out", utf8(&carried)]).await;
    assert_eq!(again.code, 0, "the same again is in order: {again:?}");

    // Not by another root, not with another passphrase, not without a word, and not what is no request.
    let out = carried.join("servers.pem");
    let foreign = sign(&other, &files[0], &out, PASSPHRASE, "yes\n").await;
    assert!(foreign.code == 2 && foreign.err.contains("asks another root"), "{foreign:?}");
    let wrong = sign(&root, &files[0], &out, "another passphrase", "yes\n").await;
    assert!(wrong.code == 2 && wrong.err.contains("another passphrase"), "{wrong:?}");
    let unsaid = sign(&root, &files[0], &out, PASSPHRASE, "y\n").await;
    assert!(unsaid.code == 1 && unsaid.err.contains("not signed"), "{unsaid:?}");
    let bad = carried.join("bad.pem");
    let good = std::fs::read_to_string(&files[0]).expect("a request");
    for text in [&good[..good.len() - 40], "", "hello", &good.repeat(2), &"x".repeat(70_000)] {
        std::fs::write(&bad, text).expect("written");
        let refused = sign(&root, &bad, &out, PASSPHRASE, "yes\n").await;
        assert_eq!(refused.code, 2, "{refused:?}");
    }
    assert!(!out.exists());

    let mut signed = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let out = carried.join(format!("{at}.pem"));
        let run = sign(&root, file, &out, PASSPHRASE, "yes\n").await;
        assert!(run.err.contains("is to sign    an authority for"), "{run:?}");
        assert_eq!(run.json()["asks"], asked[at]["asks"]);
        let twice = sign(&root, file, &out, PASSPHRASE, "yes\n").await;
        assert!(twice.err.contains("is there already"), "{twice:?}");
        signed.push(out);
    }
    let first = house.run(&["ca", "import", utf8(&signed[0]), "-o", "json"]).await;
    assert!(first.err.contains("1 more to sign"), "{first:?}");
    assert_eq!(first.json()["waiting"].as_array().map(Vec::len), Some(1));
    let replayed = house.run(&["ca", "import", utf8(&signed[0])]).await;
    assert!(replayed.code == 5 && replayed.err.contains("imported before"), "{replayed:?}");
    let stranger = house.run(&["ca", "import", utf8(&other.join("root.pem"))]).await;
    assert!(stranger.code != 0 && stranger.err.contains("no request of this server"), "{stranger:?}");
    let last = house.run(&["ca", "import", utf8(&signed[1]), "-o", "json"]).await.json();
    assert_eq!((&last["tenants"], last["waiting"].as_array().map(Vec::len)), (&1.into(), Some(0)));
    let chain = authority::authority_chain(&house.app, Some(&acme)).await.expect("a chain");
    assert_eq!(chain.last(), Some(&certificate(&root).der));

    // Another root follows the same way.
    let start = ["ca", "rotation", "start", "--root", "--root-certificate"];
    let pem = other.join("root.pem");
    let started = house.run(&[&start[..], &[utf8(&pem), "-o", "json"]].concat()).await.json();
    assert!(started["waits"].as_str().is_some_and(|waits| waits.starts_with("4 certificates")), "{started}");
    let asked = house.run(&["ca", "csr", "--out", utf8(&carried), "-o", "json"]).await.json();
    let mut import = vec!["ca".to_owned(), "import".to_owned()];
    for (at, row) in asked.as_array().expect("rows").iter().enumerate() {
        let by = if row["root"] == started["old"] { &root } else { &other };
        let out = carried.join(format!("second-{at}.pem"));
        let file = row["file"].as_str().expect("a file");
        sign(by, Path::new(file), &out, PASSPHRASE, "yes\n").await.json();
        import.push(utf8(&out).to_owned());
    }
    let import: Vec<&str> = import.iter().map(String::as_str).collect();
    assert_eq!(house.run(&import).await.code, 0);
    let advance = house.run(&["ca", "rotation", "advance", "--root", "-o", "json"]).await.json();
    assert_eq!(advance["stage"], "issue");
    let lagging = house.run(&["ca", "rotation", "lagging", "-o", "json"]).await.json();
    assert_eq!(lagging, serde_json::json!([]));
}
