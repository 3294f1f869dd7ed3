//! The roots that the agent believes its server by: those of the file given as `--ca`, and what followed them.
//!
//! One root follows another as `pki::anchors` says. What is held then is kept in one file, replaced as a whole, so that a
//! power cut leaves what was held before or what is held now. The file remembers which `--ca` it followed from: somebody
//! who gives the device another file means that one, and what was kept counts no more.
//!
//! Never held is a set by which the server that offered it would not be believed itself ([`crate::tls`]), and never told is
//! what is not on the disk.

use std::io;

use der::pem::{LineEnding, decode_vec, encode_string};
use fleetward_pki::Certificate;
use fleetward_pki::anchors::Anchor;
use fleetward_supply::Sha256;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::tls::{Anchors, TlsError};

/// The file beneath the data folder.
pub const FILE: &str = "anchors";
const FORMAT: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    /// SHA-256 of the `--ca` file.
    begun_with: String,
    anchors: Vec<One>,
}

#[derive(Serialize, Deserialize)]
struct One {
    pem: String,
    pinned: bool,
}

/// What is held: of the file `--ca` (PEM) where nothing followed it.
///
/// # Errors
/// Where the `--ca` file holds nothing that can be used and nothing followed it.
pub fn open(disk: &dyn Disk, ca: &[u8]) -> Result<Anchors, TlsError> {
    match kept(disk, ca) {
        Ok(Some(kept)) => {
            let anchors = Anchors::from_anchors(&kept);
            if anchors.is_ok() {
                return anchors;
            }
            tracing::error!("the roots that were kept cannot be used; those of the CA file count");
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the roots that were kept cannot be read; those of the CA file count"),
    }
    Anchors::from_pem(ca)
}

/// What was kept after this `--ca` file; none where nothing was, or after another one.
///
/// # Errors
/// What the disk says; where the file is damaged, which no power cut does.
fn kept(disk: &dyn Disk, ca: &[u8]) -> io::Result<Option<Vec<Anchor>>> {
    match read(disk)? {
        Some(kept) if kept.begun_with == name_of(ca) => held(&kept).map(Some),
        _ => Ok(None),
    }
}

/// What was kept, after whichever `--ca` file; for people to see.
///
/// # Errors
/// What the disk says; where the file is damaged.
pub fn last_kept(disk: &dyn Disk) -> io::Result<Option<Vec<Anchor>>> {
    read(disk)?.map(|kept| held(&kept)).transpose()
}

fn read(disk: &dyn Disk) -> io::Result<Option<Kept>> {
    let Some(bytes) = disk.read(FILE)? else { return Ok(None) };
    let kept: Kept = serde_json::from_slice(&bytes)?;
    Ok((kept.format == FORMAT).then_some(kept))
}

fn held(kept: &Kept) -> io::Result<Vec<Anchor>> {
    let read = |one: &One| {
        let (_label, der) = decode_vec(one.pem.as_bytes()).map_err(|error| io::Error::other(error.to_string()))?;
        let certificate = Certificate::parse(&der).map_err(io::Error::other)?;
        Ok(Anchor { certificate, pinned: one.pinned })
    };
    kept.anchors.iter().map(read).collect()
}

/// Keeps what is to be held from now on.
///
/// # Errors
/// What the disk says; what was kept before is still there then.
pub fn keep(disk: &dyn Disk, ca: &[u8], anchors: &[Anchor]) -> io::Result<()> {
    let one = |it: &Anchor| {
        let pem = encode_string("CERTIFICATE", LineEnding::LF, &it.certificate.der);
        Ok(One { pem: pem.map_err(|error| io::Error::other(error.to_string()))?, pinned: it.pinned })
    };
    let anchors = anchors.iter().map(one).collect::<io::Result<Vec<_>>>()?;
    let kept = Kept { format: FORMAT, begun_with: name_of(ca), anchors };
    disk::replace(disk, FILE, &serde_json::to_vec(&kept)?)
}

/// Fingerprints, as the server knows them, in one order.
pub fn fingerprints(anchors: &[Anchor]) -> Vec<String> {
    let mut all: Vec<String> = anchors.iter().map(|anchor| anchor.certificate.fingerprint()).collect();
    all.sort();
    all
}

fn name_of(ca: &[u8]) -> String {
    Sha256::of(ca).to_string()
}

#[cfg(test)]
mod power_cut;
