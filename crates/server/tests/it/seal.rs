//! `fleetward seal`, killed at any moment, and seals that do not fit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::process::{Folder, command, ready, refused, stop};

fn seal(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward"));
    command.arg("seal").args(arguments).arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What it said, where it did what it was asked.
async fn done(data_dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = seal(data_dir, arguments).output().await.expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Starts it and kills it after so long; whether it was quicker.
async fn killed(data_dir: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut child = seal(data_dir, arguments).spawn().expect("it starts");
    let quicker = tokio::time::timeout(after, child.wait()).await.is_ok();
    child.kill().await.ok();
    quicker
}

async fn installation() -> Folder {
    let folder = Folder::new();
    assert_eq!(stop(ready(&folder.path()).await).await, Some(0));
    folder
}

/// Moments from before its first statement to after its last: each a little later, until it was quicker a few times.
async fn at_each_moment(mut each: impl AsyncFnMut(Duration) -> bool) {
    let (mut after, mut quicker) = (Duration::from_millis(1), 0);
    while quicker < 3 {
        quicker += usize::from(each(after).await);
        after = after * 5 / 4 + Duration::from_millis(1);
    }
}

#[tokio::test]
async fn a_rotation_that_is_killed_left_all_or_nothing() {
    let folder = installation().await;
    let data = folder.path();
    at_each_moment(async |after| {
        let quicker = killed(&data, &["rotate"], after).await;
        let status = done(&data, &["status"]).await.expect("the root key opens");
        let active = status.lines().filter(|line| line.starts_with("root") && line.contains("active")).count();
        assert_eq!(active, 1, "{status}");
        quicker
    })
    .await;
    let (before, root) = (done(&data, &["status"]).await.expect("opens"), folder.read("ca.pem"));
    assert!(before.lines().filter(|line| line.starts_with("root")).count() > 1, "old versions open: {before}");
    // And the server starts on what is left.
    assert_eq!(stop(ready(&data).await).await, Some(0));
    assert_eq!(folder.read("ca.pem"), root);
}

#[tokio::test]
async fn a_migration_that_is_killed_left_one_seal_that_opens() {
    let folder = installation().await;
    let data = folder.path();
    let seals = ["one", "two"].map(|name| format!("file:{}", data.join(name).display()));
    let first = format!("file:{}", data.join("master.key").display());
    done(&data, &["migrate", "--seal", &first, "--to", &seals[0]]).await.expect("migrated");
    let mut now = 0;
    at_each_moment(async |after| {
        let (from, to) = (&seals[now], &seals[1 - now]);
        let quicker = killed(&data, &["migrate", "--seal", from, "--to", to], after).await;
        let (old, new) = (done(&data, &["status", "--seal", from]).await, done(&data, &["status", "--seal", to]).await);
        assert_ne!(old.is_ok(), new.is_ok(), "exactly one opens: {old:?} {new:?}");
        assert!(!quicker || new.is_ok(), "done is done");
        now = if new.is_ok() { 1 - now } else { now };
        quicker
    })
    .await;
    let said = refused(command(&data).args(["--seal", &seals[1 - now]])).await;
    assert!(said.contains("sealed under the master key"), "{said}");
    let mut server = command(&data);
    server.args(["--seal", &seals[now]]);
    let mut child = server.spawn().expect("it starts");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().expect("piped")));
    assert_eq!(lines.next_line().await.expect("text").as_deref(), Some("Fleetward is ready."));
    assert_eq!(stop(child).await, Some(0));
}

#[tokio::test]
async fn a_passphrase_a_variable_and_a_credential_are_seals() {
    let folder = installation().await;
    let (data, credentials) = (folder.path(), tempfile::tempdir().expect("a folder"));
    let key = "fleetward-master-key-v1 pijiIvmfC+h/PavWOPTYOG/jsGzgkSavmLbWnTd/hS0=\n";
    std::fs::write(credentials.path().join("key"), key).expect("written");
    std::fs::write(credentials.path().join("phrase"), "correct horse battery staple\n").expect("written");
    let run = async |arguments: &[&str]| {
        let mut command = seal(&data, arguments);
        command.env("CREDENTIALS_DIRECTORY", credentials.path()).env("KEY", "ab".repeat(32));
        let output = command.output().await.expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let path = ["file", "credential:key", "env:KEY", "passphrase:credential:phrase", "file"];
    for step in path.windows(2) {
        run(&["migrate", "--seal", step[0], "--to", step[1]]).await;
        let said = run(&["status", "--seal", step[1]]).await;
        assert!(said.contains("root  active") && !said.contains("pijiIvmf") && !said.contains("correct"), "{said}");
    }
    let without = done(&data, &["status", "--seal", "credential:key"]).await.expect_err("no credentials");
    assert!(without.contains("CREDENTIALS_DIRECTORY"), "{without}");
}

#[tokio::test]
async fn a_seal_of_another_kind_says_which_it_wants() {
    let folder = installation().await;
    let nowhere = done(&folder.path(), &["status", "--seal", "tpm:/dev/no-such-tpm"]).await.expect_err("another seal");
    assert!(nowhere.contains("sealed by master-key") && nowhere.contains("tpm:/dev/no-such-tpm"), "{nowhere}");
    let token = done(&folder.path(), &["status", "--seal", "pkcs11:token=a;object=b"]).await.expect_err("no library");
    assert!(token.contains("--pkcs11-module"), "{token}");
    let absent = folder.path().join("absent");
    let nothing = done(&absent, &["status"]).await.expect_err("no installation");
    assert!(nothing.contains("holds no installation") && !absent.exists(), "{nothing}");
}
