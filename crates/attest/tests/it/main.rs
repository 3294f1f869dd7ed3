//! Evidence of other people's tools and of our own making, and bytes that are none.

mod corpus;
mod dice;
mod tokens;
mod tpm;
