//! The agent's program against the server's program, over real sockets.

mod keys;
mod rest;
mod stage;
mod swtpm;
mod tpm;
mod transfer;
mod updates;
mod upkeep;
