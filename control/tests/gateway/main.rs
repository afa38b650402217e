//! The gateway without sockets: calls, routes, trunks, placed calls and transfers, the admin socket. In one executable, which is linked once.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod admin;
mod call_machine;
mod calls;
mod core_support;
mod fuzz_corpus;
mod fuzzed;
mod route;
mod scenario_support;
mod scenarios;
mod trunk_core;
