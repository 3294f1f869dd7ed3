//! Use cases against a real store, with a clock that the test moves.

mod enroll;
mod fixture;
mod registry;
mod tokens;
