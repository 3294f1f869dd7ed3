//! Devices at the MQTT door, with everything behind it.

mod attest;
mod azure;
mod bearers;
mod doorstep;
mod house;
mod jobs;
mod policies;
mod probes;
mod provisioning;
mod shadow;
mod transfers;
mod websocket;
