//! The door over a real house: store, vault, authorities, releases and enrolled devices.

mod artifacts;
mod fixture;
