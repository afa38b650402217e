//! A BPF file system of one test's own, so that tests that run side by side share nothing that is pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "voxlane-bpf-";

/// The file system. Dropping it unmounts it, and with it goes what is pinned in it.
#[derive(Debug)]
pub struct BpfFs(PathBuf);

impl BpfFs {
    /// Mounts one. Programs that are started later see it, in whichever namespace.
    ///
    /// # Errors
    /// Without root, or where the kernel has no such file system.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_abandoned();
        let name = format!("{PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "bpf", "bpf"]).arg(&directory).output();
        let output = output.context("cannot start mount")?;
        ensure!(
            output.status.success(),
            "{mount:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self(directory))
    }

    /// Where a gateway pins.
    pub fn pin(&self) -> PathBuf {
        self.0.join("gateway")
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes what tests that were killed have left behind.
fn remove_abandoned() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&entry.path());
        }
    }
}

fn remove(directory: &Path) {
    let _may_be_unmounted = Command::new("umount").arg("--lazy").arg(directory).output();
    let _may_be_gone = fs::remove_dir(directory);
}
