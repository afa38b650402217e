//! `cargo xtask bench`: what can be measured so far.

use std::path::{PathBuf, absolute};
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
  cargo xtask bench relay                       relayed calls, beside other relays
  cargo xtask bench relay --vs rtpengine --calls 100,1000,10000 --seconds 10
  cargo xtask bench agent --json agent.json     agent calls a core; the figures for machines, too
  cargo xtask bench all --json all.json --html all.html
                                                everything, with a page of tables and plots

docs/performance.md tells what is measured, and how."
)]
pub struct Arguments {
    /// Which benchmarks [default: all]
    name: Vec<Name>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page of tables and plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Only this group of figures (of `worker`: codecs, speech, transcoded, srtp, agents, io; of `sip`: message, calls,
    /// dialogs)
    #[arg(long, value_name = "GROUP")]
    only: Option<String>,
    /// Of `relay`: how many calls show how cost grows [default: 10,30,100,300,1000,3000,10000]
    #[arg(long, value_name = "N,…")]
    calls: Option<String>,
    /// Of `relay`: how long each load lasts, seconds [default: 5]
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Of `relay`: what to measure beside voxlane and the smallest XDP program [default: rtpengine,sockets,nftables]
    #[arg(long, value_name = "NAME,…")]
    vs: Option<String>,
}

/// A benchmark, or a group of one, or all.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Relayed calls end to end: CPU a packet, latency, calls a core, beside rtpengine and others (as root)
    Relay,
    /// Agent calls a core
    Agent,
    /// Transcoded calls a core
    Transcode,
    /// SRTP by itself against libsrtp, and calls a core
    Srtp,
    /// Signalling: an INVITE read, against rsip's own parser; calls a second and core, and the memory of idle dialogs (as root)
    Sip,
    /// The XDP program by itself, against the smallest that sends a frame back (as root)
    Kernel,
    /// Codecs against ffmpeg
    Codec,
    /// The worker lane whole: what agent, transcode, srtp and codec measure, and more
    Worker,
    /// Encode and decode of 160 samples, against a copy of the same bytes
    G711,
    /// relay, kernel, worker and sip
    All,
}

/// What `all` measures.
const ALL: [Name; 4] = [Name::Relay, Name::Kernel, Name::Worker, Name::Sip];

impl Name {
    /// The benchmark in `benches/benches`, and the group of it.
    fn target(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Relay => ("relay", None),
            Self::Agent => ("worker", Some("agents")),
            Self::Transcode => ("worker", Some("transcoded")),
            Self::Srtp => ("worker", Some("srtp")),
            Self::Codec => ("worker", Some("codecs")),
            Self::Worker => ("worker", None),
            Self::Sip => ("sip", None),
            Self::Kernel => ("kernel", None),
            Self::G711 => ("g711", None),
            Self::All => ("all", None),
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Relay | Self::Kernel)
    }
}

/// Where figures go.
#[derive(Default)]
struct Files {
    json: Option<PathBuf>,
    /// Whether there are some already.
    append: bool,
    html: Option<PathBuf>,
}

/// Runs the benchmarks, which print for themselves.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let asked = match arguments.name.as_slice() {
        [] => &[Name::All],
        names => names,
    };
    let everything = asked.contains(&Name::All);
    let mut names: Vec<Name> = if everything { ALL.to_vec() } else { asked.to_vec() };
    if everything && !is_root() {
        names.retain(|name| !name.needs_root());
        steps::note(&format!("relay and kernel are left out: {NEEDS_ROOT}"));
    }
    let for_machines = arguments.json.is_some() || arguments.html.is_some();
    if for_machines && names.contains(&Name::G711) {
        bail!("g711 has no figures for --json and --html; the others have");
    }
    if arguments.only.is_some() && !matches!(names[..], [Name::Worker | Name::Sip]) {
        bail!("--only takes a group of figures of one benchmark: cargo xtask bench worker --only srtp");
    }
    let of_relay = arguments.calls.is_some() || arguments.seconds.is_some() || arguments.vs.is_some();
    if of_relay && !names.contains(&Name::Relay) {
        bail!("--calls, --seconds and --vs are relay's: cargo xtask bench relay --vs rtpengine");
    }
    let file = |file: &Option<PathBuf>| file.as_ref().map(absolute).transpose().context("a file is wanted");
    let html = file(&arguments.html)?;
    let json = match (file(&arguments.json)?, &html) {
        // What is measured later goes beside what was measured before.
        (None, Some(_)) => Some(workspace.root().join("target").join("bench.json")),
        (json, _) => json,
    };
    let mut sound = true;
    for (place, name) in names.iter().enumerate() {
        let files = Files {
            json: json.clone(),
            append: place > 0,
            html: html.clone().filter(|_| place + 1 == names.len()),
        };
        sound &= measure(workspace, *name, &files, arguments)?;
        if !sound && for_machines {
            bail!("{} has failed, and there is no report without it", name.target().0);
        }
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
fn measure(workspace: &mut Workspace, name: Name, files: &Files, arguments: &Arguments) -> Result<bool> {
    let (target, group) = name.target();
    if name.needs_root() && !is_root() {
        bail!("{NEEDS_ROOT}");
    }
    let mut only = group.or(arguments.only.as_deref());
    let mut pacing = None;
    let mut pesq = None;
    let mut gateway = None;
    if name.needs_root() {
        prepare::ebpf(workspace)?;
        prepare::lab(workspace)?;
    }
    match target {
        "kernel" => pacing = pacing_in_a_vm(workspace),
        "relay" => debian::programs(workspace, debian::RELAYS)?,
        "worker" => {
            // The part by AF_XDP loads the programs, too.
            if is_root() {
                prepare::ebpf(workspace)?;
            } else {
                steps::note("AF_XDP is left out: it can be measured as root only");
            }
            debian::programs(workspace, debian::BENCH)?;
            prepare::peer_libraries(workspace)?;
            pesq = prepare::pesq(workspace);
        }
        "sip" => match (is_root(), only) {
            (_, Some("message")) => {}
            (true, _) => gateway = Some(gateway_to_call(workspace)?),
            (false, None) => {
                steps::note(&format!("of sip, calls and dialogs are left out: {CALLS_NEED_ROOT}"));
                only = Some("message");
            }
            (false, Some(_)) => bail!("{CALLS_NEED_ROOT}"),
        },
        _ => {}
    }
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--package", "voxlane-benches", "--bench", target]);
    let of_the_kernel = name.needs_root() || (target == "worker" && is_root());
    if !of_the_kernel {
        // The others do without the eBPF toolchain.
        cargo.arg("--no-default-features");
    }
    cargo.arg("--");
    if let Some(file) = &files.json {
        cargo.arg("--json").arg(file);
        cargo.args(files.append.then_some("--append"));
    }
    if let Some(file) = &files.html {
        cargo.arg("--html").arg(file);
    }
    if let Some(only) = only {
        cargo.args(["--only", only]);
    }
    if target == "relay" {
        let seconds = arguments.seconds.map(|seconds| seconds.to_string());
        for (option, value) in [
            ("--calls", &arguments.calls),
            ("--seconds", &seconds),
            ("--vs", &arguments.vs),
        ] {
            if let Some(value) = value {
                cargo.args([option, value]);
            }
        }
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
