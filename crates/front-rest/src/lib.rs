//! The operators' REST door.

pub mod body;
pub mod etag;
pub mod failures;
pub mod page;
pub mod problem;
pub mod request;
