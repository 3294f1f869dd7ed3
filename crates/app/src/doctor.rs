//! What a health check looks at: the store, the seal, the clock, the issuers, the ends of certificates, and what the program
//! adds (its own doors). Each check does the real thing: it writes and reads, seals and opens, signs and verifies.
//!
//! One examination at a time, and at most one in [`KEPT`]: whoever asks meanwhile gets the last one, so that asking costs
//! nothing. What a check says names no tenant and holds no secret.

mod checks;
mod external;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::App;

/// How long an examination is good for.
pub const KEPT: Duration = Duration::from_secs(5);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    Fail,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was done and found, in one line.
    pub detail: String,
    /// What to do about it; none where all is well.
    pub remedy: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), remedy: None }
    }

    pub fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    pub fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst of its checks.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Fail)
    }
}

/// A check of what this crate knows nothing of.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    async fn run(&self) -> Check;
}

/// The last examination, and what the program adds to the next one.
#[derive(Default)]
pub(crate) struct Doctor {
    last: tokio::sync::Mutex<Option<(Duration, Arc<Report>)>>,
    probes: std::sync::OnceLock<Vec<Arc<dyn Probe>>>,
}

/// Adds the program's own checks. The first call counts.
pub fn add_probes(app: &App, probes: Vec<Arc<dyn Probe>>) {
    app.doctor().probes.set(probes).ok();
}

/// Examines the installation, or gives what was found a moment ago.
pub async fn examine(app: &App) -> Arc<Report> {
    let mut last = app.doctor().last.lock().await;
    let now = app.clock().monotonic();
    if let Some((at, report)) = &*last
        && now.saturating_sub(*at) < KEPT
    {
        return Arc::clone(report);
    }
    let mut checks = vec![
        checks::store(app).await,
        checks::clock(app).await,
        checks::seal(app),
        checks::issuers(app).await,
        external::issuers(app).await,
        checks::expiry(app).await,
    ];
    for probe in app.doctor().probes.get().into_iter().flatten() {
        checks.push(probe.run().await);
    }
    let report = Arc::new(Report { checks });
    *last = Some((app.clock().monotonic(), Arc::clone(&report)));
    report
}
