//! Renewing certificates: by campaign, by request, at a pace, and what is counted of it.
//!
//! How one certificate takes the place of another is the ladder's (`core::rotation`, reached through [`crate::enroll`]). Here is
//! what makes devices climb it: [`ask_to_renew`] for some devices now, and campaigns, which ask a fleet group by group. A
//! device that is asked hears it on its topic, and hears it again whenever it subscribes to that, until it has renewed.

pub(crate) mod ask;
pub(crate) mod campaigns;
pub(crate) mod traffic;

pub use ask::{Ask, ask_device_to_renew, ask_to_renew, tell_again};
pub use campaigns::control::{cancel_rotation, pause_rotation, resume_rotation};
pub use campaigns::create::{NewRotation, create_rotation};
pub use campaigns::read::{Member, RotationView, rotation, rotation_devices, rotations};
pub use traffic::Figures;
