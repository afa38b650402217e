//! What the relay program costs.
//!
//! BPF_PROG_TEST_RUN gives the time of a program run many times over one frame, with what entering a program costs
//! (the row "entering a program": some ten nanoseconds). The relay is measured in two ways:
//! * Alone: `relay` and `reflect` are each run by themselves, on a packet that comes out as it went in. This is what the
//!   goal is held against. The packet bears the same sequence number each time, so jitter is not computed.
//! * Fresh packets: `spread` makes each frame a packet of another flow, in random order, and goes on to the
//!   program. From that the same with `pass`, the smallest program, is taken away: what is left is the work on the
//!   packet. Where such a figure is compared with another, the cost of entering a program is added to both, so that it
//!   is what a test run of the program alone would tell.
//!
//! All take turns in one run, so that what disturbs the machine disturbs all.

use anyhow::Result;
use voxlane_benches::in_turns;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_common::flow::{Flow, FlowState};
use voxlane_dataplane::kernel::lab::Program;
use voxlane_tests::namespace::Namespace;

use crate::bed::{Bed, Callees, Run, Site};

/// A bed, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// 100 flows.
    Few,
    /// 10,000 flows.
    Many,
    /// 100 flows whose packets leave through another interface.
    Across,
}

type Case = (At, Run, Program);

const CASES: [Case; 18] = [
    (At::Few, Run::Alone, Program::Relay),
    (At::Few, Run::Alone, Program::Reflect),
    (At::Few, Run::Alone, Program::Pass),
    (At::Few, Run::Spread, Program::Relay),
    (At::Few, Run::Spread, Program::Reflect),
    (At::Few, Run::Spread, Program::Pass),
    (At::Many, Run::Spread, Program::Relay),
    (At::Many, Run::Spread, Program::Pass),
    (At::Many, Run::Spread, Program::ReadKey),
    (At::Many, Run::Spread, Program::FindInArray),
    (At::Many, Run::Spread, Program::FindInHash),
    (At::Across, Run::Spread, Program::Relay),
    (At::Across, Run::Spread, Program::Pass),
    (At::Few, Run::Alone, Program::ReflectTimed),
    (At::Few, Run::Spread, Program::TouchTwo),
    (At::Many, Run::Spread, Program::TouchTwo),
    (At::Few, Run::Spread, Program::TouchFive),
    (At::Many, Run::Spread, Program::TouchFive),
];

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let namespace = Namespace::new();
    let sites = [1, 2, 3].map(|number| Site::new(&namespace, number));
    // A test run finds its interface in the namespace of the thread that asks for it.
    let (figures, memory) = namespace.run(move || in_beds(sites))?;
    let Memory { room, live } = memory;
    let entering = figures.of(At::Few, Run::Alone, Program::Pass);
    let fresh = |at, program| figures.of(at, Run::Spread, program) - figures.of(at, Run::Spread, Program::Pass);
    let finding = |program| fresh(At::Many, program) - fresh(At::Many, Program::ReadKey);

    let alone = |program| figures.of(At::Few, Run::Alone, program);
    report.add(
        Row::new("relay, against swapping MACs and XDP_TX", alone(Program::Relay), "ns")
            .against(alone(Program::Reflect))
            .goal(Goal::AtMost(2.0)),
    );
    report.add(
        Row::new(
            "relay, 10,000 flows at random against 100",
            entering + fresh(At::Many, Program::Relay),
            "ns",
        )
        .against(entering + fresh(At::Few, Program::Relay))
        .goal(Goal::AtMost(1.3)),
    );
    // What a table entry takes; the other maps do not grow with the calls.
    let entry = (size_of::<Flow>() + size_of::<FlowState>()) as f64;
    report.add(Row::new("map memory a flow", entry, "B").goal(Goal::AtMost(512.0)));

    report.add(Row::new("entering a program", entering, "ns"));
    // What any relay pays that knows the time of a packet and has something to remember of its flow.
    report.add(
        Row::new(
            "floor: swapping MACs and one clock reading",
            alone(Program::ReflectTimed),
            "ns",
        )
        .against(alone(Program::Reflect)),
    );
    for (name, program) in [
        ("floor: two lines of memory, 10,000 against 100", Program::TouchTwo),
        ("floor: five lines of memory, 10,000 against 100", Program::TouchFive),
    ] {
        let row = Row::new(name, entering + fresh(At::Many, program), "ns");
        report.add(row.against(entering + fresh(At::Few, program)));
    }
    report.add(
        Row::new(
            "relay, fresh packets, against swapping MACs",
            entering + fresh(At::Few, Program::Relay),
            "ns",
        )
        .against(entering + fresh(At::Few, Program::Reflect)),
    );
    report.add(
        Row::new(
            "relay to another interface against the same",
            entering + fresh(At::Across, Program::Relay),
            "ns",
        )
        .against(entering + fresh(At::Few, Program::Relay)),
    );
    report.add(
        Row::new(
            "flow found in an array against a hash",
            finding(Program::FindInArray),
            "ns",
        )
        .against(finding(Program::FindInHash)),
    );
    report.add(Row::new("all map memory, by flows there is room for", room, "B"));
    report.add(Row::new("all map memory, by flows in use here", live, "B"));
    Ok(())
}

/// Map memory, bytes a flow.
struct Memory {
    /// By flows there is room for.
    room: f64,
    /// By flows there are: one of the eight addresses a table has room for is in use.
    live: f64,
}

/// Runs all cases.
fn in_beds([few, many, across]: [Site; 3]) -> Result<(Figures, Memory)> {
    let mut beds = [
        Bed::new(few, 100, Callees::Beside)?,
        Bed::new(many, 10_000, Callees::Beside)?,
        Bed::new(across, 100, Callees::Across)?,
    ];
    let figures = in_turns(&CASES, |(at, run, program)| beds[*at as usize].run(*run, *program))?;
    for bed in &beds {
        bed.check()?;
    }
    let (room, live) = beds[At::Many as usize].map_memory()?;
    Ok((Figures(figures), Memory { room, live }))
}

/// Nanoseconds, by the place in [`CASES`].
struct Figures(Vec<f64>);

impl Figures {
    fn of(&self, at: At, run: Run, program: Program) -> f64 {
        let place = CASES.iter().position(|case| *case == (at, run, program));
        place.and_then(|place| self.0.get(place)).copied().unwrap_or(f64::NAN)
    }
}
