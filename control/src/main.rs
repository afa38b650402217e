//! The `voxlane` command.

use std::process::ExitCode;

/// Signalling is many small strings that live for a moment, or for as long as a transaction: see docs/decisions.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    voxlane::cli::main()
}
