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

        compile(&root, &toolchain)
    }

    /// Programs of the package, each embedded under its own name.
    const PROGRAMS: &[&str] = if cfg!(feature = "lab") {
        &["voxlane-ebpf", "voxlane-ebpf-lab"]
    } else {
        &["voxlane-ebpf"]
    };

    /// Features they are built with.
    const FEATURES: &str = if cfg!(feature = "lab") { "lab" } else { "" };

    /// What the compiler is told. Version 3 of the instruction set has 32-bit registers, and every kernel we run on; that
    /// packets may be read at any alignment saves putting their words together from bytes: both processors we run on
    /// can. Without either the program is half as long again and does not fit its stack.
    const FLAGS: [&str; 4] = [
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ];

    fn compile(root: &Path, toolchain: &str) -> Result<(), String> {
        let variable = |name: &str| env::var(name).map_err(|_| format!("cargo has not set {name}"));
        let out = PathBuf::from(variable("OUT_DIR")?);
        let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
            "big" => "bpfeb-unknown-none",
            _ => "bpfel-unknown-none",
        };
        let architecture = format!("--cfg=bpf_target_arch=\"{}\"", variable("CARGO_CFG_TARGET_ARCH")?);
        let flags: Vec<&str> = FLAGS.into_iter().chain([architecture.as_str()]).collect();
        // Away from what is copied out of it, and from the outer cargo's lock.
        let directory = out.join("ebpf-target");
        let built = Command::new("rustup")
            .args([
                "run",
                toolchain,
                "cargo",
                "build",
                "--package",
                "voxlane-ebpf",
                "--bins",
                "--features",
                FEATURES,
            ])
            .args([
                "--release",
                "--quiet",
                "-Zbuild-std=core",
                "--target",
                target,
                "--target-dir",
            ])
            .arg(&directory)
            .current_dir(root.join("dataplane-ebpf"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            // Of the workspace's profile, which is meant for the host.
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            // Set by the outer cargo for the outer toolchain.
            .env_remove("RUSTC")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .output()
            .map_err(|error| format!("cannot start rustup: {error}"))?;
        if !built.status.success() {
            let messages = String::from_utf8_lossy(&built.stderr);
            let lines = messages.lines().filter(|line| !line.trim().is_empty());
            lines.for_each(|line| println!("cargo::warning={line}"));
            return Err("the eBPF programs did not build: see above".to_owned());
        }
        for program in PROGRAMS {
            let from = directory.join(target).join("release").join(program);
            std::fs::copy(&from, out.join(program))
                .map_err(|error| format!("cannot copy {}: {error}", from.display()))?;
        }
        Ok(())
    }

    /// Puts the folders where `cargo xtask build` installs bpf-linker first on the path.
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
        unsafe { env::set_var("PATH", path) };
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
