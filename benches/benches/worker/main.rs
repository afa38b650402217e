//! The worker lane in numbers. Each group of figures is a module that adds its rows to one report:
//! - [`agents`]: calls a core of WebSocket agents, over real sockets, and the memory they take;
//! - [`codecs`]: what a packet costs in each codec, against ffmpeg;
//! - [`speech`]: how speech comes through each way between codecs, against ffmpeg's, with [`pesq`];
//! - [`srtp`]: what SRTP costs, against libsrtp;
//! - [`transcoded`]: calls a core that are transcoded;
//! - `io`: what a packet's way in and out costs, by sockets and by AF_XDP.
//!
//! The last two have [`calls`] between `gateway`'s interfaces, whose wires are a `tap`; without root `loopback` does.

#[cfg(feature = "kernel")]
mod agents;
mod calls;
mod codecs;
#[cfg(feature = "kernel")]
mod gateway;
#[cfg(feature = "kernel")]
mod heap;
#[cfg(feature = "kernel")]
mod io;
#[cfg(not(feature = "kernel"))]
mod loopback;
mod pesq;
mod speech;
mod srtp;
#[cfg(feature = "kernel")]
mod tap;
mod transcoded;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::report::Report;

/// Adds a group's rows.
type Measure = fn(&mut Report) -> Result<()>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    let mut report = Report::default();
    let groups: &[(&str, Measure)] = &[
        ("codecs", codecs::measure),
        ("speech", speech::measure),
        ("transcoded", transcoded::measure),
        ("srtp", srtp::measure),
        #[cfg(feature = "kernel")]
        ("agents", agents::measure),
        #[cfg(feature = "kernel")]
        ("io", io::measure),
    ];
    let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
    if let Some(only) = &arguments.only {
        let known = names.contains(&only.as_str());
        ensure!(known, "no group {only}: there are {}", names.join(", "));
    }
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    for (_, measure) in groups.iter().filter(|(name, _)| wanted(name)) {
        measure(&mut report)?;
    }
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        let written = report.write_json(&file);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
