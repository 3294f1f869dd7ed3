//! What Azure's IoT Hub has for a device, over what there is: its twin is the classic shadow, a message to it is one of the
//! broker's, and only calling a method is new.
//!
//! A call and a message are written in the journal before the device hears of them, so that nothing is done to a device
//! without a trace; payloads are not in it.

mod messages;
mod methods;
mod twin;

pub use messages::{NewMessage, Sent, send_message};
pub use methods::{NewCall, Outcome, call_method};
pub(crate) use twin::tell_desired;
pub use twin::{report_twin, twin};
