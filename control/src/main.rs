//! The `voxlane` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    voxlane::cli::main()
}
