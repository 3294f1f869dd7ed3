//! A job from its offer to its end: verify, download, install, restart, self-test, keep or fall back.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_supply::{Artifact, Sha256, SignedRelease, Trust as _};
use fleetward_wire::aws::document::{JobDocument, Operation};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::link::{Link, Rejected};
use super::{Device, Firmware, wait};
use crate::http::Connection;
use crate::json;
use crate::net::Door;
use crate::tls::ALPN_HTTP;

/// An image that has been started and not yet proven.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    job: String,
}

/// The end of a job, to be told to the server.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    job: String,
    status: &'static str,
    step: &'static str,
    reason: String,
}

/// Why a job is not taken, or not finished.
#[derive(Debug)]
struct Stop {
    status: &'static str,
    step: &'static str,
    reason: String,
}

impl Device {
    /// Asks for the next job and works on it; true when the device is to restart.
    pub(super) async fn next_job(&mut self, link: &mut Link, stop: &CancellationToken) -> anyhow::Result<bool> {
        loop {
            let details = json!({ "step": "downloading", "firmware": self.running.version });
            let answer = link.request("jobs/start-next", json!({ "statusDetails": details })).await?;
            let Some(execution) = answer.get("execution").filter(|execution| execution.is_object()) else {
                return Ok(false);
            };
            let job = json::text(execution, "jobId")?;
            match self.prepare(link, &job, json::at(execution, "/jobDocument"), stop).await? {
                Ok(firmware) => {
                    self.previous = Some(std::mem::replace(&mut self.running, firmware));
                    self.trial = Some(Trial { job });
                    return Ok(true);
                }
                Err(Stop { status, step, reason }) => {
                    self.outcome = Some(Outcome { job, status, step, reason });
                    self.report_outcome(link).await?;
                }
            }
        }
    }

    /// Everything up to the restart.
    async fn prepare(
        &mut self,
        link: &mut Link,
        job: &str,
        document: &Value,
        stop: &CancellationToken,
    ) -> anyhow::Result<Result<Firmware, Stop>> {
        let document = match serde_json::from_value::<JobDocument>(document.clone()) {
            Ok(document) => document,
            Err(cause) => return Ok(Err(rejected(format!("not a job document: {cause}")))),
        };
        let firmware = if document.operation == Operation::Rollback {
            match self.previous.take().filter(|previous| previous.version == document.release.version) {
                Some(previous) => previous,
                None => return Ok(Err(rejected("the other slot holds something else".to_owned()))),
            }
        } else {
            match self.fetch(&document, stop).await? {
                Ok(firmware) => firmware,
                Err(stop) => return Ok(Err(stop)),
            }
        };
        for step in ["installing", "restarting"] {
            if !self.report_step(link, job, step).await? {
                return Ok(Err(rejected("withdrawn".to_owned())));
            }
            wait(self.world.pace, stop).await;
        }
        Ok(Ok(firmware))
    }

    async fn fetch(&self, document: &JobDocument, stop: &CancellationToken) -> anyhow::Result<Result<Firmware, Stop>> {
        let artifact = match self.verified(document) {
            Ok(artifact) => artifact,
            Err(reason) => return Ok(Err(rejected(reason))),
        };
        let Some(offer) = &document.artifact else {
            return Ok(Err(rejected("no artifact to download".to_owned())));
        };
        let image = self.download(&offer.url).await?;
        wait(self.world.pace, stop).await;
        if image.len() as u64 != artifact.size || Sha256::of(&image) != artifact.sha256 {
            let reason = "the image is not what the manifest promises".to_owned();
            return Ok(Err(Stop { status: "FAILED", step: "verifying", reason }));
        }
        Ok(Ok(Firmware { version: document.release.version.clone(), image }))
    }

    /// The artifact for this hardware, out of a manifest that an accepted signer vouches for.
    fn verified(&self, document: &JobDocument) -> Result<Artifact, String> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|cause| cause.to_string());
        let release = SignedRelease {
            manifest: decode(&document.manifest)?,
            signature: decode(&document.signature)?,
            key_id: document.key_id.parse().map_err(|_| "no key id".to_owned())?,
        };
        let verified = self.signers.verify(&release).map_err(|refused| refused.to_string())?;
        if verified.manifest().version() != document.release.version {
            return Err("the job names another version than the manifest".to_owned());
        }
        verified.artifact_for(&self.hardware).cloned().map_err(|missing| missing.to_string())
    }

    async fn download(&self, url: &str) -> anyhow::Result<Bytes> {
        let url: http::Uri = url.parse().context("the artifact's address is no URL")?;
        let host = url.host().context("the artifact's address has no host")?;
        let door = Door::local(host, url.port_u16().unwrap_or(443))?;
        let tls = self.world.trust.identified(&self.identity, &[ALPN_HTTP])?;
        let mut connection = Connection::open(&door, &tls, Some(self.source)).await?;
        let answer = connection.send(Method::GET, url.path(), &[], Vec::new()).await?;
        Ok(answer.success().context("download")?.body)
    }

    /// Runs the image on trial: keeps it, or falls back and leaves the outcome to be told after the restart.
    pub(super) async fn self_test(
        &mut self,
        link: &mut Link,
        trial: Trial,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // A cut connection must not lose the trial.
        self.trial = Some(trial.clone());
        self.report_step(link, &trial.job, "testing").await?;
        wait(self.world.pace, stop).await;
        let result = run(&self.running.image);
        if result.is_err() {
            self.report_step(link, &trial.job, "falling-back").await?;
        }
        self.trial = None;
        match result {
            Ok(()) => {
                let details = json!({ "step": "committed", "firmware": self.running.version });
                self.update(link, &trial.job, json!({ "status": "SUCCEEDED", "statusDetails": details })).await?;
            }
            Err(reason) => {
                if let Some(previous) = self.previous.take() {
                    self.running = previous;
                }
                self.outcome = Some(Outcome { job: trial.job, status: "FAILED", step: "testing", reason });
            }
        }
        Ok(())
    }

    /// Tells the end of a job that the server has not heard of.
    pub(super) async fn report_outcome(&mut self, link: &mut Link) -> anyhow::Result<()> {
        let Some(Outcome { job, status, step, reason }) = self.outcome.clone() else { return Ok(()) };
        let details = json!({ "step": step, "reason": reason, "firmware": self.running.version });
        self.update(link, &job, json!({ "status": status, "statusDetails": details })).await?;
        self.outcome = None;
        Ok(())
    }

    async fn report_step(&self, link: &mut Link, job: &str, step: &str) -> anyhow::Result<bool> {
        let details = json!({ "step": step, "firmware": self.running.version });
        self.update(link, job, json!({ "status": "IN_PROGRESS", "statusDetails": details })).await
    }

    /// False when the server says that the job is over: then nobody waits for its end.
    async fn update(&self, link: &mut Link, job: &str, body: Value) -> anyhow::Result<bool> {
        match link.request(&format!("jobs/{job}/update"), body).await {
            Ok(_) => Ok(true),
            Err(cause) if cause.downcast_ref::<Rejected>().is_some_and(is_over) => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

fn is_over(rejected: &Rejected) -> bool {
    let code = json::at(&rejected.body, "/code").as_str();
    matches!(code, Some("InvalidStateTransition" | "TerminalStateReached" | "ResourceNotFound"))
}

fn rejected(reason: String) -> Stop {
    Stop { status: "REJECTED", step: "verifying", reason }
}

/// The self-test of an image of the simulation: a shell script whose last line says how it ends, as the real agent would
/// find out by running it.
fn run(image: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(image);
    match text.trim_end().lines().last() {
        Some("exit 0") => Ok(()),
        Some(last) if last.starts_with("exit ") => Err(format!("self-test: {last}")),
        _ => Err("the image does not start".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_decides_its_own_test() {
        assert_eq!(run(b"#!/bin/sh\nexit 0\n"), Ok(()));
        assert_eq!(run(b"#!/bin/sh\nexit 1\n"), Err("self-test: exit 1".to_owned()));
        assert!(run(b"").is_err() && run(&[0xFF, 0]).is_err());
    }
}
