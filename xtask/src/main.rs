//! `cargo xtask`: everything a person does with this repository, in one command each.
//!
//! * [`workspace`]: where the repository, its build output and its tools are
//! * [`steps`]: how progress is shown, and how a command is run quietly
//! * [`prepare`]: fetches what is missing: eBPF toolchain, test peers, Python
//! * [`build`], [`test`], [`bench`]: build, check and measure; [`tally`] adds up test results
//! * [`fuzz`]: feeds the parsers with what nobody has thought of
//! * [`vm`]: boots other kernels and runs the tests of the kernel lane on them
//! * [`run`]: starts the gateway in a lab, places real calls and goes through the pre-production checklist

mod bench;
mod build;
mod fuzz;
mod prepare;
mod run;
mod steps;
mod tally;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, runs, tests and measures voxlane. What is missing on this machine is fetched on the way.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "Examples:
  See it work: place real calls through a gateway in a lab, then keep it up for your own softphone
    cargo xtask run
  The same as a check that ends by itself, its result for machines
    cargo xtask run --once --json
  Everything that must hold before a change is merged
    cargo xtask test
  Only the tests whose name contains \"relay\", without the lints
    cargo xtask test relay
  The tests of the kernel lane on Debian's own kernels, or on one of them
    cargo xtask vm
    cargo xtask vm --kernel 6.1
  Frames that nobody has thought of, for a minute
    cargo xtask fuzz
  A gateway to install; the second one for hosts without the eBPF toolchain
    cargo xtask build --release
    cargo xtask build --release --no-ebpf

Tools are kept in target/tools. Outside the repository only rustup's toolchains are touched and, as
root on Debian, packages of the test peers and of qemu are installed.";

#[derive(Subcommand)]
enum Task {
    /// Build the gateway and print where it is
    Build(build::Arguments),
    /// Start the gateway in a lab, place real calls, print the pre-production checklist
    Run(run::Arguments),
    /// Format check, lints, unit tests, end-to-end tests with sipp and baresip (as root)
    Test(test::Arguments),
    /// Boot Debian's own kernels under qemu and run the tests of the kernel lane there
    Vm(vm::Arguments),
    /// Feed arbitrary input to a parser, beginning with a corpus of named packets
    Fuzz(fuzz::Arguments),
    /// Measure, as ratios against a baseline taken in the same run
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut workspace = Workspace::of_this_build();
    let outcome = match arguments.task {
        Task::Build(arguments) => build::run(&mut workspace, &arguments),
        Task::Run(arguments) => run::run(&mut workspace, &arguments),
        Task::Test(arguments) => test::run(&mut workspace, &arguments),
        Task::Vm(arguments) => vm::run(&mut workspace, &arguments),
        Task::Bench(arguments) => bench::run(&mut workspace, &arguments),
        Task::Fuzz(arguments) => fuzz::run(&mut workspace, &arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
