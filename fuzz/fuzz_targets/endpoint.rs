//! The whole UDP input of the gateway's core: what callers, callees and strangers send, time that passes, what agents, name
//! lookups, the network and the operator do, in any order. The format of an input, and what must hold, is in
//! `control/tests/gateway/fuzzed/endpoint.rs`.
#![no_main]

#[path = "../../control/tests/gateway/core_support/mod.rs"]
mod core_support;
#[path = "../../control/tests/gateway/fuzzed/mod.rs"]
mod fuzzed;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzed::endpoint::endpoint(data));
