//! Devices at the MQTT door, with everything behind it.

mod doorstep;
mod house;
mod jobs;
mod probes;
mod provisioning;
mod shadow;
