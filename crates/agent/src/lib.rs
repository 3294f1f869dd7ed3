//! The device agent.

pub mod disk;
pub mod machine;
pub mod record;
pub mod slots;
