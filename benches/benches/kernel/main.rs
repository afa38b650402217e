//! The kernel lane, by BPF_PROG_TEST_RUN.

mod bed;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::in_turns;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::kernel::lab::Program;
use voxlane_tests::namespace::Namespace;
use voxlane_tests::requirements::is_root;

use bed::{Bed, Callees, Run, Site};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    ensure!(
        is_root(),
        "the kernel lane can be measured as root only: it loads programs and makes interfaces"
    );
    let namespace = Namespace::new();
    let sites = [1, 2, 3].map(|number| Site::new(&namespace, number));
    let report = namespace.run(move || measure(sites))?;
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        report
            .write_json(&file)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    RelayAlone,
    ReflectAlone,
    PassAlone,
    Relay(usize),
    Reflect(usize),
    Pass(usize),
    ReadKey,
    Array,
    Hash,
}

fn measure(sites: [Site; 3]) -> Result<Report> {
    let [a, b, c] = sites;
    let mut beds = [
        Bed::new(a, 100, Callees::Beside)?,
        Bed::new(b, 10_000, Callees::Beside)?,
        Bed::new(c, 200, Callees::Across)?,
    ];
    use Case::*;
    let cases = [
        RelayAlone,
        ReflectAlone,
        PassAlone,
        Relay(0),
        Reflect(0),
        Pass(0),
        Relay(1),
        Reflect(1),
        Pass(1),
        Relay(2),
        Pass(2),
        ReadKey,
        Array,
        Hash,
    ];
    let medians = in_turns(&cases, |case| match *case {
        RelayAlone => beds[0].relay(Run::Alone),
        ReflectAlone => beds[0].program(Run::Alone, Program::Reflect),
        PassAlone => beds[0].program(Run::Alone, Program::Pass),
        Relay(n) => beds[n].relay(Run::Spread),
        Reflect(n) => beds[n].program(Run::Spread, Program::Reflect),
        Pass(n) => beds[n].program(Run::Spread, Program::Pass),
        ReadKey => beds[1].program(Run::Spread, Program::ReadKey),
        Array => beds[1].program(Run::Spread, Program::FindInArray),
        Hash => beds[1].program(Run::Spread, Program::FindInHash),
    })?;
    for bed in &beds {
        bed.check()?;
    }
    for (case, ns) in cases.iter().zip(&medians) {
        println!("{case:?} {ns}");
    }
    let (room, live) = beds[1].map_memory()?;
    let mut report = Report::default();
    report.add(
        Row::new(
            "relay program, one flow, against a swap of MACs and XDP_TX",
            medians[0],
            "ns",
        )
        .against(medians[1])
        .goal(Goal::AtMost(2.0)),
    );
    report.add(Row::new("map memory a flow", room, "B").goal(Goal::AtMost(512.0)));
    report.add(Row::new("map memory a live flow", live, "B"));
    Ok(report)
}
