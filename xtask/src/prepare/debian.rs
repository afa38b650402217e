//! Programs that come as Debian packages.

use std::path::Path;

use anyhow::Result;

use crate::steps;
use crate::workspace::{Workspace, is_root};

/// A program and the package that has it.
pub type Program = (&'static str, &'static str);

/// What network namespaces need.
pub const LAB: &[Program] = &[("ip", "iproute2"), ("ethtool", "ethtool")];

/// What the end-to-end tests call with.
pub const PEERS: &[Program] = &[
    ("sipp", "sip-tester"),
    ("baresip", "baresip-core"),
    ("python3", "python3"),
];

/// Installs the packages of programs that are missing.
pub fn programs(workspace: &Workspace, programs: &[Program]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| workspace.find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = programs.iter().map(|(program, _)| *program).collect();
        steps::ok(&names.join(", "));
        return Ok(());
    }
    install(workspace, &missing)
}

/// Installs packages, or says how to where that is not possible.
pub fn install(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let line = format!("apt-get update && apt-get install --no-install-recommends {names}");
    let cannot = |what: &str| steps::cannot(&format!("{names}: {what}"), &line);
    if !Path::new("/etc/debian_version").exists() {
        return Err(cannot(
            "missing, and this is not Debian: its own packages of these programs are needed",
        ));
    }
    if !is_root() {
        return Err(cannot("missing, and only root can install packages"));
    }
    let apt = |arguments: &[&str]| {
        let mut command = workspace.command("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    steps::run("updating the package lists", &mut apt(&["update"]))
        .and_then(|_| {
            let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
            steps::run(&format!("installing {names}"), install.args(packages))
        })
        .map(drop)
        .map_err(|error| cannot(&format!("{error:#}")))
}
