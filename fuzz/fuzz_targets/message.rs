//! Arbitrary bytes as a SIP message: as a datagram, as what arrives on a connection in pieces of any size, and the SDP in
//! it. Nothing panics; what must hold is asserted in `control/tests/gateway/fuzzed/message.rs`.
#![no_main]

#[path = "../../control/tests/gateway/core_support/mod.rs"]
mod core_support;
#[path = "../../control/tests/gateway/fuzzed/mod.rs"]
mod fuzzed;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzed::message::message(data));
