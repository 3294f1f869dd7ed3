//! What the cryptography alone of an enrolment on a fresh mTLS connection costs this machine, by the library that both
//! sides use, measured in the run that it is held against.
//!
//! | step | device | server |
//! |---|---|---|
//! | key agreement, with the group that is agreed on here | make a key, agree | the same |
//! | the server's signature of the hand-shake | verify | sign |
//! | the server's certificate and that of its authority | verify both | |
//! | the device's signature of the hand-shake | sign | verify |
//! | the device's certificate | | verify |
//! | the request's signature (made beforehand) | | verify |
//! | the new certificate | | sign |
//!
//! All keys are P-256. No byte is sent, no record sealed, nothing parsed and nothing kept: no program on this machine that
//! does the same steps enrols faster than this.

use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use fleetward_base::{Clock as _, SystemClock};
use rustls::crypto::SupportedKxGroup;

use super::figures::{per_second, whole};

/// Bytes that a hand-shake signs: 64 spaces, a text and a hash (RFC 8446 §4.4.3). A certificate is some 450.
const SIGNED: [u8; 130] = [0x20; 130];

/// Enrolments a second, all cores together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) cores: usize,
    /// Where the machine makes both sides, as it does here.
    pub(crate) both_sides: f64,
    /// The server's part of the steps alone.
    pub(crate) server_side: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sides {
    Both,
    Server,
}

/// Measures on all cores at once, `length` for each of the two.
pub(crate) async fn limit(length: Duration) -> anyhow::Result<Limit> {
    let cores = std::thread::available_parallelism()?.get();
    let measured = tokio::task::spawn_blocking(move || {
        anyhow::Ok(Limit {
            cores,
            both_sides: on_all_cores(cores, Sides::Both, length)?,
            server_side: on_all_cores(cores, Sides::Server, length)?,
        })
    });
    measured.await?
}

fn on_all_cores(cores: usize, sides: Sides, length: Duration) -> anyhow::Result<f64> {
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(move || on_one(sides, length))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().ok().context("a thread of the measurement died")?);
        joined.collect::<anyhow::Result<Vec<f64>>>()
    });
    Ok(rates?.into_iter().sum())
}

fn on_one(sides: Sides, length: Duration) -> anyhow::Result<f64> {
    let steps = Steps::new()?;
    let clock = SystemClock::new();
    let mut count = 0;
    loop {
        steps.enrol(sides)?;
        count += 1;
        let taken = clock.monotonic();
        if taken >= length {
            return Ok(per_second(count, taken));
        }
    }
}

struct Steps {
    group: &'static dyn SupportedKxGroup,
    key: EcdsaKeyPair,
    random: SystemRandom,
    signature: Vec<u8>,
}

impl Steps {
    fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref())?;
        let signature = key.sign(&random, &SIGNED)?.as_ref().to_vec();
        // Both sides here offer the same, and the first is what they agree on.
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let group = *provider.kx_groups.first().context("no group to agree keys in")?;
        Ok(Self { group, key, random, signature })
    }

    fn enrol(&self, sides: Sides) -> anyhow::Result<()> {
        let device = self.group.start()?;
        let server = self.group.start_and_complete(device.pub_key())?;
        let (signs, verifies) = match sides {
            Sides::Both => {
                device.complete(&server.pub_key)?;
                (3, 6)
            }
            // The device's half of the agreement was as much again as is taken for the server's.
            Sides::Server => (2, 3),
        };
        for _ in 0..signs {
            self.key.sign(&self.random, &SIGNED)?;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.key.public_key().as_ref());
        for _ in 0..verifies {
            public.verify(&SIGNED, &self.signature)?;
        }
        Ok(())
    }
}

/// What OpenSSL does of the same on one core, as a second opinion: signatures and verifications a second with P-256.
pub(crate) async fn openssl_p256() -> anyhow::Result<(f64, f64)> {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["speed", "-mr", "-seconds", "1", "ecdsap256"]).stdin(std::process::Stdio::null());
    let output = command.output().await.context("running `openssl speed`; install openssl")?;
    anyhow::ensure!(output.status.success(), "`openssl speed` failed with {}", output.status);
    rates_in(&String::from_utf8_lossy(&output.stdout)).context("`openssl speed` printed no figure for P-256")
}

/// The line `+F4:INDEX:BITS:SIGN:VERIFY` of `openssl speed -mr`: each is a rate, or the seconds that one takes.
fn rates_in(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("+F4:"))?;
    let mut fields = line.split(':').skip(2).map(|field| field.parse::<f64>().ok().filter(|value| *value > 0.0));
    let rate = |value: f64| if value < whole(1) { value.recip() } else { value };
    Some((rate(fields.next()??), rate(fields.next()??)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_openssl() {
        assert_eq!(rates_in("+DTP:256:sign:ecdsa:1\n+F4:3:256:37060.0:11770.0\n"), Some((37_060.0, 11_770.0)));
        assert_eq!(rates_in("+F4:3:256:0.000025:0.0001"), Some((40_000.0, 10_000.0)));
        assert_eq!(rates_in("+F4:3:256:0:0"), None);
        assert_eq!(rates_in("nothing"), None);
    }

    #[tokio::test]
    async fn one_side_is_less_work_than_two() {
        let limit = limit(Duration::from_millis(50)).await.expect("it measures");
        assert!(limit.server_side > limit.both_sides && limit.both_sides > 0.0, "{limit:?}");
    }
}
