//! Programs that come as Debian packages.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::steps;
use crate::workspace::{Workspace, is_root};

/// A program and the package that has it.
pub type Program = (&'static str, &'static str);

/// What network namespaces need.
pub const LAB: &[Program] = &[("ip", "iproute2"), ("ethtool", "ethtool")];

/// What the end-to-end tests call with, and what looks at captures.
pub const PEERS: &[Program] = &[
    ("sipp", "sip-tester"),
    ("baresip", "baresip-core"),
    ("kamailio", "kamailio"),
    ("dnsmasq", "dnsmasq-base"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("tshark", "tshark"),
];

/// What runs agents in JavaScript.
pub const NODE: &[Program] = &[("node", "nodejs"), ("npm", "npm")];

/// What the worker lane is compared with, and what speaks for it.
pub const BENCH: &[Program] = &[("ffmpeg", "ffmpeg"), ("espeak-ng", "espeak-ng")];

/// What the kernel lane is compared with.
pub const RELAYS: &[Program] = &[("rtpengine", "rtpengine-daemon"), ("nft", "nftables")];

/// A shared library, and the package that has it.
pub type Library = (&'static str, &'static str);

/// What tests and benchmarks load.
pub const LIBRARIES: &[Library] = &[("libsrtp2.so.1", "libsrtp2-1")];

/// Where Debian has shared libraries: below a directory named after the architecture.
const LIBRARY_ROOT: &str = "/usr/lib";

/// What boots a VM and what runs in it.
pub const VM: &[Program] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("setpriv", "util-linux"),
    ("cpio", "cpio"),
    ("strip", "binutils"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
];

/// Installs the packages of programs that are missing.
pub fn programs(workspace: &Workspace, programs: &[Program]) -> Result<()> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| workspace.find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        let names: Vec<&str> = programs.iter().map(|(program, _)| *program).collect();
        steps::ok(&names.join(", "));
        return Ok(());
    }
    install(workspace, &missing)
}

/// Installs the packages of libraries that are missing.
pub fn libraries(workspace: &Workspace, libraries: &[Library]) -> Result<()> {
    let missing: Vec<&str> = libraries
        .iter()
        .filter(|(library, _)| !has_library(library))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = libraries.iter().map(|(library, _)| *library).collect();
        steps::ok(&names.join(", "));
        return Ok(());
    }
    install(workspace, &missing)
}

fn has_library(name: &str) -> bool {
    let root = Path::new(LIBRARY_ROOT);
    let below = fs::read_dir(root).into_iter().flatten().flatten();
    let mut directories = below.map(|entry| entry.path()).chain([root.to_owned()]);
    directories.any(|directory| directory.join(name).exists())
}

/// Whether packages are Debian's here.
pub fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Installs packages, or says how to where that is not possible.
pub fn install(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let line = format!("apt-get update && apt-get install --no-install-recommends {names}");
    let cannot = |what: &str| steps::cannot(&format!("{names}: {what}"), &line);
    if !is_debian() {
        return Err(cannot(
            "missing, and this is not Debian: its own packages of these programs are needed",
        ));
    }
    if !is_root() {
        return Err(cannot("missing, and only root can install packages"));
    }
    update(workspace)
        .and_then(|()| {
            let mut install = workspace.command("apt-get");
            install
                .args(["install", "--yes", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive");
            steps::run(&format!("installing {names}"), &mut install)
        })
        .map(drop)
        .map_err(|error| cannot(&format!("{error:#}")))
}

/// Updates the package lists; only root can.
pub fn update(workspace: &Workspace) -> Result<()> {
    steps::run("updating the package lists", workspace.command("apt-get").arg("update")).map(drop)
}

/// Downloads a package and unpacks it into a new directory, without installing it; whoever calls has looked whether the
/// lists have it.
pub fn unpack(workspace: &Workspace, package: &str, into: &Path) -> Result<()> {
    let download = into.with_extension("part");
    if download.exists() {
        fs::remove_dir_all(&download)?;
    }
    fs::create_dir_all(&download)?;
    let mut get = workspace.command("apt-get");
    get.args(["download", package]).current_dir(&download);
    steps::run(&format!("downloading {package}"), &mut get)?;
    let archive = fs::read_dir(&download)?
        .next()
        .with_context(|| format!("apt-get download {package} left no file"))??
        .path();
    let contents = download.join("contents");
    let mut extract = workspace.command("dpkg-deb");
    extract.arg("--extract").arg(archive).arg(&contents);
    steps::run(&format!("unpacking {package}"), &mut extract)?;
    // Under its own name only when whole.
    fs::rename(&contents, into)?;
    Ok(fs::remove_dir_all(&download)?)
}
