//! The two slots as folders: `slots/a` and `slots/b`, each with an image named by its hash and the release that vouches for it.
//!
//! Files here prove nothing by being here: a slot counts only as far as the record names it. An image keeps its name from the
//! first downloaded byte to the last start, so that no step between can be torn by a power cut.

use std::io;

use fleetward_supply::{Artifact, Hasher, Mismatch, Sha256};

use crate::disk::Disk;
use crate::record::{Firmware, Image, Slot, Source};

/// Bytes between two syncs of a download. What a power cut may have spoiled is fetched again: up to twice this.
pub const SYNC_SPAN: u64 = 1024 * 1024;

/// Where the image with this hash lies in a slot, relative to the data folder.
pub fn image_path(slot: Slot, sha256: Sha256) -> String {
    format!("slots/{slot}/{sha256}.image")
}

/// Removes all files of a slot but the image with the hash to keep.
///
/// # Errors
/// What the disk says.
pub fn clear(disk: &dyn Disk, slot: Slot, keep: Option<Sha256>) -> io::Result<()> {
    let folder = format!("slots/{slot}");
    let kept = keep.map(|sha256| format!("{sha256}.image"));
    for name in disk.list(&folder)? {
        if Some(&name) != kept.as_ref() {
            disk.remove(&format!("{folder}/{name}"))?;
        }
    }
    Ok(())
}

/// Whether the slot's image is there and is the one of the record. What the factory installed has no image of ours.
///
/// # Errors
/// What the disk says.
pub fn is_intact(disk: &dyn Disk, slot: Slot, firmware: &Firmware) -> io::Result<bool> {
    match &firmware.image {
        None => Ok(true),
        Some(image) => Ok(check_image(disk, slot, image.sha256, image.size)?.is_ok()),
    }
}

/// Reads the whole image and holds it against its hash and size.
///
/// # Errors
/// Outside: what the disk says. Inside: what differs.
pub fn check_image(disk: &dyn Disk, slot: Slot, sha256: Sha256, size: u64) -> io::Result<Result<(), Mismatch>> {
    let mut hasher = Hasher::new(size, sha256);
    let mut verdict = Ok(());
    disk.scan(&image_path(slot, sha256), &mut |piece| {
        if verdict.is_ok() {
            verdict = hasher.update(piece);
        }
    })?;
    Ok(verdict.and_then(|()| hasher.finish()))
}

/// Puts the release beside the downloaded image, checks the image as it lies on the disk, and makes all of it durable.
///
/// # Errors
/// Outside: what the disk says. Inside: what differs.
pub fn install(
    disk: &dyn Disk,
    slot: Slot,
    source: &Source,
    sha256: Sha256,
    size: u64,
) -> io::Result<Result<(), Mismatch>> {
    let checked = check_image(disk, slot, sha256, size)?;
    if checked.is_err() {
        return Ok(checked);
    }
    let folder = format!("slots/{slot}");
    let parts: [(&str, &[u8]); 2] =
        [("manifest.json", source.release.manifest.as_slice()), ("signature", source.release.signature.as_slice())];
    for (name, bytes) in parts {
        let path = format!("{folder}/{name}");
        disk.write(&path, bytes)?;
        disk.sync(&path)?;
    }
    disk.sync(&image_path(slot, sha256))?;
    disk.sync_folder(&folder)?;
    Ok(Ok(()))
}

/// A download into a slot, going on from what an earlier one left.
#[derive(Debug)]
pub struct PartialImage {
    path: String,
    folder: String,
    hasher: Hasher,
    image: Image,
    synced: u64,
    span: u64,
}

impl PartialImage {
    /// Opens the slot's image and reads what is already there. What an earlier power cut may have spoiled is cut off.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, slot: Slot, artifact: &Artifact, span: u64) -> io::Result<Self> {
        let folder = format!("slots/{slot}");
        disk.make_folder(&folder)?;
        let path = image_path(slot, artifact.sha256);
        let there = disk.size(&path)?.unwrap_or(0);
        if there > 0 && there != artifact.size {
            let sure = if there > artifact.size { 0 } else { (there / span).saturating_sub(1) * span };
            disk.truncate(&path, sure)?;
        }
        let image = Image { sha256: artifact.sha256, size: artifact.size };
        let mut hasher = Hasher::new(image.size, image.sha256);
        let mut read = Ok(());
        disk.scan(&path, &mut |piece| {
            if read.is_ok() {
                read = hasher.update(piece);
            }
        })?;
        let synced = hasher.seen();
        Ok(Self { path, folder, hasher, image, synced, span })
    }

    /// Bytes that are here; the next one wanted has this number.
    pub const fn offset(&self) -> u64 {
        self.hasher.seen()
    }

    pub const fn missing(&self) -> u64 {
        self.hasher.missing()
    }

    /// Bytes of the whole image.
    pub const fn total(&self) -> u64 {
        self.image.size
    }

    /// Forgets all bytes: the server gives the file from its beginning.
    ///
    /// # Errors
    /// What the disk says.
    pub fn restart(&mut self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&self.path)?;
        self.hasher = Hasher::new(self.image.size, self.image.sha256);
        self.synced = 0;
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Outside: what the disk says. Inside: more bytes than promised, which never reach the disk.
    pub fn append(&mut self, disk: &dyn Disk, bytes: &[u8]) -> io::Result<Result<(), Mismatch>> {
        if let Err(mismatch) = self.hasher.update(bytes) {
            return Ok(Err(mismatch));
        }
        disk.append(&self.path, bytes)?;
        if self.hasher.seen() / self.span > self.synced / self.span {
            disk.sync(&self.path)?;
            if self.synced == 0 {
                disk.sync_folder(&self.folder)?;
            }
            self.synced = self.hasher.seen();
        }
        Ok(Ok(()))
    }

    /// All bytes came: are they the promised ones, and durable?
    ///
    /// # Errors
    /// Outside: what the disk says. Inside: what differs.
    pub fn finish(self, disk: &dyn Disk) -> io::Result<Result<(), Mismatch>> {
        disk.sync(&self.path)?;
        disk.sync_folder(&self.folder)?;
        Ok(self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Loss, SimDisk};

    fn artifact(content: &[u8]) -> Artifact {
        Artifact {
            filename: "image".into(),
            hardware: vec!["r1".into()],
            sha256: Sha256::of(content),
            size: content.len() as u64,
        }
    }

    #[test]
    fn a_download_goes_on_where_it_was_cut() {
        let (disk, content) = (SimDisk::new(), b"0123456789abcdefghij");
        let wanted = artifact(content);
        let mut part = PartialImage::open(&disk, Slot::B, &wanted, 4).unwrap();
        for piece in content[..14].chunks(2) {
            part.append(&disk, piece).unwrap().unwrap();
        }
        drop(part);
        disk.reboot(Loss::All);
        let mut part = PartialImage::open(&disk, Slot::B, &wanted, 4).unwrap();
        assert_eq!(part.offset(), 8, "twelve were synced; the last span is not relied on");
        let rest = usize::try_from(part.offset()).unwrap();
        part.append(&disk, &content[rest..]).unwrap().unwrap();
        assert_eq!(part.missing(), 0);
        assert_eq!(part.finish(&disk).unwrap(), Ok(()));
        assert_eq!(check_image(&disk, Slot::B, wanted.sha256, wanted.size).unwrap(), Ok(()));
        let firmware = |image| Firmware { name: "os".into(), version: "2".into(), image: Some(image) };
        let image = Image { sha256: wanted.sha256, size: wanted.size };
        assert!(is_intact(&disk, Slot::B, &firmware(image.clone())).unwrap());
        assert!(!is_intact(&disk, Slot::A, &firmware(image)).unwrap(), "nothing there");
        let complete = PartialImage::open(&disk, Slot::B, &wanted, 4).unwrap();
        assert_eq!(complete.missing(), 0, "a complete image is not cut off");
    }

    #[test]
    fn too_much_never_reaches_the_disk() {
        let (disk, wanted) = (SimDisk::new(), artifact(b"abc"));
        let mut part = PartialImage::open(&disk, Slot::A, &wanted, 4).unwrap();
        part.append(&disk, b"ab").unwrap().unwrap();
        assert_eq!(part.append(&disk, b"cd").unwrap(), Err(Mismatch::TooLong { promised: 3 }));
        assert_eq!(disk.size(&image_path(Slot::A, wanted.sha256)).unwrap(), Some(2));
    }

    #[test]
    fn clearing_keeps_what_it_is_told_to() {
        let disk = SimDisk::new();
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        for path in [image_path(Slot::A, old), image_path(Slot::A, new), "slots/a/signature".into()] {
            disk.write(&path, b"x").unwrap();
        }
        clear(&disk, Slot::A, Some(new)).unwrap();
        assert_eq!(disk.list("slots/a").unwrap(), [format!("{new}.image")]);
        clear(&disk, Slot::A, None).unwrap();
        assert_eq!(disk.list("slots/a").unwrap(), Vec::<String>::new());
    }
}
