//! Devices at the MQTT door, with everything behind it.

mod attest;
mod azure;
mod bearers;
mod commands;
mod doorstep;
mod events;
mod external;
mod house;
mod hub;
mod jobs;
mod light;
mod messages;
mod policies;
mod probes;
mod provisioning;
mod shadow;
mod transfers;
mod websocket;
mod wills;
