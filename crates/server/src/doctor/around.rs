//! What is around the server: its folder, the disk, the names that it is reached by.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleetward_app::doctor::Check;
use serde_json::Value;

/// With less room than this the store soon refuses to write.
const ROOM_LOW: u64 = 1024 * 1024 * 1024;
const ROOM_NONE: u64 = 64 * 1024 * 1024;

/// The data folder is the server's alone, and its disk has room.
pub(super) fn folder(data_dir: &Path) -> Vec<Check> {
    let metadata = match std::fs::metadata(data_dir) {
        Ok(metadata) => metadata,
        Err(error) => {
            let detail = format!("{}: {error}", data_dir.display());
            return vec![Check::fail("folder", detail, "name the server's folder with --data-dir")];
        }
    };
    let mode = metadata.permissions().mode() & 0o777;
    let private = if mode & 0o077 == 0 {
        Check::ok("folder", format!("{} is its owner's alone", data_dir.display()))
    } else {
        let detail = format!("{}: others may look into it (mode {mode:o})", data_dir.display());
        Check::warn("folder", detail, format!("chmod 700 {}", data_dir.display()))
    };
    vec![private, room(data_dir)]
}

fn room(data_dir: &Path) -> Check {
    let free = match rustix::fs::statvfs(data_dir) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return Check::fail("disk", error.to_string(), "is the disk there?"),
    };
    let detail = format!("{} MiB free", free / (1024 * 1024));
    match free {
        free if free < ROOM_NONE => Check::fail("disk", detail, "make room: the store refuses to write without"),
        free if free < ROOM_LOW => Check::warn("disk", detail, "make room"),
        _ => Check::ok("disk", detail),
    }
}

/// Where the server said that it listens.
pub(super) fn endpoints(data_dir: &Path) -> Result<Value, Check> {
    let path = data_dir.join("endpoints.json");
    let remedy = "start the server: it writes this file when it is ready";
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Check::fail("server", format!("{}: {error}", path.display()), remedy))?;
    serde_json::from_str(&text).map_err(|error| Check::fail("server", format!("{}: {error}", path.display()), remedy))
}

/// The name that devices are given resolves.
pub(super) async fn names(endpoints: &Value) -> Vec<Check> {
    let Some(host) = endpoints.get("device_host").and_then(Value::as_str) else { return Vec::new() };
    let check = match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => Check::ok("names", format!("{host} is {} address(es) here", found.count())),
        Err(error) => Check::warn(
            "names",
            format!("{host} does not resolve here: {error}"),
            "devices must find it: check DNS, or give an address with --public-host",
        ),
    };
    vec![check]
}

#[cfg(test)]
mod tests {
    use fleetward_app::doctor::Verdict;

    use super::*;

    #[test]
    fn a_folder_for_everybody_is_named_with_its_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let verdict = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("ours");
            super::folder(folder.path()).remove(0)
        };
        assert_eq!(verdict(0o700).verdict, Verdict::Ok);
        let open = verdict(0o755);
        assert_eq!(open.verdict, Verdict::Warn);
        assert!(open.remedy.is_some_and(|remedy| remedy.starts_with("chmod 700 ")));
        assert_eq!(super::folder(&folder.path().join("nothing"))[0].verdict, Verdict::Fail);
    }
}
