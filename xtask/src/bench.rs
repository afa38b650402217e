//! `cargo xtask bench`: what can be measured so far.

use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::build::{KernelLane, Profile};
use crate::prepare::debian;
use crate::workspace::{Workspace, is_root};
use crate::{build, prepare, steps, vm};

const NEEDS_ROOT: &str = "the kernel lane can be measured as root only: it loads programs and makes interfaces";

const CALLS_NEED_ROOT: &str =
    "calls can be measured as root only: the gateway and its peers have network namespaces each";

/// Arguments of `bench`.
#[derive(Args)]
#[command(
    after_help = "Figures are compared with a baseline measured in the same run, so that machines compare.

Examples:
  cargo xtask bench                             all of them
  cargo xtask bench g711                        one
  cargo xtask bench kernel --json kernel.json   one, its figures for machines
  cargo xtask bench worker --json worker.json   the worker lane, stage by stage
  cargo xtask bench sip --json sip.json         calls a second and core, and what they leave in memory"
)]
pub struct Arguments {
    /// Which benchmarks [default: all]
    name: Vec<Name>,
    /// Write the figures to this file, as JSON (of one benchmark: `kernel`, `relay`, `worker` or `sip`)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this group of figures (of `worker`: codecs, speech, transcoded, srtp, agents, io; of `sip`: message, calls,
    /// dialogs)
    #[arg(long, value_name = "GROUP")]
    only: Option<String>,
}

/// A benchmark in `benches/benches`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Encode and decode of 160 samples, against a copy of the same bytes
    G711,
    /// Signalling: an INVITE read, against rsip's own parser; calls a second and core, and the memory of idle dialogs (as root)
    Sip,
    /// The XDP relay, against the smallest XDP program that sends a frame back (as root)
    Kernel,
    /// Relayed calls end to end: CPU a packet, latency, calls a core, against rtpengine and others (as root)
    Relay,
    /// The worker lane: codecs against ffmpeg, SRTP against libsrtp, transcoded calls a core
    Worker,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::G711 => "g711",
            Self::Sip => "sip",
            Self::Kernel => "kernel",
            Self::Relay => "relay",
            Self::Worker => "worker",
        }
    }
}

/// Runs the benchmarks, which print for themselves.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let json = match (&arguments.json, arguments.name.as_slice()) {
        (None, _) => None,
        (Some(file), [Name::Kernel | Name::Relay | Name::Worker | Name::Sip]) => Some(absolute(file).context("--json wants a file")?),
        (Some(_), [Name::G711]) => bail!("g711 has no figures for --json; `kernel`, `relay`, `worker` and `sip` have"),
        (Some(_), _) => bail!("--json takes the figures of one benchmark: cargo xtask bench kernel --json FILE"),
    };
    if arguments.only.is_some() && !matches!(arguments.name[..], [Name::Worker | Name::Sip]) {
        bail!("--only takes a group of figures of one benchmark: cargo xtask bench worker --only srtp");
    }
    let only = arguments.only.as_deref();
    let mut sound = true;
    if arguments.name.is_empty() {
        for name in Name::value_variants() {
            match name {
                Name::Kernel | Name::Relay if !is_root() => {
                    steps::note(&format!("{} is left out: {NEEDS_ROOT}", name.text()));
                }
                name => sound &= measure(workspace, *name, None, None)?,
            }
        }
    }
    for name in &arguments.name {
        sound &= measure(workspace, *name, json.as_deref(), only)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many packets in a hundred leave within 1 ms of their time. Only a VM's kernel is known to have `fq`; where there
/// can be none, the figure is left out.
fn pacing_in_a_vm(workspace: &mut Workspace) -> Option<f64> {
    match vm::measure(
        workspace,
        "kernel_pace",
        "a_burst_leaves_on_the_grid",
        "pacing: within_1ms",
    ) {
        Ok(Some(percent)) => Some(percent),
        Ok(None) => {
            steps::note("pacing is left out: there is no test kernel_pace");
            None
        }
        Err(error) => {
            steps::note(&format!("pacing is left out: {error:#}"));
            None
        }
    }
}

/// The gateway as it is used, and what the lab needs.
fn gateway_to_call(workspace: &mut Workspace) -> Result<PathBuf> {
    prepare::ebpf(workspace)?;
    prepare::lab(workspace)?;
    build::gateway(workspace, Profile::Release, KernelLane::With)
}

/// Builds and runs one; whether it succeeded.
fn measure(workspace: &mut Workspace, name: Name, json: Option<&Path>, only: Option<&str>) -> Result<bool> {
    let mut pacing = None;
    let mut pesq = None;
    if name == Name::Kernel {
        if !is_root() {
            bail!("{NEEDS_ROOT}");
        }
        prepare::ebpf(workspace)?;
        prepare::lab(workspace)?;
        pacing = pacing_in_a_vm(workspace);
    }
    if name == Name::Relay {
        if !is_root() {
            bail!("{NEEDS_ROOT}");
        }
        prepare::ebpf(workspace)?;
        prepare::lab(workspace)?;
        debian::programs(workspace, debian::RELAYS)?;
    }
    // The worker lane's part by AF_XDP loads the programs, too.
    let kernel = matches!(name, Name::Kernel | Name::Relay) || (name == Name::Worker && is_root());
    if name == Name::Worker {
        if kernel {
            prepare::ebpf(workspace)?;
        } else {
            steps::note("AF_XDP is left out: it can be measured as root only");
        }
        debian::programs(workspace, debian::BENCH)?;
        prepare::peer_libraries(workspace)?;
        pesq = prepare::pesq(workspace);
    }
    let mut only = only;
    let mut gateway = None;
    if name == Name::Sip {
        match (is_root(), only) {
            (_, Some("message")) => {}
            (true, _) => gateway = Some(gateway_to_call(workspace)?),
            (false, None) => {
                steps::note(&format!("of sip, calls and dialogs are left out: {CALLS_NEED_ROOT}"));
                only = Some("message");
            }
            (false, Some(_)) => bail!("{CALLS_NEED_ROOT}"),
        }
    }
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--package", "voxlane-benches", "--bench", name.text()]);
    if !kernel {
        // The others do without the eBPF toolchain.
        cargo.arg("--no-default-features");
    }
    cargo.arg("--");
    if let Some(file) = json {
        cargo.arg("--json").arg(file);
    }
    if let Some(only) = only {
        cargo.args(["--only", only]);
    }
    if let Some(binary) = gateway {
        cargo.env("VOXLANE_BIN", binary);
    }
    if let Some(python) = pesq {
        cargo.env("VOXLANE_PESQ_PYTHON", python);
    }
    if let Some(percent) = pacing {
        cargo.args(["--pacing", &percent.to_string()]);
    }
    Ok(cargo.status().context("cannot start cargo")?.success())
}
