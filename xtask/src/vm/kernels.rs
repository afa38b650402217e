//! Debian's own kernels, in `target/tools/kernels/<version>`: a package each, unpacked and never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::prepare::debian;
use crate::steps;
use crate::workspace::{Workspace, is_root};

/// A kernel that can be booted.
pub struct Kernel {
    /// What `uname -r` says there.
    pub release: String,
    /// What the boot loader loads.
    pub image: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
}

/// The newest kernel of a version such as `6.1`; one that is there already is not looked for again.
pub fn kernel(workspace: &Workspace, version: &str) -> Result<Kernel> {
    let home = workspace.tools().join("kernels").join(version);
    if !home.exists() {
        fetch(workspace, version, &home)?;
    }
    let kernel = unpacked_in(&home).with_context(|| {
        format!(
            "{} holds no kernel package; remove it and it is fetched again",
            home.display()
        )
    })?;
    steps::ok(&format!("kernel {}", kernel.release));
    Ok(kernel)
}

fn fetch(workspace: &Workspace, version: &str, home: &Path) -> Result<()> {
    // The cloud flavour: a third of the size, and without the drivers of machines that a VM does not have.
    let pattern = format!(r"^linux-image-{}\.[0-9].*-cloud-amd64$", version.replace('.', r"\."));
    let by_hand = |error: &anyhow::Error| {
        let line = format!(
            "apt-get update && apt-cache search --names-only '{pattern}'   # one of these:\n    \
             apt-get download PACKAGE && dpkg-deb --extract PACKAGE_*.deb {}",
            home.display()
        );
        steps::cannot(&format!("no kernel {version}: {error:#}"), &line)
    };
    // Lists that came with the machine's image name packages that are gone.
    if is_root() {
        debian::update(workspace).map_err(|error| by_hand(&error))?;
    }
    let mut search = workspace.command("apt-cache");
    search.args(["search", "--names-only", &pattern]);
    steps::ask(&mut search)
        .as_deref()
        .and_then(newest)
        .context("the package lists have none, or this is not Debian")
        .and_then(|package| debian::unpack(workspace, package, home))
        .map_err(|error| by_hand(&error))
}

/// The package with the highest version in its name, of lines `name - description`.
fn newest(found: &str) -> Option<&str> {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    found
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .max_by_key(|name| numbers(name))
}

fn unpacked_in(home: &Path) -> Option<Kernel> {
    let (image, release) = fs::read_dir(home.join("boot")).ok()?.flatten().find_map(|entry| {
        let release = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        Some((entry.path(), release))
    })?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|place| home.join(place).join(&release))
        .into_iter()
        .find(|place| place.is_dir())?;
    Some(Kernel {
        release,
        image,
        modules,
    })
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_package_is_taken() {
        let found = "linux-image-6.12.99+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.101+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
";
        assert_eq!(newest(found), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest(""), None);
    }
}
