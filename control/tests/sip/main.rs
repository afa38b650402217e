//! SIP: the endpoint, its transactions and dialogs, its connections. In one executable, which is linked once.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod calls;
mod client;
mod digest;
mod refer;
mod reliable;
mod rfc_messages;
mod server;
mod session_timer;
mod strangers;
mod streams;
mod support;
mod torture;
mod within;
