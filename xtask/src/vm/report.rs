//! What a VM's console tells: the output of the tests, and between it lines of `init.sh` that begin with
//! `voxlane-vm:`.
//!
//! ```text
//! voxlane-vm: up 6.1.0-1-cloud-amd64
//! voxlane-vm: run kernel_live
//! running 6 tests …
//! voxlane-vm: end 0
//! voxlane-vm: off
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::tally::Tally;

const MARK: &str = "voxlane-vm: ";

/// What a kernel says when it meets a breakpoint that it has taken away again. While it patches its own code (each time an XDP
/// program is attached) it sets one, and qemu, which translates code as two processors run it, may keep what it translated of
/// that moment: docs/decisions.md.
const STALE_BREAKPOINT: &str = "Oops: int3: 0000";

/// How much of the console is kept, to be shown when something goes wrong.
const LAST_LINES: usize = 40;

/// What has been told so far.
pub struct Report {
    pub tally: Tally,
    /// Time until the first test.
    pub boot: Option<Duration>,
    started: Instant,
    /// Test executables that have ended well.
    succeeded: usize,
    off: bool,
    stale_breakpoint: bool,
    a_test_failed: bool,
    last: VecDeque<String>,
}

impl Report {
    pub fn new() -> Self {
        Self {
            tally: Tally::default(),
            boot: None,
            started: Instant::now(),
            succeeded: 0,
            off: false,
            stale_breakpoint: false,
            a_test_failed: false,
            last: VecDeque::new(),
        }
    }

    /// Takes in a line of the console; returns what is to be shown of it. Nothing is of the boot and its reverse.
    pub fn take(&mut self, line: &str) -> Option<String> {
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
        self.stale_breakpoint |= line.contains(STALE_BREAKPOINT);
        self.a_test_failed |= line.contains("FAILED");
        // A test that was killed leaves the mark in the middle of a line.
        if let Some((before, mark)) = line.split_once(MARK) {
            return self
                .mark(mark)
                .or_else(|| (!before.is_empty()).then(|| before.to_owned()));
        }
        self.tally.add(line);
        (self.boot.is_some() && !self.off).then(|| line.to_owned())
    }

    fn mark(&mut self, mark: &str) -> Option<String> {
        match mark.split_once(' ').unwrap_or((mark, "")) {
            ("up", _) => self.boot = Some(self.started.elapsed()),
            ("run", name) => return Some(format!("     Running {name}")),
            ("end", "0") => self.succeeded += 1,
            ("end", "101") => self.a_test_failed = true, // It has been told by name.
            ("end", status) => {
                self.a_test_failed = true;
                return Some(format!("the test executable ended with status {status}"));
            }
            ("off", _) => self.off = true,
            _ => return Some(mark.to_owned()),
        }
        None
    }

    /// Whether the VM came to its end by itself, having run everything there was to run.
    pub fn complete(&self) -> bool {
        self.off
    }

    /// Whether all of so many test executables succeeded.
    pub fn sound(&self, executables: usize) -> bool {
        self.off && self.succeeded == executables
    }

    /// Whether the emulated processor broke the VM off, and until then no test had failed.
    pub fn broken_by_emulator(&self) -> bool {
        !self.off && self.stale_breakpoint && !self.a_test_failed
    }

    /// The last the console said.
    pub fn last_lines(&self) -> String {
        self.last.iter().map(|line| format!("    {line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured";

    fn report(lines: &[&str]) -> (Report, Vec<String>) {
        let mut report = Report::new();
        let shown = lines.iter().filter_map(|line| report.take(line)).collect();
        (report, shown)
    }

    #[test]
    fn tests_that_passed_are_counted_and_shown() {
        let (report, shown) = report(&[
            "[    1.0] a word of the kernel's",
            "voxlane-vm: up 6.1.0",
            "voxlane-vm: run kernel_live",
            PASSED,
            "voxlane-vm: end 0",
            "voxlane-vm: off",
            "[   19.3] reboot: Power down",
        ]);
        assert_eq!(shown, ["     Running kernel_live", PASSED]);
        assert!(report.complete() && report.sound(1) && !report.sound(2));
        assert_eq!(report.tally.counts(true), "ok. 3 passed; 0 failed; 1 ignored");
    }

    #[test]
    fn a_test_that_is_killed_is_unsound() {
        let (report, shown) = report(&[
            "voxlane-vm: up 6.1.0",
            "test a ... voxlane-vm: end 139",
            "voxlane-vm: off",
        ]);
        assert_eq!(shown, ["the test executable ended with status 139"]);
        assert!(report.complete() && !report.sound(1));
    }

    #[test]
    fn a_vm_that_breaks_off_is_incomplete_and_its_last_words_are_kept() {
        let (report, _) = report(&["voxlane-vm: up 6.1.0", PASSED, "voxlane-vm: end 0", "Kernel panic"]);
        assert!(!report.complete() && !report.sound(1));
        assert!(report.last_lines().ends_with("    Kernel panic\n"));
        assert!(!report.broken_by_emulator());
    }

    #[test]
    fn a_breakpoint_that_is_not_there_is_the_emulators_unless_a_test_had_failed() {
        const OOPS: &str = "[   27.386754] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI";
        const FAILED: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured";
        let broken = |lines: &[&str]| report(lines).0.broken_by_emulator();
        assert!(broken(&["voxlane-vm: up 6.12.0", PASSED, OOPS]));
        assert!(!broken(&["voxlane-vm: up 6.12.0", FAILED, OOPS]));
        assert!(!broken(&["voxlane-vm: up 6.12.0", "test a ... FAILED", OOPS]));
        assert!(!broken(&["voxlane-vm: up 6.12.0", OOPS, "voxlane-vm: off"]));
    }
}
