//! The door as AWS's clients reach it: signed requests against a server of its own for each test.

mod data_planes;
mod declared;
mod golden;
mod house;
mod links;
mod manners;
mod probes;
