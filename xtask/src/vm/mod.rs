//! `cargo xtask vm`: the tests of the kernel lane on other kernels than this machine's.
//!
//! * [`kernels`]: fetches Debian's kernel packages
//! * [`modules`]: the modules of a kernel that the tests need
//! * [`initramfs`]: packs tools, modules and tests for a VM; `init.sh` is what runs there
//! * [`machine`]: qemu, its console and its end
//! * [`report`]: understands the console; [`figure`]: what tests have measured

mod figure;
mod initramfs;
mod kernels;
mod machine;
mod modules;
mod report;

use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::initramfs::TestExecutable;
pub use self::kernels::Kernel;
use self::machine::{Clock, End};
use self::report::Report;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, prepare, steps, test};

/// The oldest kernel the gateway runs on, and the one of Debian's current release.
pub const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// What tests need that Debian's kernels have as modules.
const MODULES: &[&str] = &[
    "veth",
    "dummy",
    "8021q",
    "sch_fq",
    "sch_ingress",
    "cls_bpf",
    "sch_netem",
];

/// Arguments of `vm`.
#[derive(Args)]
#[command(
    after_help = "Each kernel is Debian's own package, fetched once into target/tools/kernels and booted under qemu, which
emulates the processor, so that it works wherever qemu does. There the tests
dataplane-user/tests/kernel_* are run, including those that this machine's kernel may not be able
to run and that are therefore marked #[ignore = \"needs fq: cargo xtask vm\"].

Examples:
  cargo xtask vm                        all of it, two to four minutes a kernel
  cargo xtask vm --kernel 6.12 fq       the tests with \"fq\" in their name, on one kernel

Exit status: 0 if every test passes on every kernel."
)]
pub struct Arguments {
    /// Version of a kernel; can be given several times
    #[arg(long, value_name = "VERSION", default_values = KERNELS, value_parser = version)]
    kernel: Vec<String>,
    /// Run only tests whose name contains one of these
    filter: Vec<String>,
}

fn version(text: &str) -> Result<String, String> {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((major, minor)) if number(major) && number(minor) => Ok(text.to_owned()),
        _ => Err("a version has two numbers, as in 6.12".to_owned()),
    }
}

/// Prepares, boots, tests; failed when any test is on any kernel.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    prepare::ebpf(workspace)?;
    let kernels = fetch(workspace, &arguments.kernel)?;
    let mut tally = Tally::default();
    let sound = test_on(&kernels, workspace, &arguments.filter, &mut tally)?;
    if sound {
        tally.require_any(&arguments.filter)?;
    }
    println!("\n{}", tally.line(sound));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes these kernels ready to be booted on this machine.
pub fn fetch(workspace: &Workspace, versions: &[impl AsRef<str>]) -> Result<Vec<Kernel>> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are x86-64 ones, and the tests are built for this machine, which is not"
    );
    prepare::vm(workspace)?;
    versions
        .iter()
        .map(|version| kernels::kernel(workspace, version.as_ref()))
        .collect()
}

/// Builds the tests and runs them on each kernel; prints what they say, ends with a line a kernel, and adds up the
/// results. Whether all is well.
pub fn test_on(kernels: &[Kernel], workspace: &Workspace, filter: &[String], tally: &mut Tally) -> Result<bool> {
    let executables = test_executables(workspace)?;
    let colour = if std::io::stdout().is_terminal() {
        "--color=always"
    } else {
        "--color=never"
    };
    let mut arguments = vec!["--include-ignored".to_owned(), colour.to_owned()];
    arguments.extend_from_slice(filter);
    let tests = Tests {
        executables,
        arguments,
        clock: Clock::Host,
    };

    let _lock = lock(workspace)?;
    let mut sound = true;
    let mut summary = Vec::new();
    for kernel in kernels {
        let started = Instant::now();
        let report = boot(workspace, kernel, &tests, |_| {})?;
        let well = report.sound(tests.executables.len());
        summary.push(format!(
            "kernel {}: {}; {}, {} s in all",
            kernel.release,
            report.tally.counts(well),
            report.boot.map_or("it did not boot".to_owned(), |boot| format!(
                "booted in {} s",
                boot.as_secs()
            )),
            started.elapsed().as_secs()
        ));
        tally.add_all(report.tally);
        sound &= well;
    }
    println!("\n{}", summary.join("\n"));
    Ok(sound)
}

/// What a test measures on Debian's current kernel: the figure `name` in what it prints. `None` if there is no test
/// executable of this name.
pub fn measure(workspace: &mut Workspace, executable: &str, test: &str, name: &str) -> Result<Option<f64>> {
    prepare::ebpf(workspace)?;
    let [_, current] = KERNELS;
    let kernels = fetch(workspace, &[current])?;
    let mut executables = test_executables(workspace)?;
    executables.retain(|built| built.name == executable);
    if executables.is_empty() {
        return Ok(None);
    }
    let tests = Tests {
        executables,
        arguments: ["--include-ignored", "--nocapture", test].map(str::to_owned).into(),
        clock: Clock::Instructions,
    };
    let mut figure = None;
    let _lock = lock(workspace)?;
    for kernel in kernels {
        let report = boot(workspace, &kernel, &tests, |line| {
            figure = figure::in_line(line, name).or(figure);
        })?;
        ensure!(report.sound(tests.executables.len()), "the test {test} failed");
    }
    figure
        .map(Some)
        .with_context(|| format!("the test {test} did not print `{name}=...`"))
}

/// What is run in a VM.
struct Tests {
    executables: Vec<TestExecutable>,
    /// What each is started with.
    arguments: Vec<String>,
    clock: Clock,
}

/// Waits until no other xtask uses the VM's files.
fn lock(workspace: &Workspace) -> Result<File> {
    let home = home(workspace);
    fs::create_dir_all(&home)?;
    let lock = File::create(home.join("lock"))?;
    if lock.try_lock().is_err() {
        steps::begin("waiting for another cargo xtask vm");
        lock.lock()?;
    }
    Ok(lock)
}

fn home(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("vm")
}

/// Runs one VM, printing what its tests say; when it breaks off, also the last the console said.
fn boot(workspace: &Workspace, kernel: &Kernel, tests: &Tests, mut on_line: impl FnMut(&str)) -> Result<Report> {
    let modules = modules::in_load_order(workspace, kernel, MODULES)?;
    let home = home(workspace).join(&kernel.release);
    let initramfs = initramfs::build(workspace, &home, &modules, &tests.executables, &tests.arguments)?;
    let mut report = boot_once(workspace, kernel, &initramfs, tests.clock, &mut on_line)?;
    let mishap = match (report.boot, report.broken_by_emulator()) {
        (None, _) => Some("it did not boot, which an emulated machine does now and then"),
        (Some(_), true) => Some("the emulator ran code that was no longer there (no test had failed)"),
        (Some(_), false) => None,
    };
    if let Some(mishap) = mishap {
        steps::note(&format!("{mishap}: once more"));
        report = boot_once(workspace, kernel, &initramfs, tests.clock, &mut on_line)?;
    }
    Ok(report)
}

fn boot_once(
    workspace: &Workspace,
    kernel: &Kernel,
    initramfs: &Path,
    clock: Clock,
    mut on_line: impl FnMut(&str),
) -> Result<Report> {
    steps::begin(&format!("kernel {}", kernel.release));
    let mut report = Report::new();
    let end = machine::run(workspace, kernel, initramfs, clock, |line| {
        on_line(line);
        if let Some(line) = report.take(line) {
            println!("{line}");
        }
    })?;
    if !report.complete() {
        let (release, how, last) = (&kernel.release, broken_off(&end), report.last_lines());
        steps::note(&format!("kernel {release}: {how}; the last it said:\n{last}"));
    }
    Ok(report)
}

fn broken_off(end: &End) -> String {
    match end {
        End::Off => "the VM ended before its tests did".to_owned(),
        End::Silent(time) => format!("the VM was killed after {} s without a word", time.as_secs()),
        End::Endless(time) => format!("the VM was killed after {} s", time.as_secs()),
    }
}

/// The integration tests named `kernel_*`, built with the features that all unit tests are built with.
fn test_executables(workspace: &Workspace) -> Result<Vec<TestExecutable>> {
    steps::begin("building the tests of the kernel lane");
    let mut cargo = workspace.cargo();
    cargo
        .arg("test")
        .args(test::UNIT_TESTS)
        .args(["--test", "kernel_*", "--no-run"])
        .arg("--message-format=json-render-diagnostics");
    let executables: Vec<TestExecutable> = build::executables(&mut cargo)
        .context("the tests of the kernel lane")?
        .into_iter()
        .filter(|(name, _)| name.starts_with("kernel_"))
        .map(|(name, file)| TestExecutable { name, file })
        .collect();
    ensure!(!executables.is_empty(), "cargo built no test named kernel_*");
    Ok(executables)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_is_two_numbers() {
        assert_eq!(version("6.12"), Ok("6.12".to_owned()));
        for wrong in ["6", "6.", "6.1.0", "../6.1", "6.x"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }
}
