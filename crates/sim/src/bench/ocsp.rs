//! OCSP over plain HTTP, asked after a million certificates.
//!
//! First the same few thousand certificates again and again, by POST and by GET: answers that were signed before. Then
//! each time another one, whose answer is looked up and signed for it. Last on a connection for each request, as
//! OpenSSL's own responder must be asked, which then takes the same load over the same fleet. Before any of it `openssl ocsp` as a client is satisfied with an answer of each kind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{Clock as _, SystemClock};
use fleetward_pki::{Certificate, ocsp, pem};

use super::asking::{Ask, Manner, storm};
use super::figures::{Figures, Latency};
use super::fill::{Filled, Plan};
use super::responder::OpenSsl;
use super::stage::{Stage, Used};
use super::{Bench, BenchArgs, million, progress};
use crate::http::Answer;
use crate::process;

/// Requests under way at once.
const AT_ONCE: usize = 32;
/// Certificates that are asked after again and again.
const HOT: usize = 5000;
/// Between two that are asked after once: no common factor with any round number, so that all come before one comes twice.
const STRIDE: usize = 99_991;
const REQUEST: &str = "application/ocsp-request";

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let certificates = args.devices.unwrap_or(million::MILLION);
    let plan = Plan { certificates, one_revoked_in: 100, batch: 0, denied: 0 };
    let mut figures = Figures::new(Bench::Ocsp);
    let (stage, filled) = million::raise(args, plan, &mut figures).await?;
    let asked = Arc::new(Asked::of(&stage, filled)?);
    control(&stage, &asked).await?;
    figures.parameter("at_once", AT_ONCE);
    figures.parameter("hot_certificates", HOT.min(certificates));

    let manner = Manner { at_once: AT_ONCE, length: Duration::from_secs(args.seconds), fresh: false };
    warm_up(&asked, manner).await?;
    for (what, form, pick) in [
        ("kept_post", Form::Post, Pick::Hot),
        ("kept_get", Form::Get, Pick::Hot),
        ("on_demand_post", Form::Post, Pick::Once(1)),
        ("on_demand_get", Form::Get, Pick::Once(2)),
    ] {
        let (latency, used) = measure(&asked, stage.server.pid(), manner, form, pick).await.context(what)?;
        figures.stretch(("", what, ""), latency.count(), &used);
        figures.latency((&format!("{what}_"), ""), &latency);
    }
    let fresh = Manner { fresh: true, ..manner };
    let (latency, used) = measure(&asked, stage.server.pid(), fresh, Form::Post, Pick::Once(3)).await?;
    figures.stretch(("", "fresh_post", ""), latency.count(), &used);
    figures.latency(("fresh_post_", ""), &latency);
    figures.set("rss_bytes_after", super::figures::whole(stage.server.memory()?.rss));
    let filled = asked.filled.clone();
    stage.close().await?;

    let spinner = progress::spinner("openssl reads its index");
    let openssl = OpenSsl::start(&filled).await?;
    let peer = Asked { address: openssl.address, path: "/".to_owned(), authority: openssl.authority.clone(), filled };
    spinner.finish_and_clear();
    let (latency, used) = measure(&Arc::new(peer), openssl.pid, fresh, Form::Post, Pick::Once(3)).await?;
    figures.stretch(("openssl_", "fresh_post", ""), latency.count(), &used);
    figures.latency(("openssl_fresh_post_", ""), &latency);
    openssl.stop().await?;
    let rate = |prefix: &str| figures.metric(&format!("{prefix}fresh_post_per_server_cpu_second"));
    if let (Some(ours), Some(theirs)) = (rate(""), rate("openssl_")) {
        figures.set("ratio_to_openssl", ours / theirs);
    }
    Ok(figures)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Post,
    Get,
}

/// Which certificate the `n`-th request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    Hot,
    /// One that this bench has not asked after before; each such stretch begins elsewhere.
    Once(usize),
}

/// Who is asked, and about what.
pub(crate) struct Asked {
    pub(crate) address: SocketAddr,
    path: String,
    authority: Certificate,
    filled: Filled,
}

impl Asked {
    fn of(stage: &Stage, filled: Filled) -> anyhow::Result<Self> {
        let mark = filled.authority.fingerprint().chars().take(16).collect::<String>();
        let path = format!("/pki/{mark}/ocsp");
        Ok(Self { address: stage.pki_address()?, path, authority: filled.authority.clone(), filled })
    }

    fn ask(&self, form: Form, index: usize) -> anyhow::Result<Ask> {
        let id = ocsp::cert_id(&self.authority, &self.filled.serial(index)?)?;
        let request = request(&id);
        Ok(match form {
            Form::Post => Ask::post(self.path.clone(), REQUEST, request),
            // RFC 6960 appendix A.1: base64, and what a path may not have is escaped.
            Form::Get => {
                let text = STANDARD.encode(request).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
                Ask::get(format!("{}/{text}", self.path))
            }
        })
    }

    fn pick(&self, pick: Pick, number: usize) -> usize {
        let all = self.filled.plan.certificates;
        match pick {
            Pick::Hot => number % HOT.min(all),
            Pick::Once(turn) => (HOT + turn * all / 7 + number.wrapping_mul(STRIDE)) % all,
        }
    }
}

/// An OCSPRequest about one certificate, with neither nonce nor signature.
fn request(id: &[u8]) -> Vec<u8> {
    (0..4).fold(id.to_vec(), |inner, _| sequence(&inner))
}

fn sequence(content: &[u8]) -> Vec<u8> {
    // Shorter than 256 bytes, whatever the identifier.
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let mut out = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    out.extend_from_slice(content);
    out
}

/// A signed answer begins with the status `successful` (RFC 6960 §4.2.1); the rest was shown to OpenSSL.
fn check(answer: &Answer) -> anyhow::Result<()> {
    const SUCCESSFUL: [u8; 3] = [0x0a, 1, 0];
    let said = answer.body.get(..8).unwrap_or_default();
    anyhow::ensure!(said.windows(3).any(|bytes| bytes == SUCCESSFUL), "no answer: {said:02x?}");
    Ok(())
}

async fn measure(
    asked: &Arc<Asked>,
    pid: u32,
    manner: Manner,
    form: Form,
    pick: Pick,
) -> anyhow::Result<(Latency, Used)> {
    let spinner = progress::spinner(&format!("{form:?} {pick:?}"));
    let clock = SystemClock::new();
    let (cpu, load) = (process::cpu_time(pid)?, process::cpu_time(std::process::id())?);
    let asked_in = Arc::clone(asked);
    let ask = move |number| asked_in.ask(form, asked_in.pick(pick, number));
    let latency = storm(asked.address, manner, ask, check).await?;
    spinner.finish_and_clear();
    let used = Used {
        wall: clock.monotonic(),
        cpu: process::cpu_time(pid)?.saturating_sub(cpu),
        load: process::cpu_time(std::process::id())?.saturating_sub(load),
        memory: process::memory(pid)?,
    };
    Ok((latency, used))
}

/// Each of the hot ones once, so that its answer is there.
async fn warm_up(asked: &Arc<Asked>, manner: Manner) -> anyhow::Result<()> {
    let mut connection = crate::http::Connection::plain(asked.address, None).await?;
    for index in 0..HOT.min(asked.filled.plan.certificates) {
        check(&asked.ask(Form::Post, index)?.send(&mut connection).await?)?;
    }
    let short = Manner { length: Duration::from_millis(300), ..manner };
    measure(asked, std::process::id(), short, Form::Get, Pick::Hot).await.map(drop)
}

/// OpenSSL's client verifies an answer about a good certificate, one about a revoked one, and one about none of ours.
async fn control(stage: &Stage, asked: &Asked) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("fleetward-ocsp-").tempdir()?;
    let issuer = pem::write(pem::CERTIFICATE, &asked.authority.der);
    let root = std::fs::read_to_string(&stage.server.endpoints.ca_file)?;
    std::fs::write(folder.path().join("issuer.pem"), &issuer)?;
    std::fs::write(folder.path().join("trusted.pem"), root + &issuer)?;
    let url = format!("http://{}{}", asked.address, asked.path);
    let (revoked, good) = (asked.filled.serial(0)?, asked.filled.serial(1)?);
    for (serial, expected) in
        [(revoked.to_string(), "revoked"), (good.to_string(), "good"), ("40".repeat(16), "unknown")]
    {
        for nonce in ["-nonce", "-no_nonce"] {
            let said = client(folder.path(), &url, &serial, nonce).await?;
            let fits = said.contains("Response verify OK") && said.contains(&format!(": {expected}"));
            anyhow::ensure!(fits, "openssl expected {expected} of {serial} and said: {said}");
        }
    }
    Ok(())
}

async fn client(folder: &Path, url: &str, serial: &str, nonce: &str) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["ocsp", nonce, "-issuer", "issuer.pem", "-serial", &format!("0x{serial}"), "-url", url]);
    command.args(["-CAfile", "trusted.pem"]).current_dir(folder).stdin(std::process::Stdio::null());
    let output = command.output().await.context("running `openssl ocsp`")?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_server_reads() {
        let hash = |fill: u8| [&[4, 20][..], &[fill; 20]].concat();
        let sha1 = [0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
        let id = sequence(&[&sha1[..], &hash(1), &hash(2), &[2, 2, 0x41, 0x42]].concat());
        let read = ocsp::Request::parse(&request(&id)).expect("a request");
        assert_eq!(read.certificates.len(), 1);
        assert_eq!(read.certificates[0].serial.to_string(), "4142");
        assert_eq!(read.nonce, None);
    }
}
