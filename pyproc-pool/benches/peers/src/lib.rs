//! What the programs of the benchmark share: the plan of a session, the jobs, and what is measured.
//!
//! A *session* is one peer doing one work in one arrangement. It runs in a client process of its
//! own, so that memory and processor time belong to that peer alone; the client starts the
//! peer's server, checks its answers, takes the session's steps, and prints a row of figures for each.
//! Clients are Rust programs (`pyproc-bench client`), Python programs, or
//! a Rust module inside of a Python process; all get the session as JSON.

mod catalog;
mod cli;
mod client;
pub mod job;
pub mod latencies;
pub mod plan;
pub mod process;
mod report;
pub mod row;
mod run;

pub use cli::main;
