//! What a packet costs, in instructions: figures that are the same on a busy machine and on a quiet one, to be compared with
//! those of another day (`--against`).
//!
//! - `programs`: the code of the XDP and tc programs, as compiled and as the kernel has it;
//! - [`stages`]: instructions and atomic operations a packet of the worker's stages, which are [`cases`]. They are counted in
//!   this very executable, started by valgrind.

mod cases;
#[cfg(feature = "kernel")]
mod programs;
mod stages;

use std::process::ExitCode;

use anyhow::Result;
use voxlane_benches::{callgrind, groups};
#[cfg(feature = "kernel")]
use voxlane_dataplane::kernel::lab::code::Built;

use crate::cases::Case;

fn main() -> ExitCode {
    match counted() {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    groups::main(&[
        #[cfg(feature = "kernel")]
        ("programs", |report| programs::add(report, Built::Gateway)),
        ("stages", stages::measure),
    ])
}

/// Runs a case, if this process was started to be counted.
fn counted() -> Result<bool> {
    let Some((case, packets)) = callgrind::case_of_this_process()? else {
        return Ok(false);
    };
    Case::run(&case, packets)?;
    Ok(true)
}
