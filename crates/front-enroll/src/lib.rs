//! The enrolment door (EST).
