//! What the data folder says, for a person: slots, job, last outcomes, certificate, configuration.

use std::fmt::Write as _;
use std::path::Path;

use fleetward_pki::Certificate;

use crate::anchors;
use crate::disk::{Disk, Folder};
use crate::record::{BadRecord, Phase, Record, Slot};
use crate::shadow::Applied;

/// Reads the folder and describes it. Nothing in it is changed, and no key is shown.
///
/// # Errors
/// Where there is no data folder of an agent.
pub fn describe(data_dir: &Path) -> Result<String, BadRecord> {
    if !data_dir.is_dir() {
        let what = format!("{} is not a folder", data_dir.display());
        return Err(BadRecord::Disk(std::io::Error::new(std::io::ErrorKind::NotFound, what)));
    }
    let folder = Folder::open(data_dir)?;
    let Some(record) = Record::load(&folder)? else { return Ok(String::from("No agent has run here yet.\n")) };
    let mut text = String::new();
    let infallible = "writing to a string";
    writeln!(text, "version       {} (slot {})", record.version(), record.running()).expect(infallible);
    for slot in [Slot::A, Slot::B] {
        let holds = record.slot(slot).map_or_else(
            || String::from("empty"),
            |firmware| {
                let size = firmware.image.as_ref().map_or_else(
                    || String::from("from the factory"),
                    |image| format!("{} bytes, sha256 {}", image.size, image.sha256),
                );
                format!("{} {}, {size}", firmware.name, firmware.version)
            },
        );
        let mark = if slot == record.active { " (active)" } else { "" };
        writeln!(text, "slot {slot}        {holds}{mark}").expect(infallible);
    }
    if let Some(job) = &record.job {
        let phase = match job.phase {
            Phase::Downloading { .. } => "downloading",
            Phase::Trying { .. } => "on trial",
        };
        writeln!(text, "job           {} {}: {phase}", job.id, job.firmware.version).expect(infallible);
    }
    for outcome in record.finished.iter().rev().take(5) {
        let told = if outcome.acknowledged { "" } else { " (not told yet)" };
        writeln!(text, "finished      {} {:?}: {}{told}", outcome.job, outcome.verdict, outcome.reason)
            .expect(infallible);
    }
    for line in crate::steps::Journal::load(&folder)?.lines() {
        writeln!(text, "{line}").expect(infallible);
    }
    match certificate(&folder) {
        Some(certificate) => {
            writeln!(text, "certificate   {} until {}", certificate.serial, certificate.not_after).expect(infallible);
        }
        None => text.push_str("certificate   none\n"),
    }
    if let Ok(Some(held)) = anchors::last_kept(&folder) {
        for root in held {
            let root = root.certificate;
            writeln!(text, "root          {} until {}", root.fingerprint(), root.not_after).expect(infallible);
        }
    }
    let applied = Applied::load(&folder)?;
    let keys: Vec<&str> = applied.values.keys().map(String::as_str).collect();
    writeln!(text, "configuration version {}, keys {keys:?}", applied.version).expect(infallible);
    for (key, why) in &applied.errors {
        writeln!(text, "not applied   {key}: {why}").expect(infallible);
    }
    Ok(text)
}

/// The certificate in use; what cannot be read counts as none here.
fn certificate(disk: &dyn Disk) -> Option<Certificate> {
    let place = String::from_utf8(disk.read("identity/current").ok()??).ok()?;
    let pem = disk.read(&format!("identity/{place}/certificate.pem")).ok()??;
    let (_label, der) = der::pem::decode_vec(&pem).ok()?;
    Certificate::parse(&der).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcome, Verdict};

    #[test]
    fn what_is_shown() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        assert!(describe(&data).is_err());
        let folder = Folder::open(&data).unwrap();
        assert_eq!(describe(&data).unwrap(), "No agent has run here yet.\n");
        let mut record = Record::factory("1.0");
        record.finished.push(Outcome {
            job: "j".into(),
            verdict: Verdict::Failed,
            step: "testing".into(),
            reason: "no radio".into(),
            acknowledged: false,
        });
        record.save(&folder).unwrap();
        assert_eq!(
            describe(&data).unwrap(),
            "version       1.0 (slot a)\n\
             slot a        factory 1.0, from the factory (active)\n\
             slot b        empty\n\
             finished      j Failed: no radio (not told yet)\n\
             certificate   none\n\
             configuration version 0, keys []\n"
        );
    }
}
