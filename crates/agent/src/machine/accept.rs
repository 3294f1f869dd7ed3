//! Whether a job is taken on: what the server says is checked against the device's own anchors and hardware.
//!
//! The signed manifest decides. What the job document says beside it (the release's name, the artifact's hash and size) must
//! agree with the manifest, and only the address of the artifact is taken from it.

use fleetward_supply::{SignedRelease, Trust};

use super::{Effect, Machine};
use crate::record::{Firmware, Image, Job, Phase, Slot, Source, Verdict};

/// What a job wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Install the named release.
    Update,
    /// Without an artifact: leave the named release for what ran before it. With one: as an update.
    Rollback,
}

/// A job as the server offers it; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub job: String,
    /// Why the document cannot be understood at all, or what it says.
    pub content: Result<Content, String>,
}

/// What the job document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub operation: Operation,
    pub name: String,
    pub version: String,
    /// The signed manifest; going back to what the other slot holds needs none.
    pub release: Option<SignedRelease>,
    pub artifact: Option<Image>,
    pub url: Option<String>,
}

/// What accepting a job leads to.
enum Decision {
    /// Nothing is to be done, and why.
    Done(String),
    /// The other slot holds it, checked.
    Switch(Firmware),
    Fetch(Firmware, Source),
}

impl Machine {
    pub(super) fn offered(&mut self, offer: Offer, todo: &mut Vec<Effect>) {
        if let Some(outcome) = self.record.outcome(&offer.job).cloned() {
            // Done before; the server has lost the answer, or has not got it yet.
            return self.report_outcome(&outcome, todo);
        }
        match self.record.job.as_ref().map(|job| (job.id == offer.job, job.phase)) {
            Some((true, Phase::Downloading { .. })) => return self.report_step("downloading", None, todo),
            Some((true, Phase::Trying { .. })) => return self.report_step("testing", None, todo),
            // One slot is on trial; the server is asked for the next job when that has ended.
            Some((false, Phase::Trying { .. })) => return,
            Some((false, Phase::Downloading { .. })) => {
                self.record.job = None;
                todo.push(Effect::StopDownload);
            }
            None => {}
        }
        match offer.content.and_then(|content| self.decide(content)) {
            Err(reason) => self.conclude(offer.job, Verdict::Rejected, "verifying", reason, todo),
            Ok(Decision::Done(reason)) => {
                self.conclude(offer.job, Verdict::Succeeded, "committed", reason, todo);
            }
            Ok(Decision::Switch(firmware)) => {
                let (target, phase) = (self.record.active.other(), Phase::Trying { boots: 0 });
                self.record.job = Some(Job { id: offer.job, target, firmware, source: None, phase });
                self.enter_trial(todo);
            }
            Ok(Decision::Fetch(firmware, source)) => self.take_on(offer.job, firmware, source, todo),
        }
    }

    fn take_on(&mut self, id: String, firmware: Firmware, source: Source, todo: &mut Vec<Effect>) {
        let (target, phase) = (self.record.active.other(), Phase::Downloading { starts: 1 });
        // Out of the record before its files are touched.
        self.record.set_slot(target, None);
        self.record.job = Some(Job { id, target, firmware, source: Some(source), phase });
        (self.idle_attempts, self.corrupt) = (0, 0);
        self.persist(todo);
        self.report_step("downloading", None, todo);
        self.download(0, todo);
    }

    fn decide(&self, content: Content) -> Result<Decision, String> {
        match content {
            Content { operation: Operation::Rollback, artifact: None, name, version, .. } => {
                self.go_back(&name, &version)
            }
            Content { release: None, .. } => Err(String::from("the job has no signed manifest")),
            Content { release: Some(release), artifact, name, version, url, .. } => {
                let (firmware, release) = self.verify(release, artifact.as_ref(), &name, &version)?;
                let holds = |slot: Slot| self.record.slot(slot).filter(|held| **held == firmware);
                if holds(self.record.active).is_some() {
                    Ok(Decision::Done(format!("already running {version}")))
                } else if let Some(held) = holds(self.record.active.other()) {
                    Ok(Decision::Switch(held.clone()))
                } else {
                    let url = url.ok_or_else(|| String::from("the job does not say where the artifact is"))?;
                    Ok(Decision::Fetch(firmware, Source { url, release }))
                }
            }
        }
    }

    /// The way back from a release that runs, to what the other slot still holds. That was checked when it was installed and
    /// is checked again before its trial, so no manifest is needed.
    fn go_back(&self, name: &str, version: &str) -> Result<Decision, String> {
        let runs = self.record.slot(self.record.active);
        if runs.is_none_or(|runs| runs.name != name || runs.version != version) {
            return Ok(Decision::Done(format!("{name} {version} does not run here; {} does", self.record.version())));
        }
        match self.record.slot(self.record.active.other()) {
            Some(held) => Ok(Decision::Switch(held.clone())),
            None => Err(String::from("the other slot holds nothing to go back to")),
        }
    }

    /// What the signed manifest says for this hardware, where it is to be trusted and agrees with the job document.
    fn verify(
        &self,
        release: SignedRelease,
        artifact: Option<&Image>,
        name: &str,
        version: &str,
    ) -> Result<(Firmware, SignedRelease), String> {
        let verified = self.policy.signers.verify(&release).map_err(|refused| refused.to_string())?;
        let manifest = verified.manifest();
        if manifest.name() != name || manifest.version() != version {
            return Err(format!(
                "the job says {name} {version}, its manifest {} {}",
                manifest.name(),
                manifest.version()
            ));
        }
        let mine = verified.artifact_for(&self.policy.hardware).map_err(|none| none.to_string())?;
        let image = Image { sha256: mine.sha256, size: mine.size };
        if artifact.is_some_and(|said| *said != image) {
            return Err(String::from("the job's artifact is not the one that the manifest has for this hardware"));
        }
        let firmware = Firmware { name: name.to_owned(), version: version.to_owned(), image: Some(image) };
        Ok((firmware, release))
    }
}
