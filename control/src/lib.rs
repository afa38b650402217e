//! voxlane's control plane: signalling, call control, configuration, operations.
//!
//! A call's way through: `sip::transport` (the only SIP I/O) -> [`sip`] (sans-IO: transactions, dialogs) -> `gateway`
//! (the shell) -> `call` (a state machine that returns actions) -> SIP commands, and the data plane's `MediaPlane`.

pub mod call;
pub mod campaign;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod guard;
pub mod ops;
pub mod plane;
pub mod rest;
pub mod route;
pub mod sdp;
pub mod signature;
pub mod sip;
pub mod softphone;
pub mod time;
pub mod twiml;
pub mod web;
