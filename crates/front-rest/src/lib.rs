//! The operators' REST door.
