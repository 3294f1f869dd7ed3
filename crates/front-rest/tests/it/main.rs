//! The door through its real router over real sockets, with a store of its own and a clock that stands still.

mod access;
mod activate;
mod broker;
mod ca;
mod commands;
mod device_door;
mod device_jobs;
mod devices;
mod doors;
mod golden;
mod house;
mod manners;
mod operators;
mod probes;
mod releases;
mod state;
mod stream;
