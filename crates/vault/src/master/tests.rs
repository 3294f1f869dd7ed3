use std::os::unix::fs::PermissionsExt;

use super::*;
use base::SeededRng;

fn bytes(key: &MasterKey) -> [u8; 32] {
    *key.0.expose()
}

#[test]
fn a_key_file_is_made_once_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.key");
    let made = MasterKey::from_file(&path, &SeededRng::new(1)).expect("made");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let read = MasterKey::from_file(&path, &SeededRng::new(2)).expect("read");
    assert_eq!(bytes(&made), bytes(&read));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no draft is left");
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.key");
    MasterKey::from_file(&path, &SeededRng::new(1)).expect("made");
    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        let refused = MasterKey::from_file(&path, &SeededRng::new(1)).expect_err("refused");
        assert!(matches!(refused, MasterKeyError::Readable { mode: seen, .. } if seen == mode), "{refused}");
        assert!(refused.to_string().contains("chmod 600"));
    }
}

#[test]
fn a_file_with_something_else_is_refused_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.key");
    for text in ["", "fleetward-master-key-v1", "fleetward-master-key-v1 AAAA", "hello\n", "\u{0}"] {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let refused = MasterKey::from_file(&path, &SeededRng::new(1)).expect_err("refused");
        assert!(matches!(refused, MasterKeyError::Malformed { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("kept"), text);
    }
}

#[test]
fn a_variable_holds_what_a_file_holds() {
    let key = MasterKey::random(&SeededRng::new(3));
    assert_eq!(bytes(&MasterKey::from_variable(&key.text()).expect("the text of a file")), bytes(&key));
    let bare = STANDARD.encode(bytes(&key));
    assert_eq!(bytes(&MasterKey::from_variable(&Secret::new(bare)).expect("base64 alone")), bytes(&key));
    let hex = bytes(&key).iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    assert_eq!(bytes(&MasterKey::from_variable(&Secret::new(hex)).expect("hexadecimal")), bytes(&key));
    assert!(MasterKey::from_variable(&Secret::new("c2hvcnQ=".to_owned())).is_err());
}

#[test]
fn a_passphrase_gives_one_key_with_its_salt_and_another_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let (salt, other) = (folder.path().join("master.salt"), folder.path().join("other.salt"));
    // A cheap cost, as a salt file may name one; the default takes 64 MiB.
    let cheap = Stretch { memory_kib: 64, passes: 1, lanes: 1, salt: [7; SALT_BYTES] };
    create_private(&salt, &Secret::new(cheap.text())).expect("written");
    let cheap = Stretch { salt: [8; SALT_BYTES], ..cheap };
    create_private(&other, &Secret::new(cheap.text())).expect("written");
    let phrase = |text: &str| Secret::new(text.to_owned());
    let key = |text: &str, path: &Path| {
        bytes(&MasterKey::from_passphrase(&phrase(text), path, &SeededRng::new(1)).expect("a key"))
    };
    let first = key("correct horse battery", &salt);
    assert_eq!(first, key("correct horse battery\n", &salt), "the line end of a file is no part of it");
    assert_ne!(first, key("correct horse batterz", &salt));
    assert_ne!(first, key("correct horse battery", &other));
    let short = MasterKey::from_passphrase(&phrase("short"), &salt, &SeededRng::new(1));
    assert!(matches!(short, Err(MasterKeyError::Short)));
}

#[test]
fn a_salt_file_cannot_ask_for_the_whole_machine() {
    let text = |memory: u32, passes: u32| {
        Secret::new(format!("{SALT_FORMAT} argon2id {memory} {passes} 1 {}", STANDARD.encode([0; SALT_BYTES])))
    };
    assert!(Stretch::parse(&text(65536, 3)).is_some());
    assert!(Stretch::parse(&text(u32::MAX, 3)).is_none());
    assert!(Stretch::parse(&text(65536, 1000)).is_none());
}
