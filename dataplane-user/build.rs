//! Builds the XDP object, so that the gateway carries it inside.

fn main() {
    #[cfg(feature = "ebpf")]
    if let Err(error) = ebpf::build() {
        println!("cargo::error={error}");
        std::process::exit(1);
    }
}

#[cfg(feature = "ebpf")]
mod ebpf {
    use std::env;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// Names a nightly other than `nightly`, where that is too new for bpf-linker; set by `cargo xtask`.
    const TOOLCHAIN: &str = "VOXLANE_EBPF_TOOLCHAIN";

    /// What to do when part of the eBPF toolchain is missing.
    const MEND: &str =
        "run `cargo xtask build`, which prepares it, or build with --no-default-features for the worker lane only";

    pub fn build() -> Result<(), String> {
        let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo has not set CARGO_MANIFEST_DIR")?);
        let root = manifest
            .parent()
            .ok_or("this package is not in a workspace")?
            .to_owned();
        // aya-build watches the program's own folder, not what the program is made of.
        for part in ["common", "dataplane-ebpf", "Cargo.toml", "Cargo.lock"] {
            println!("cargo::rerun-if-changed={}", root.join(part).display());
        }
        for variable in ["CARGO_TARGET_DIR", TOOLCHAIN] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let toolchain = env::var(TOOLCHAIN).unwrap_or_else(|_| "nightly".to_owned());

        prepare_environment(&root)?;
        require_linker()?;
        require_rust_src(&toolchain)?;

        let program = root.join("dataplane-ebpf");
        let package = aya_build::Package {
            name: "voxlane-ebpf",
            root_dir: program.to_str().ok_or("the workspace's path is not UTF-8")?,
            features: if cfg!(feature = "lab") { &["lab"] } else { &[] },
            ..Default::default()
        };
        aya_build::build_ebpf([package], aya_build::Toolchain::Custom(&toolchain))
            .map_err(|error| format!("the XDP program did not build: {error:#}"))
    }

    /// Puts the folders where `cargo xtask build` installs bpf-linker first on the path, and keeps the inner cargo quiet
    /// (aya-build shows each of its lines as a warning): aya-build offers no other way to do either.
    #[allow(unsafe_code)]
    fn prepare_environment(root: &Path) -> Result<(), String> {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let mut path: Vec<PathBuf> = target
            .into_iter()
            .chain([root.join("target")])
            .map(|target| target.join("tools/bin"))
            .collect();
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let path = env::join_paths(path).map_err(|error| format!("PATH cannot be extended: {error}"))?;
        // SAFETY: a build script's only thread.
        unsafe {
            env::set_var("PATH", path);
            env::set_var("CARGO_TERM_QUIET", "true");
        }
        Ok(())
    }

    fn require_linker() -> Result<(), String> {
        match Command::new("bpf-linker").arg("--version").output() {
            Ok(output) if output.status.success() => Ok(()),
            _ => Err(format!("bpf-linker is missing: {MEND}")),
        }
    }

    fn require_rust_src(toolchain: &str) -> Result<(), String> {
        let sysroot = Command::new("rustup")
            .args(["run", toolchain, "rustc", "--print", "sysroot"])
            .output()
            .ok()
            .filter(|output| output.status.success())
            .ok_or_else(|| format!("the Rust toolchain {toolchain} is missing: {MEND}"))?;
        let sysroot = String::from_utf8_lossy(&sysroot.stdout);
        if Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
        {
            return Ok(());
        }
        Err(format!("rust-src of the Rust toolchain {toolchain} is missing: {MEND}"))
    }
}
