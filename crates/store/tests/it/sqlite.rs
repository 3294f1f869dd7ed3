//! What only SQLite does: the lock, durability after a kill, a full disk.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fleetward_base::SystemClock;
use fleetward_store::testing::TestStore;
use fleetward_store::{Config, DeviceFilter, DeviceRow, OpenError, Store, StoreError, StoreErrorKind};

use crate::support::{device_row, tenant};

/// Where a child process finds the file it is to work on.
const FILE: &str = "FLEETWARD_TEST_SQLITE_FILE";

#[tokio::test]
async fn a_second_server_is_refused() {
    let first = TestStore::sqlite().await;
    let second = Store::open(&first.config, &SystemClock::new()).await.expect_err("the file is in use");
    assert!(matches!(&second, OpenError::Locked { lock, .. } if lock.ends_with("fleetward.lock")), "{second:?}");
    assert!(second.to_string().contains("in use by another server"));

    // By another name it is the same file.
    let folder = first.folder.as_ref().expect("SQLite has one").path();
    let link = folder.join("alias.db");
    std::os::unix::fs::symlink(folder.join("fleetward.db"), &link).expect("a link can be made");
    let third = Store::open(&Config::sqlite(link), &SystemClock::new()).await;
    assert!(matches!(third, Err(OpenError::Locked { .. })));

    let TestStore { store, config, folder } = first;
    store.close().await;
    drop(store);
    Store::open(&config, &SystemClock::new()).await.expect("the file is free again");
    drop(folder);
}

#[tokio::test]
async fn the_files_are_their_owners() {
    use std::os::unix::fs::PermissionsExt;
    let on = TestStore::sqlite().await;
    insert(&on.store, device_row("a")).await.expect("it is written");
    let folder = on.folder.as_ref().expect("SQLite has one").path();
    for name in ["fleetward.db", "fleetward.db-wal", "fleetward.db-shm"] {
        let mode = std::fs::metadata(folder.join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fleetward.db");
    let mut child = child("sqlite::child_that_writes", &file, "");
    let mut answered = Vec::new();
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for line in lines {
        let line = line.expect("a line");
        if let Some(name) = line.strip_prefix("answered ") {
            answered.push(name.to_owned());
        }
        if answered.len() == 200 {
            break;
        }
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert_eq!(answered.len(), 200, "the child ended by itself");

    let store = Store::open(&Config::sqlite(file), &SystemClock::new()).await.expect("the file opens again");
    let rows = all_devices(&store).await;
    for name in answered {
        assert!(rows.iter().any(|row| row.id.as_str() == name), "{name} was answered and is lost");
    }
}

/// The other side of [`what_was_answered_survives_a_kill`]; by itself it does nothing.
#[tokio::test]
async fn child_that_writes() {
    let Ok(file) = std::env::var(FILE) else { return };
    let store = Store::open(&Config::sqlite(file), &SystemClock::new()).await.expect("the file opens");
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0..100_000 {
                let name = format!("w{writer}-{number:06}");
                insert(&store, device_row(&name)).await.expect("it is written");
                println!("answered {name}");
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fleetward.db");
    // A limit on the size of files stands for the disk; the signal that comes with it is ignored, so that writing fails.
    let child = child("sqlite::child_on_a_full_disk", &file, "trap '' XFSZ; ulimit -Sf 4000; ");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The other side of [`a_full_disk_is_told_and_survived`]; by itself it does nothing.
#[tokio::test]
async fn child_on_a_full_disk() {
    let Ok(file) = std::env::var(FILE) else { return };
    let store = Store::open(&Config::sqlite(file), &SystemClock::new()).await.expect("the file opens");
    let big = |number: u32| DeviceRow { attributes: "x".repeat(50_000), ..device_row(&format!("d{number:05}")) };
    let mut kept = 0;
    let error = loop {
        match insert(&store, big(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the limit does not hold");
    };
    assert_eq!(error.kind, StoreErrorKind::Full, "{error:?}");
    assert!(kept > 0);
    // Reading goes on, and everything that was answered is there.
    assert_eq!(all_devices(&store).await.len(), usize::try_from(kept).expect("small"));
    assert_eq!(insert(&store, big(kept)).await.expect_err("still full").kind, StoreErrorKind::Full);

    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().expect("prlimit runs");
    assert!(raised.success());
    insert(&store, big(kept)).await.expect("there is space again");
    assert_eq!(all_devices(&store).await.len(), usize::try_from(kept + 1).expect("small"));
}

async fn insert(store: &Store, row: DeviceRow) -> Result<(), StoreError> {
    store.write(&tenant("acme"), "insert", |tx| Box::pin(async move { tx.insert_device(&row).await })).await
}

async fn all_devices(store: &Store) -> Vec<DeviceRow> {
    store
        .read(&tenant("acme"), "all", |tx| {
            Box::pin(async move { tx.devices(&DeviceFilter::default(), None, 1_000_000).await })
        })
        .await
        .map_err(|error: StoreError| error)
        .expect("it can be read")
}

/// This very program, told to run one test.
fn child(test: &str, file: &Path, prelude: &str) -> Child {
    let program = std::env::current_exe().expect("a test is a program");
    Command::new("sh")
        .args(["-c", &format!("{prelude}exec \"$0\" --exact {test} --nocapture")])
        .arg(program)
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a child can be started")
}
