//! What the agent finds when it begins: its keys, its record, its signers, and where it belongs.

use std::sync::Arc;

use fleetward_supply::{Signers, VerifyingKey};

use super::{AgentError, io_error};
use crate::disk::{Disk, Folder};
use crate::handover::{Handover, Home, Phase};
use crate::identity::KeyStore;
use crate::keys::tpm::TpmKeys;
use crate::keys::{Keys, Whereabouts};
use crate::options::RunOptions;
use crate::record::{self, BadRecord, Record};

/// What holds the device's keys, where it is not the data folder.
pub(super) type Held = (Option<Arc<dyn Keys>>, Option<TpmKeys>);

pub(super) fn keys(options: &RunOptions) -> Result<Held, AgentError> {
    let bad = |reason: String| AgentError::Setup(format!("the keys in the {}", options.keys), reason);
    match &options.keys {
        Whereabouts::File => Ok((None, None)),
        Whereabouts::Tpm(place) => {
            let keys = TpmKeys::open(place.clone()).map_err(|error| bad(error.to_string()))?;
            Ok((Some(Arc::new(keys.clone())), Some(keys)))
        }
        #[cfg(feature = "pkcs11")]
        Whereabouts::Pkcs11(module) => {
            use crate::keys::pkcs11::{Token, TokenKeys};
            let file = options.pin_file.as_ref().ok_or_else(|| bad(String::from("give the PIN with --pin-file")))?;
            let pin = std::fs::read_to_string(file).map_err(io_error("cannot read the PIN"))?;
            let pin = fleetward_base::Secret::new(pin.trim_end_matches(['\r', '\n']).to_owned());
            let token = Token { module: module.clone(), label: options.token_label.clone(), pin };
            let keys = TokenKeys::open(&token).map_err(|error| bad(error.to_string()))?;
            Ok((Some(Arc::new(keys)), None))
        }
        #[cfg(not(feature = "pkcs11"))]
        Whereabouts::Pkcs11(_) => Err(bad(String::from("this agent was built without the feature pkcs11"))),
    }
}

/// A transfer to another tenant that was begun, as far as it goes without the server. What the command line says of tenant
/// and name is that of before then; where it says something else by now, whoever changed it means that.
pub(super) fn handover(
    disk: &dyn Disk,
    options: &mut RunOptions,
    keys: Option<&dyn Keys>,
) -> Result<Option<Handover>, AgentError> {
    let Some(handover) = Handover::load(disk).map_err(io_error("cannot read the record of a transfer"))? else {
        return Ok(None);
    };
    let said = Home { tenant: options.tenant.clone(), device: options.device.clone() };
    if handover.given.home != said {
        tracing::warn!("tenant or name of this device were changed since it went to another tenant: they count");
        return handover.give_way(said, disk).map_err(io_error("cannot forget the transfer"));
    }
    let handover = if handover.phase == Phase::Moved {
        let store = KeyStore::new(disk, &options.device).with_keys(keys);
        let gone = handover.wipe_identity(&store, disk);
        gone.map_err(|error| AgentError::Setup(String::from("the old identity"), error.to_string()))?
    } else {
        handover
    };
    let home = handover.home();
    if home != said {
        tracing::info!(tenant = home.tenant.as_deref(), device = %home.device, "this device was transferred");
        (options.tenant, options.device) = (home.tenant, home.device);
    }
    Ok(Some(handover))
}

/// The record, or a first one. A damaged one (no power cut makes one, a worn-out flash may) is put aside: a device that can
/// be managed and says that it runs the factory's version is better than one that is silent.
pub(super) fn record(disk: &dyn Disk, initial_version: &str) -> Result<Record, AgentError> {
    match Record::load(disk) {
        Ok(Some(record)) => return Ok(record),
        Ok(None) => {}
        Err(BadRecord::Damaged(error)) => {
            tracing::error!(%error, "the record is damaged; it is put aside as record.damaged and a new one begun");
            disk.rename(record::FILE, "record.damaged").map_err(io_error("cannot put the record aside"))?;
        }
        Err(other) => return Err(other.into()),
    }
    let record = Record::factory(initial_version);
    record.save(disk).map_err(io_error("cannot write the first record"))?;
    Ok(record)
}

/// One agent to a data folder. The lock ends with the process.
pub(super) fn lock(folder: &Folder) -> Result<(), AgentError> {
    let file = std::fs::File::create(folder.resolve("lock")).map_err(io_error("cannot make the lock file"))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(AgentError::Busy);
    }
    // Held until the process ends: closing the file would give it back.
    std::mem::forget(file);
    Ok(())
}

/// The signers whose releases are accepted, and as what their files are remembered. Those that a device had before it went to
/// another tenant are accepted no more.
///
/// # Errors
/// As for [`read_signers`].
pub(super) fn signers(
    options: &RunOptions,
    handover: Option<&Handover>,
) -> Result<(Signers, Option<String>), AgentError> {
    let (mut signers, given) = read_signers(options)?;
    let gone = handover.filter(|handover| handover.has_moved()).and_then(|handover| handover.given.signers.as_ref());
    if gone.is_some() && gone == given.as_ref() {
        tracing::warn!("the signers are those of the tenant that this device was: they count no more");
        signers = Signers::default();
    }
    if signers.is_empty() {
        tracing::warn!("no accepted signers: every update will be refused");
    }
    Ok((signers, given))
}

/// The accepted signers: a public key file or all `*.pem` of a directory; and as what their files are remembered. One that
/// cannot be read stops the agent, because going on with fewer than were meant helps nobody.
fn read_signers(options: &RunOptions) -> Result<(Signers, Option<String>), AgentError> {
    let Some(path) = &options.signers else { return Ok((Signers::default(), None)) };
    let what = || format!("cannot read the signers at {}", path.display());
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io_error(what()))? {
            let file = entry.map_err(io_error(what()))?.path();
            if file.extension().is_some_and(|extension| extension == "pem") {
                files.push(file);
            }
        }
    } else {
        files.push(path.clone());
    }
    files.sort();
    let mut all = Vec::new();
    let read = |file: &std::path::PathBuf| {
        let pem = std::fs::read(file).map_err(io_error(what()))?;
        all.extend_from_slice(&pem);
        VerifyingKey::from_pem(&pem).map_err(|bad| AgentError::Setup(file.display().to_string(), bad.to_string()))
    };
    let signers: Signers = files.iter().map(read).collect::<Result<_, _>>()?;
    Ok((signers, Some(crate::handover::name_of(&all))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn a_damaged_record_is_put_aside_and_one_of_another_format_is_not() {
        let disk = SimDisk::new();
        disk.write(record::FILE, b"{").expect("writes");
        assert_eq!(super::record(&disk, "1.0").expect("begins anew").version(), "1.0");
        assert_eq!(disk.read("record.damaged").expect("reads"), Some(b"{".to_vec()));
        let text =
            serde_json::to_string(&Record::factory("1.0")).expect("JSON").replace("\"format\":1", "\"format\":2");
        disk.write(record::FILE, text.as_bytes()).expect("writes");
        assert!(matches!(super::record(&disk, "1.0"), Err(AgentError::Record(BadRecord::Format(2)))));
    }
}
