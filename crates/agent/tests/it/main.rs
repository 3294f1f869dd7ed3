//! The agent's program against the server's program, over real sockets.

mod rest;
mod stage;
mod updates;
mod upkeep;
