//! The device agent.

pub mod disk;
pub mod identity;
pub mod machine;
pub mod record;
pub mod slots;
