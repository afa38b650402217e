//! Where things are.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository this xtask was built from.
pub struct Workspace {
    root: PathBuf,
    ebpf_toolchain: Option<&'static str>,
}

impl Workspace {
    /// Found at compile time: an xtask is never moved away from its repository.
    pub fn of_this_build() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: package.parent().unwrap_or(package).to_owned(),
            ebpf_toolchain: None,
        }
    }

    /// The repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tools fetched for this repository. Independent of `CARGO_TARGET_DIR`, so that they are fetched once.
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// The Python interpreter that runs the test agents.
    pub fn python(&self) -> PathBuf {
        self.tools().join("py/bin/python")
    }

    /// The Python interpreter that runs pipecat bots.
    pub fn pipecat(&self) -> PathBuf {
        self.tools().join("pipecat/bin/python")
    }

    /// Where Node's packages for the test agents are.
    pub fn node_modules(&self) -> PathBuf {
        self.tools().join("node/node_modules")
    }

    /// A command that runs in the repository and finds our tools first.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", self.path());
        command
    }

    /// `cargo`, the one this xtask was started by.
    pub fn cargo(&self) -> Command {
        let mut cargo = self.command(&env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        if let Some(toolchain) = self.ebpf_toolchain {
            cargo.env("VOXLANE_EBPF_TOOLCHAIN", toolchain);
        }
        cargo
    }

    /// Lets the build script of the data plane build the XDP program with this toolchain; it takes `nightly` by itself.
    pub fn build_ebpf_with(&mut self, toolchain: &'static str) {
        self.ebpf_toolchain = (toolchain != "nightly").then_some(toolchain);
    }

    /// The file that would be run as `program`.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path())
            .map(|directory| directory.join(program))
            .find(|file| {
                file.metadata()
                    .is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
            })
    }

    /// Our tools, the user's search path, and the system directories that users' search paths often lack.
    fn path(&self) -> OsString {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let directories = [self.tools().join("bin")]
            .into_iter()
            .chain(env::split_paths(&inherited))
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        // A directory whose name contains a colon cannot be part of a search path; then the inherited one must do.
        env::join_paths(directories).unwrap_or(inherited)
    }
}

/// Whether namespaces, interfaces and packages may be touched.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
