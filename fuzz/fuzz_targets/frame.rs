//! Arbitrary frames through the parser and the decision that XDP program and userspace relay share: nothing panics,
//! nothing is read outside the frame, and what is found lies in it.
#![no_main]

#[path = "../../common/tests/frames/mod.rs"]
#[allow(dead_code)]
mod frames;

use frames::Table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let mut table = Table::new();
    // Again, a packet time and an hour later, so that it meets what it has left behind.
    for now_ns in [1, 20_000_000, 3_600_000_000_000] {
        table.judge(frame, now_ns);
    }
});
