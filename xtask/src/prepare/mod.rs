//! Makes the machine ready: each step looks first, does only what is missing, and touches no network otherwise.
//!
//! * [`toolchain`]: rustup's part: nightly with `rust-src` for the eBPF target, rustfmt and clippy for the checks
//! * [`linker`]: `bpf-linker`, into the tools directory
//! * [`fuzzer`]: `cargo-fuzz`, into the tools directory
//! * [`debian`]: packages of the peers the tests call with, and of what runs VMs
//! * [`python`]: virtual environments: the WebSocket library of the test agents, pipecat, PESQ for the benchmark of speech
//! * [`node`]: the WebSocket library of the test agents in Node

pub mod debian;
mod fuzzer;
mod linker;
mod node;
mod python;
mod toolchain;

use std::path::PathBuf;

use anyhow::Result;

pub use self::debian::is_debian;
use crate::steps;
use crate::workspace::{Workspace, is_root};

/// What building the XDP program needs.
pub fn ebpf(workspace: &mut Workspace) -> Result<()> {
    let toolchain = toolchain::nightly(workspace)?;
    workspace.build_ebpf_with(toolchain);
    linker::bpf_linker(workspace)
}

/// What fuzzing needs; returns the toolchain.
pub fn fuzzer(workspace: &Workspace) -> Result<&'static str> {
    let toolchain = toolchain::nightly(workspace)?;
    fuzzer::cargo_fuzz(workspace)?;
    Ok(toolchain)
}

/// What booting other kernels needs.
pub fn vm(workspace: &Workspace) -> Result<()> {
    debian::programs(workspace, debian::VM)
}

/// What format check and lints need.
pub fn lints(workspace: &Workspace) -> Result<()> {
    toolchain::lints(workspace)
}

/// What the lab of `run` needs: nothing on loopback.
pub fn lab(workspace: &Workspace) -> Result<()> {
    if is_root() {
        debian::programs(workspace, debian::LAB)
    } else {
        Ok(())
    }
}

/// What the benchmarks of the worker lane compare with. Only root can install what is missing; a figure whose peer is not
/// there says so.
pub fn peer_libraries(workspace: &Workspace) -> Result<()> {
    if is_root() {
        debian::libraries(workspace, debian::LIBRARIES)
    } else {
        Ok(())
    }
}

/// The Python that has PESQ; `None`, and a note, where it cannot be had: the figures are then left out.
pub fn pesq(workspace: &Workspace) -> Option<PathBuf> {
    match python::pesq(workspace) {
        Ok(interpreter) => Some(interpreter),
        Err(error) => {
            steps::note(&format!("PESQ is left out: {error:#}"));
            None
        }
    }
}

/// What the end-to-end tests need. Without root they are skipped, and so is this.
pub fn peers(workspace: &Workspace) -> Result<()> {
    if !is_root() {
        steps::note("not root: end-to-end tests in network namespaces are skipped");
        return Ok(());
    }
    debian::programs(workspace, debian::LAB)?;
    debian::programs(workspace, debian::PEERS)?;
    debian::libraries(workspace, debian::LIBRARIES)?;
    python::environment(workspace)?;
    python::pipecat(workspace)?;
    node::packages(workspace)
}
