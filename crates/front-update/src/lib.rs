//! The artifact door.
