//! SoftHSM2 through its library.
//!
//! A process has one PKCS#11 application in it, and the library reads its folder from the environment when it is loaded. So
//! each case makes tokens with the programs of others and runs as a process of its own: the test starts this binary again.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fleetward_base::Secret;
use fleetward_pki::Signer;
use fleetward_vault::{Module, ModuleConfig, Pkcs11Seal, RootSeal, RootSealError, TokenError, Tokens};
use tempfile::TempDir;

use crate::{holds_each_byte, made, opened};

const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Where a case finds its token; without it, as a test among others, it is not asked.
const FOLDER: &str = "FLEETWARD_TOKEN_FOLDER";

/// A folder with a token `fleet` (PIN 1234), in which are an AES key `aes` and an RSA key `rsa`.
fn token() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).expect("a folder");
    let config =
        format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(folder.path().join("softhsm2.conf"), config).expect("written");
    let init = ["--init-token", "--free", "--label", "fleet", "--so-pin", "4321", "--pin", "1234"];
    run(folder.path(), "softhsm2-util", &init);
    let common = ["--module", LIBRARY, "--token-label", "fleet", "--login", "--pin", "1234"];
    let aes = ["--keygen", "--key-type", "AES:32", "--label", "aes", "--sensitive", "--usage-decrypt"];
    run(folder.path(), "pkcs11-tool", &[&common[..], &aes].concat());
    let rsa = ["--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--usage-decrypt"];
    run(folder.path(), "pkcs11-tool", &[&common[..], &rsa].concat());
    folder
}

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let config = folder.join("softhsm2.conf");
    let done = Command::new(program).args(arguments).env("SOFTHSM2_CONF", config).output();
    let done = done.unwrap_or_else(|error| panic!("{program} is not installed (scripts/setup.sh test): {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Runs one of the cases below in a process that has this token.
fn in_process(case: &str, folder: &Path) {
    let program = std::env::current_exe().expect("this program");
    let name = format!("token::{case}");
    let done = Command::new(program)
        .args(["--exact", &name, "--nocapture"])
        .env("SOFTHSM2_CONF", folder.join("softhsm2.conf"))
        .env(FOLDER, folder)
        .output()
        .expect("it starts");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

fn module(pin: &str) -> Module {
    Module::load(ModuleConfig { library: LIBRARY.into(), pin: Secret::new(pin.to_owned()) }).expect("the library loads")
}

fn seal(module: &Module, uri: &str) -> Arc<dyn RootSeal> {
    Arc::new(Pkcs11Seal::new(module.clone(), uri.parse().expect("a URI")))
}

#[test]
fn a_token_keeps_the_root_key() {
    in_process("case_root_key", token().path());
}

#[test]
fn a_token_signs() {
    in_process("case_signing", token().path());
}

#[test]
fn a_wrong_pin_is_tried_once() {
    in_process("case_wrong_pin", token().path());
}

#[test]
fn a_token_that_is_gone_is_out_of_reach() {
    let folder = token();
    std::fs::remove_dir_all(folder.path().join("tokens")).expect("it was there");
    std::fs::create_dir(folder.path().join("tokens")).expect("a folder");
    in_process("case_gone", folder.path());
}

#[tokio::test]
async fn case_root_key() {
    if std::env::var_os(FOLDER).is_none() {
        return;
    }
    let module = module("1234");
    for label in ["aes", "rsa"] {
        let seal = seal(&module, &format!("pkcs11:token=fleet;object={label}"));
        let (rows, sealed) = made(&seal).await;
        assert_eq!(opened(&seal, &rows, &sealed).await.expect("opens"), b"plain");
        holds_each_byte(&seal, &rows, &sealed).await;
    }
    // What one key wrapped does not open under the other, and not under one that is not there.
    let (rows, sealed) = made(&seal(&module, "pkcs11:token=fleet;object=aes")).await;
    for other in ["rsa", "nothing"] {
        let refused = opened(&seal(&module, &format!("pkcs11:token=fleet;object={other}")), &rows, &sealed).await;
        assert!(matches!(refused, Err(RootSealError::Refused { .. })), "{other}: {refused:?}");
    }
    let elsewhere = opened(&seal(&module, "pkcs11:token=other;object=aes"), &rows, &sealed).await;
    assert!(matches!(elsewhere, Err(RootSealError::Unreachable { .. })), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_signing() {
    if std::env::var_os(FOLDER).is_none() {
        return;
    }
    let module = module("1234");
    let uri = "pkcs11:token=fleet;object=issuing";
    let missing = module.signer(uri).await.err();
    assert!(matches!(missing, Some(TokenError::NoKey(_))), "{missing:?}");
    let made = module.generate(uri).await.expect("a key pair");
    let again = module.generate(uri).await.err();
    assert!(matches!(again, Some(TokenError::NoKey(_))), "a key is never made over another: {again:?}");
    let key = module.signer(uri).await.expect("the key");
    assert_eq!(key.public_spki(), made.public_spki());
    // Many at once, from threads that may wait.
    let signing = (0..32u8).map(|number| {
        let key: Arc<dyn Signer> = Arc::clone(&key);
        tokio::task::spawn_blocking(move || (number, key.sign(&[number; 100]).expect("signs")))
    });
    for signed in futures_of(signing.collect()).await {
        let (number, signature) = signed;
        let point = key.public_spki().get(26..).expect("a point");
        let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1, point);
        public.verify(&[number; 100], &signature).expect("it fits");
    }
    // An RSA key is no signing key of ours, and the message says which.
    let rsa = module.signer("pkcs11:token=fleet;object=rsa").await.err();
    assert!(matches!(&rsa, Some(TokenError::NoKey(why)) if why.contains("P-256")), "{rsa:?}");
}

async fn futures_of<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("it ends"));
    }
    done
}

#[tokio::test]
async fn case_wrong_pin() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let module = module("9999");
    for _ in 0..20 {
        let refused = module.signer("pkcs11:token=fleet;object=issuing").await.err();
        assert!(matches!(&refused, Some(TokenError::Refused(why)) if why.contains("PIN is wrong")), "{refused:?}");
    }
    // Asked twenty times with a wrong PIN the token would have locked itself.
    let list = ["--module", LIBRARY, "--token-label", "fleet", "--login", "--pin", "1234", "--list-objects"];
    run(Path::new(&folder), "pkcs11-tool", &list);
}

#[tokio::test]
async fn case_gone() {
    if std::env::var_os(FOLDER).is_none() {
        return;
    }
    let module = module("1234");
    let gone = module.signer("pkcs11:token=fleet;object=aes").await.err();
    assert!(matches!(&gone, Some(TokenError::Unreachable(why)) if why.contains("no token")), "{gone:?}");
    let absent = ModuleConfig { library: "/nowhere/libnone.so".into(), pin: Secret::new("1".to_owned()) };
    let absent = Module::load(absent).err();
    assert!(matches!(&absent, Some(TokenError::Unreachable(why)) if why.contains("/nowhere")), "{absent:?}");
}
