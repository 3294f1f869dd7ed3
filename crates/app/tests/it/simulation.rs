//! A simulated fleet against the real use cases and the real store, decided by one seed.
//!
//! Devices come and go, take what is queued, fail, fall silent, repeat themselves and speak too late; operators pause,
//! resume, cancel and roll back; the server is killed between any two of its effects and starts again on the same file.
//! After every step the predicates of `core::invariants` hold. When the storm is over, every rollout comes to its end.
//!
//! A failure names its seed: `FLEETWARD_SEED=7 cargo test -p fleetward-app --test it simulation`.

mod device;
mod look;
mod world;

use futures::StreamExt;
use world::World;

/// Seeds that every run of the tests plays.
const SEEDS: std::ops::Range<u64> = 0..50;
const STEPS: usize = 120;
const AT_ONCE: usize = 10;

async fn play(seed: u64) {
    let mut world = World::new(seed).await;
    for step in 0..STEPS {
        world.step(step).await;
    }
    world.settle().await;
}

#[tokio::test]
async fn whatever_happens_the_invariants_hold() {
    let chosen = std::env::var("FLEETWARD_SEED").ok().and_then(|seed| seed.parse().ok());
    match chosen {
        Some(seed) => play(seed).await,
        // Each world waits for its own disk most of the time.
        None => futures::stream::iter(SEEDS).for_each_concurrent(AT_ONCE, play).await,
    }
}
