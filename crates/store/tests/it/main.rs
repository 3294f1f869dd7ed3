//! The store on both engines: the contract that both keep, and what each does when things go wrong.

mod contract;
mod coverage;
mod migrations;
mod postgres;
mod seam;
mod sqlite;
mod support;
