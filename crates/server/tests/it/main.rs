//! The program as it is started: what it prints, leaves behind, refuses, and how it ends.

mod crash;
mod process;
mod resume;
mod seal;
mod start;
