//! Messages of the foreign device protocols.
