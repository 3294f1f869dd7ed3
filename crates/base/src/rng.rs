//! Chance as an argument.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where randomness comes from. What guards a secret must come from [`SystemRng`] in a running program.
pub trait Rng: Send + Sync + 'static {
    fn fill(&self, out: &mut [u8]);

    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The same bytes for the same seed (SplitMix64). For tests and simulation; never for secrets of a running program.
#[derive(Debug)]
pub struct SeededRng(AtomicU64);

impl SeededRng {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn step(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Rng for SeededRng {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.step().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

/// The operating system's random source.
#[cfg(feature = "system")]
#[derive(Debug, Default)]
pub struct SystemRng;

#[cfg(feature = "system")]
impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the operating system has a random source");
    }
}
