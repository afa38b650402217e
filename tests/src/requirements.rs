//! What a machine must have for the end-to-end tests. `cargo xtask test` provides it.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The gateway under test, if this machine can run the test; otherwise says why not.
///
/// # Panics
/// Where `CI` is set: there, a test that is skipped has failed.
pub fn gateway_in_namespaces() -> Option<PathBuf> {
    let binary = env::var_os("VOXLANE_BIN").map(PathBuf::from);
    let reason = match (&binary, is_root()) {
        (Some(_), true) => return binary,
        (None, _) => "VOXLANE_BIN is not set (run `cargo xtask test`)",
        (Some(_), false) => "network namespaces need root",
    };
    skipped(reason);
    None
}

/// The gateway under test, for tests that need nothing else.
///
/// # Panics
/// As [`gateway_in_namespaces`].
pub fn gateway() -> Option<PathBuf> {
    let binary = env::var_os("VOXLANE_BIN").map(PathBuf::from);
    if binary.is_none() {
        skipped("VOXLANE_BIN is not set (run `cargo xtask test`)");
    }
    binary
}

/// Whether this test can make network namespaces.
///
/// # Panics
/// As [`gateway_in_namespaces`].
pub fn namespaces() -> bool {
    if !is_root() {
        skipped("network namespaces need root");
    }
    is_root()
}

/// A Python interpreter that has `websockets`: the one named by `VOXLANE_PYTHON`, else the one xtask has made.
pub fn python() -> PathBuf {
    tool("VOXLANE_PYTHON", "py/bin/python")
}

/// A Python interpreter that has pipecat: the one named by `VOXLANE_PIPECAT`, else the one xtask has made.
pub fn pipecat() -> PathBuf {
    tool("VOXLANE_PIPECAT", "pipecat/bin/python")
}

/// Where Node finds `ws` and `twilio`: the directory named by `VOXLANE_NODE_MODULES`, else the one xtask has made.
pub fn node_modules() -> PathBuf {
    tool("VOXLANE_NODE_MODULES", "node/node_modules")
}

fn tool(variable: &str, made: &str) -> PathBuf {
    let tools = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools").join(made);
    env::var_os(variable).map_or_else(tools, PathBuf::from)
}

/// Whether this process may make namespaces and send raw packets.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn skipped(reason: &str) {
    assert!(
        env::var_os("CI").is_none(),
        "a test may not be skipped where CI is set: {reason}"
    );
    eprintln!("skipped: {reason}");
}
