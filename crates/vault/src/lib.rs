//! Seals and keys.
