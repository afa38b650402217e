//! Regressions are planted, and have to be caught: one hash lookup more a packet in the program in the kernel, and a lock a packet
//! in the worker. They are counted by what counts the real thing, and compared by what compares that.

#[path = "../benches/instructions/cases/mod.rs"]
mod cases;
#[path = "../benches/instructions/programs.rs"]
mod programs;

use std::env;

use voxlane_benches::callgrind::{case_of_this_process, count};
use voxlane_benches::regression::compare;
use voxlane_benches::report::Report;
use voxlane_dataplane::kernel::lab::code::Built;
use voxlane_tests::requirements::valgrind;

use crate::cases::{Case, LOCKED};

/// What valgrind is to run of this executable.
const COUNTED: [&str; 2] = ["--exact", "counted_in_valgrind"];

/// Does nothing but in a process that valgrind counts.
#[test]
fn counted_in_valgrind() {
    if let Some((case, packets)) = case_of_this_process().unwrap() {
        Case::run(&case, packets).unwrap();
    }
}

/// What has become worse from one report to the next.
fn caught(now: &Report, then: &Report) -> Vec<String> {
    let report = |report| serde_json::to_value(report).unwrap();
    compare(&report(now), &report(then)).unwrap().regressions
}

#[test]
fn a_lookup_more_in_the_kernel_is_caught() {
    let report = |built| {
        let mut report = Report::default();
        programs::add(&mut report, built).unwrap();
        report
    };
    let gateway = report(Built::Gateway);
    assert_eq!(caught(&report(Built::Gateway), &gateway), Vec::<String>::new());
    let caught = caught(&report(Built::Planted), &gateway);
    for what in ["calls of helpers", "calls of helpers that look something up in a map"] {
        assert!(caught.contains(&format!("program relay: {what}")), "{caught:?}");
    }
    assert!(!caught.iter().any(|name| name.contains("pace")), "{caught:?}");
}

#[test]
fn a_lock_in_the_worker_is_caught() {
    if !valgrind() {
        return;
    }
    let this = env::current_exe().unwrap();
    for case in [Case::Relayed, Case::Transcoded, Case::Agent] {
        let report = |name: &str| {
            let mut report = Report::default();
            for row in count(&this, &COUNTED, name).unwrap().rows("a packet") {
                report.add(row);
            }
            report
        };
        let before = report(&case.name());
        assert_eq!(caught(&report(&case.name()), &before), Vec::<String>::new(), "{case:?}");
        let caught = caught(&report(&format!("{LOCKED}{}", case.name())), &before);
        assert!(
            caught.contains(&"a packet: atomic operations".to_owned()),
            "{case:?}: {caught:?}"
        );
    }
}
