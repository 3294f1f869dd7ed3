//! The disk as the agent needs it: few operations, each of which a power cut can precede or follow.
//!
//! All state goes through [`Disk`], so that the tests can put a disk beneath it that forgets what was not synced. Paths are
//! relative to the data folder, with `/` between their parts.

#[cfg(test)]
pub(crate) mod sim;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// What the agent asks of a disk. Nothing is durable before [`Disk::sync`] (a file's bytes) and [`Disk::sync_folder`] (that
/// the file is there, under this name) have returned.
pub trait Disk: Send + Sync {
    /// The whole file, or none where there is no such file.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// The file piece by piece; false where there is no such file.
    fn scan(&self, path: &str, piece: &mut dyn FnMut(&[u8])) -> io::Result<bool>;
    /// Bytes of the file, or none where there is no such file.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;
    /// Makes the file anew with these bytes, readable for its owner only.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&self, path: &str, size: u64) -> io::Result<()>;
    /// Makes the file's bytes durable.
    fn sync(&self, path: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; one that is not there counts as removed.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder durable; the empty path is the data folder.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes a folder and those above it, durably.
    fn make_folder(&self, folder: &str) -> io::Result<()>;
    /// Bytes that still fit, where that can be known.
    fn free(&self) -> Option<u64> {
        None
    }
    /// Names of the files in a folder, sorted; none where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// Replaces a file so that at any moment the old or the new one is there, whole.
///
/// # Errors
/// What the disk says; the old file is still there then.
pub fn replace(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{path}.new");
    // A cut within an earlier rename may have left the file under both names: it must not be written over.
    disk.remove(&new)?;
    disk.write(&new, bytes)?;
    disk.sync(&new)?;
    disk.rename(&new, path)?;
    disk.sync_folder(folder_of(path))
}

/// The folder that a path lies in.
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _name)| folder)
}

/// A folder of the machine's file system.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The data folder, made with mode 0700 where it is not there yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Ok(Self(root.canonicalize()?))
    }

    /// Where a path lies on the machine, for handlers.
    pub fn resolve(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.0.clone() } else { self.0.join(path) }
    }
}

/// Turns "no such file" into none.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Disk for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        absent(std::fs::read(self.resolve(path)))
    }

    fn scan(&self, path: &str, piece: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let Some(mut file) = absent(File::open(self.resolve(path)))? else { return Ok(false) };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => piece(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        Ok(absent(std::fs::metadata(self.resolve(path)))?.map(|metadata| metadata.len()))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.resolve(path);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.resolve(path))?.write_all(bytes)
    }

    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.resolve(path))?.set_len(size)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        File::open(self.resolve(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.resolve(from), self.resolve(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        absent(std::fs::remove_file(self.resolve(path))).map(|_removed| ())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.resolve(folder))?.sync_all()
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.resolve(folder);
        if path.is_dir() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        // The new name stands in the folder above; every folder up to ours may be new.
        let mut above = folder;
        while !above.is_empty() {
            above = folder_of(above);
            self.sync_folder(above)?;
        }
        Ok(())
    }

    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.0).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let Some(entries) = absent(std::fs::read_dir(self.resolve(folder)))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_does_what_the_simulated_disk_does() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let sim = sim::SimDisk::new();
        for disk in [&folder as &dyn Disk, &sim] {
            disk.make_folder("slots/a").unwrap();
            assert_eq!(disk.read("slots/a/x").unwrap(), None);
            assert_eq!(disk.size("slots/a/x").unwrap(), None);
            assert!(!disk.scan("slots/a/x", &mut |_| ()).unwrap());
            disk.remove("slots/a/x").unwrap();
            disk.append("slots/a/x", b"ab").unwrap();
            disk.append("slots/a/x", b"cd").unwrap();
            disk.truncate("slots/a/x", 3).unwrap();
            disk.sync("slots/a/x").unwrap();
            assert_eq!(disk.read("slots/a/x").unwrap().unwrap(), b"abc");
            assert_eq!(disk.size("slots/a/x").unwrap(), Some(3));
            replace(disk, "slots/a/y", b"one").unwrap();
            replace(disk, "slots/a/y", b"two").unwrap();
            assert_eq!(disk.list("slots/a").unwrap(), ["x", "y"]);
            assert_eq!(disk.list("slots").unwrap(), Vec::<String>::new());
            assert_eq!(disk.list("nowhere").unwrap(), Vec::<String>::new());
            let mut seen = Vec::new();
            assert!(disk.scan("slots/a/y", &mut |piece| seen.extend_from_slice(piece)).unwrap());
            assert_eq!(seen, b"two");
            assert!(disk.sync("slots/a/none").is_err());
            assert!(disk.rename("slots/a/none", "slots/a/x").is_err());
        }
    }

    #[test]
    fn what_it_writes_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("data")).unwrap();
        folder.make_folder("identity/a").unwrap();
        folder.write("identity/a/key.pem", b"secret").unwrap();
        let mode = |path: &str| std::fs::metadata(folder.resolve(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("identity/a"), mode("identity/a/key.pem")), (0o700, 0o700, 0o600));
    }
}
