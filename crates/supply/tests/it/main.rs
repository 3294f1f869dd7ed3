//! The crate against files that others made: golden bytes that must never change, and what the fuzzer has seen.

mod corpus;
mod golden;
