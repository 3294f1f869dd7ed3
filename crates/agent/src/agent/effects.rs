//! Performing what the update machine asks for.

use std::sync::Arc;
use std::time::Duration;

use fleetward_supply::Artifact;
use tokio::time::timeout;

use super::{Agent, AgentError, Done, LONGEST_WAIT, chance, io_error};
use crate::download::{Download, off_thread};
use crate::handlers::{HandlerError, SELF_TEST};
use crate::machine::{DownloadFailure, Effect, Event};
use crate::record::{Firmware, Slot, Source};
use crate::slots;

impl Agent {
    /// Gives an event to the machine and performs what it asks for, in its order.
    pub(super) fn happened(&mut self, event: Event) -> Result<(), AgentError> {
        for effect in self.machine.handle(event) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), AgentError> {
        match effect {
            Effect::Persist(record) => {
                return record.save(self.disk.as_ref()).map_err(io_error("cannot write the record"));
            }
            Effect::Clear { slot, keep } => {
                if let Err(error) = slots::clear(self.disk.as_ref(), slot, keep) {
                    tracing::warn!(%slot, %error, "cannot clear the slot");
                }
            }
            Effect::Download { job, slot, url, artifact, attempt } => self.fetch(job, slot, url, artifact, attempt),
            Effect::StopDownload => {
                if let Some(download) = self.download.take() {
                    download.abort();
                }
            }
            Effect::Install { job, slot, source, sha256, size } => {
                self.install(job, slot, source, Artifact { filename: String::new(), hardware: vec![], sha256, size });
            }
            Effect::CheckSlot { slot, firmware } => self.check(slot, firmware),
            Effect::SelfTest { job, slot, firmware } => self.self_test(job, slot, &firmware),
            Effect::Restart => {
                tracing::info!(slot = %self.machine.record().running(), "restarting");
                self.restart = true;
            }
            Effect::Report(report) => {
                tracing::info!(job = %report.job, step = %report.step, verdict = ?report.verdict, reason = report.reason.as_deref(), "update");
                let messages = self.jobs.say(report);
                self.send(messages);
            }
            Effect::AskNext => {
                let messages = self.jobs.ask_next();
                self.send(messages);
            }
        }
        Ok(())
    }

    fn fetch(&mut self, job: String, slot: Slot, url: String, artifact: Artifact, attempt: u32) {
        let (disk, server) = (Arc::clone(&self.disk), self.target.server.clone());
        let longest = Duration::from_secs(1 << attempt.min(10)).min(LONGEST_WAIT);
        let wait = if attempt == 0 { Duration::ZERO } else { longest.mul_f64(0.5 + 0.5 * chance(self.rng.as_ref())) };
        let credential = self.certificates.in_use();
        self.download = Some(self.work.spawn(async move {
            let _waited = timeout(wait, std::future::pending::<()>()).await;
            let result = match credential {
                Some(credential) => Download { disk, server, credential, slot, url, artifact }.run().await,
                None => Err(DownloadFailure::Interrupted { reason: String::from("not enrolled"), progress: false }),
            };
            if let Err(failure) = &result {
                tracing::warn!(?failure, "download");
            }
            Done::Machine(Event::DownloadEnded { job, result })
        }));
    }

    fn install(&mut self, job: String, slot: Slot, source: Box<Source>, image: Artifact) {
        let disk = Arc::clone(&self.disk);
        self.work.spawn(async move {
            let put = move || slots::install(disk.as_ref(), slot, &source, image.sha256, image.size);
            let result = match off_thread(put).await {
                Ok(checked) => checked.map_err(|mismatch| mismatch.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Done::Machine(Event::InstallEnded { job, result })
        });
    }

    fn check(&mut self, slot: Slot, firmware: Box<Firmware>) {
        let disk = Arc::clone(&self.disk);
        self.work.spawn(async move {
            let intact = off_thread(move || slots::is_intact(disk.as_ref(), slot, &firmware)).await;
            if let Err(error) = &intact {
                tracing::error!(%slot, %error, "cannot read the slot");
            }
            Done::Machine(Event::SlotChecked { slot, intact: intact.unwrap_or(false) })
        });
    }

    /// The handler `self-test`, where there is one; then the server must be reached, because an image that cannot be updated
    /// any more is not a good one.
    fn self_test(&mut self, job: String, slot: Slot, firmware: &Firmware) {
        let path = firmware.image.as_ref().map(|image| self.folder.resolve(&slots::image_path(slot, image.sha256)));
        let environment = [
            ("FLEETWARD_SLOT", slot.to_string()),
            ("FLEETWARD_VERSION", firmware.version.clone()),
            ("FLEETWARD_RELEASE", firmware.name.clone()),
            ("FLEETWARD_HARDWARE", self.options.hardware.clone()),
            ("FLEETWARD_IMAGE", path.map(|path| path.display().to_string()).unwrap_or_default()),
        ];
        let (handlers, mut online) = (self.handlers.clone(), self.online.subscribe());
        let limit = self.options.reach_limit();
        self.work.spawn(async move {
            let result = async {
                match handlers.run(SELF_TEST, b"", &environment).await {
                    Ok(()) | Err(HandlerError::Absent) => {}
                    Err(error) => return Err(format!("self-test: {error}")),
                }
                match timeout(limit, online.wait_for(|online| *online)).await {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(format!("the server was not reached within {} s", limit.as_secs())),
                }
            };
            let result = result.await;
            Done::Machine(Event::SelfTestEnded { job, result })
        });
    }
}
