//! Keys in hardware, in software that stands for it: swtpm and SoftHSM. What holds the keys is tried by itself, and by an agent
//! that enrols and renews with it.

use fleetward_agent::disk::Folder;
use fleetward_agent::identity::{KeyStore, Step};
use fleetward_agent::keys::Keys;
use fleetward_agent::keys::tpm::{TpmKeys, handle};
use fleetward_agent::record::Slot;
use fleetward_base::Timestamp;
use fleetward_pki::key::check_signature;
use serde_json::json;
use spki::AlgorithmIdentifierRef;
use tempfile::TempDir;

use crate::stage::{Device, Stage};
use crate::swtpm::Swtpm;

/// What every holder of keys promises.
fn promises(keys: &dyn Keys) {
    for place in [Slot::A, Slot::B] {
        assert!(keys.open(place).expect("asks").is_none(), "nothing is there yet");
        keys.remove(place).expect("nothing is as good");
    }
    keys.make(Slot::A).expect("makes");
    let first = keys.open(Slot::A).expect("asks").expect("a key");
    let signature = first.sign(b"message").expect("signs");
    let identifier = first.algorithm().identifier();
    let algorithm: AlgorithmIdentifierRef<'_> = der::Decode::from_der(&identifier).expect("an identifier");
    assert_eq!(check_signature(first.public_spki(), &algorithm, b"message", &signature), Ok(()));
    assert!(check_signature(first.public_spki(), &algorithm, b"massage", &signature).is_err());
    keys.make(Slot::B).expect("makes");
    let other = keys.open(Slot::B).expect("asks").expect("a key");
    assert_ne!(first.public_spki(), other.public_spki());
    let again = keys.open(Slot::A).expect("asks").expect("still there");
    assert_eq!(again.public_spki(), first.public_spki(), "the other place was not touched");
    keys.make(Slot::A).expect("makes anew");
    let anew = keys.open(Slot::A).expect("asks").expect("a key");
    assert_ne!(anew.public_spki(), first.public_spki());
    keys.remove(Slot::A).expect("takes away");
    assert!(keys.open(Slot::A).expect("asks").is_none());
    assert!(keys.open(Slot::B).expect("asks").is_some());
    keys.remove(Slot::B).expect("takes away");
}

/// A key store with these keys makes a request that holds, and knows its key again.
fn asks(keys: &dyn Keys) {
    let dir = TempDir::with_prefix("fleetward-keys-").expect("a folder");
    let folder = Folder::open(dir.path()).expect("opens");
    let store = KeyStore::new(&folder, "gw-1").with_keys(Some(keys));
    let now = Timestamp::from_secs(1_800_000_000);
    let Step::MakeKey(place) = store.next_step(now, 0.5).expect("a step") else { panic!("there is no key") };
    store.make_key(place).expect("a key");
    for _ in 0..2 {
        let Step::Enroll { request, .. } = store.next_step(now, 0.5).expect("a step") else { panic!("a key is there") };
        let csr = fleetward_pki::csr::parse(&request).expect("a request that holds");
        assert_eq!(csr.spki(), keys.open(place).expect("asks").expect("a key").public_spki());
    }
    let files = std::fs::read_dir(dir.path().join(format!("identity/{place}"))).expect("a folder").count();
    assert_eq!(files, 0, "no key lies on the disk");
    store.forget().expect("forgets");
    assert!(keys.open(place).expect("asks").is_none());
}

/// Enrols, connects, and renews when it is asked, with keys that are not on the disk.
async fn lives(stage: &Stage, device: &Device, options: &[&str]) {
    let path = format!("/v1/tenants/acme/devices/{}", device.name);
    let _agent = device.start_with(options);
    let first =
        stage.until(&path, |d| d.pointer("/certificate/serial").filter(|_| d["presence"] == "online").cloned()).await;
    stage.rest.post(&format!("{path}/renew"), &json!({ "reason": "a test", "at_once": true })).await;
    let list = format!("{path}/certificates");
    let standing = |page: &serde_json::Value, wanted: &str| {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|one| one["status"] == wanted)?.get("serial").cloned()
    };
    let (active, retired) =
        stage.until(&list, |page| Some((standing(page, "active")?, standing(page, "retired")?))).await;
    assert_eq!(retired, first, "{}", stage.logs());
    assert_ne!(active, first);
    let identity = device.data().join("identity");
    for place in ["a", "b"] {
        assert!(!identity.join(place).join("key.pem").exists(), "no key lies on the disk");
    }
}

#[test]
fn a_tpm_holds_the_keys() {
    let swtpm = Swtpm::new();
    let keys = TpmKeys::open(swtpm.place.clone()).expect("a TPM");
    promises(&keys);
    asks(&keys);
    keys.make(Slot::B).expect("makes");
    drop(keys);
    // Persistent objects are there for whoever comes next, at the handle that attestation names.
    let public = swtpm.open().read_public(handle(Slot::B)).expect("reads");
    let again = TpmKeys::open(swtpm.place.clone()).expect("a TPM");
    assert_eq!(again.open(Slot::B).expect("asks").expect("a key").public_spki(), public.spki());
}

#[tokio::test]
async fn an_agent_enrols_and_renews_with_keys_in_a_tpm() {
    let (stage, swtpm) = (Stage::new().await, Swtpm::new());
    let fleetward_agent::tpm::Place::Unix(socket) = &swtpm.place else { panic!("a socket") };
    let device = stage.device("gw-1").await;
    lives(&stage, &device, &["--keys", &format!("tpm:unix:{socket}")]).await;
}

#[cfg(feature = "pkcs11")]
mod token {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use fleetward_agent::keys::pkcs11::{Token, TokenKeys};
    use fleetward_base::Secret;

    use super::*;

    const PIN: &str = "648219";

    /// Where Debian and others put the library.
    fn module() -> String {
        let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
        let place = places.iter().find(|place| Path::new(place).exists());
        (*place.expect("scripts/setup.sh test installs softhsm2")).to_owned()
    }

    /// A token in a folder of its own.
    fn softhsm(dir: &Path) -> PathBuf {
        std::fs::create_dir_all(dir.join("tokens")).expect("a folder");
        let config = dir.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", dir.join("tokens").display());
        std::fs::write(&config, text).expect("writes");
        let mut init = Command::new("softhsm2-util");
        init.args(["--init-token", "--free", "--label", "fleetward", "--pin", PIN, "--so-pin", PIN]);
        let output = init.env("SOFTHSM2_CONF", &config).stdin(Stdio::null()).output().expect("softhsm2-util runs");
        assert!(output.status.success(), "{output:?}");
        config
    }

    /// The library reads its configuration from the environment of the process, so what it promises is tried in a process of
    /// its own: this test, started again.
    #[test]
    fn a_token_holds_the_keys() {
        if std::env::var_os("FLEETWARD_TEST_TOKEN").is_some() {
            let label = Some(String::from("fleetward"));
            let token = Token { module: module(), label, pin: Secret::new(PIN.to_owned()) };
            let keys = TokenKeys::open(&token).expect("a token");
            promises(&keys);
            asks(&keys);
            let wrong = Token { label: Some(String::from("another")), ..token };
            assert!(TokenKeys::open(&wrong).is_err(), "there is no such token");
            return;
        }
        let dir = TempDir::with_prefix("fleetward-hsm-").expect("a folder");
        let config = softhsm(dir.path());
        let mut again = Command::new(std::env::current_exe().expect("this test"));
        again.args(["--exact", "keys::token::a_token_holds_the_keys", "--nocapture"]);
        again.env("FLEETWARD_TEST_TOKEN", "1").env("SOFTHSM2_CONF", config);
        let output = again.stdin(Stdio::null()).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    #[tokio::test]
    async fn an_agent_enrols_and_renews_with_keys_in_a_token() {
        let stage = Stage::new().await;
        let device = stage.device("gw-1").await;
        let config = softhsm(stage.dir.path());
        let pin = stage.dir.path().join("pin");
        std::fs::write(&pin, format!("{PIN}\n")).expect("writes");
        let (keys, pin, config) =
            (format!("pkcs11:{}", module()), pin.display().to_string(), config.display().to_string());
        let options = ["--keys", &keys, "--pin-file", &pin, "--token-label", "fleetward", "env:SOFTHSM2_CONF", &config];
        lives(&stage, &device, &options).await;
    }
}
