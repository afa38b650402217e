//! `cargo xtask run`: the gateway in a lab, real calls through it, and the pre-production checklist.
//!
//! * [`stage`]: where it plays: namespaces joined by veth as root, loopback otherwise
//! * [`calls`]: the two calls, one to the built-in agent and one relayed, and what was measured
//! * [`transferred`]: one that is given to somebody else
//! * [`secured`]: one over TLS with SRTP
//! * [`checklist`]: the rows that the measurements make hold or fail, as a pure function
//! * [`show`]: the rows for people and for machines

mod calls;
mod checklist;
mod secured;
mod show;
mod stage;
mod transferred;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use voxlane_tests::gateway::Gateway;
use voxlane_tests::phone::Phone;
use voxlane_tests::process;

use self::checklist::Checklist;
use self::stage::{Guests, Stage};
use crate::build::{KernelLane, Profile};
use crate::workspace::Workspace;
use crate::{build, prepare, steps};

/// Arguments of `run`.
#[derive(Args)]
#[command(
    after_help = "As root the calls go through network namespaces joined by veth, so that the relayed one passes native XDP;
otherwise everything is on loopback, in the worker lane.

Exit status: 0 if every row that voxlane offers so far holds."
)]
pub struct Arguments {
    /// End after the checklist instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print the checklist as JSON, and nothing else on stdout
    #[arg(long)]
    json: bool,
    /// Without the kernel lane
    #[arg(long)]
    no_ebpf: bool,
}

/// Prepares, builds, calls, shows; then serves.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let binary = gateway_binary(workspace, arguments)?;
    prepare::lab(workspace)?;
    interruptible()?;

    let stage = Stage::set(if arguments.once { Guests::None } else { Guests::FromHost });
    steps::ok(&format!("lab: {}", stage.description()));
    let proxy = stage.far_address().to_string();
    let mut gateway = Gateway::start(&binary, stage.gateway(), &[("VOXLANE_LAB_PROXY", &proxy)])?;
    steps::ok("gateway on its embedded defaults");

    let mut evidence = calls::place(&binary, &stage, &gateway);
    evidence.secured = secured::place(workspace, &binary, &stage);
    // Calls that its user broke off say nothing of the gateway.
    ensure!(!process::interrupted(), "interrupted before the checklist was complete");
    let checklist = Checklist::from(&evidence);
    if arguments.json {
        println!("{}", show::for_machines(&checklist, &stage)?);
    } else {
        print!("{}", show::for_people(&checklist, &stage));
    }
    if !arguments.once {
        eprint!("{}", show::invitation(&stage, &binary, gateway.runtime_dir()));
        serve(&binary, &stage, &mut gateway)?;
    }
    Ok(if checklist.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the gateway with the kernel lane, or without it where that cannot be.
fn gateway_binary(workspace: &mut Workspace, arguments: &Arguments) -> Result<PathBuf> {
    let lane = if arguments.no_ebpf {
        KernelLane::Without
    } else {
        match prepare::ebpf(workspace) {
            Ok(()) => KernelLane::With,
            Err(error) => {
                steps::note(&format!(
                    "no eBPF toolchain, so no kernel lane (as with --no-ebpf): {error:#}"
                ));
                KernelLane::Without
            }
        }
    };
    build::gateway(workspace, Profile::Release, lane)
}

/// From here on Ctrl-C ends the waits, and what was started is ended and removed on the way out; a second one ends at
/// once.
fn interruptible() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle Ctrl-C")?;
    thread::spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(128 + signal);
            }
            process::interrupt_waits();
        }
    });
    Ok(())
}

/// Keeps the gateway and a far end for relayed calls up until Ctrl-C.
fn serve(binary: &Path, stage: &Stage, gateway: &mut Gateway) -> Result<()> {
    let mut far: Option<Phone> = None;
    loop {
        if !gateway.is_running() {
            anyhow::bail!("the gateway has ended\n{}", gateway.log());
        }
        if far.as_mut().is_none_or(Phone::has_ended) {
            far = Some(Phone::answer(
                binary,
                stage.far(),
                stage.far_address(),
                &["--tone", "1000"],
            )?);
        }
        if process::pause().is_err() {
            steps::ok("ending the calls and removing the lab");
            return Ok(());
        }
    }
}
