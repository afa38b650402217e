//! Relayed calls, end to end: what a packet costs, how long it takes, and how many calls a core holds, of voxlane's kernel lane and
//! of other relays in the same run.
//!
//! [`site`] is where it happens, [`ends`] send and take in, [`peers`] are what is measured, [`search`] finds how many calls
//! each holds. What a relay costs is what all cores have to do while it runs, without what they have to do when the same packets go from
//! end to end past it.

mod ends;
mod peers;
mod search;
mod site;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::kernel::lab::traffic::Intake;
use voxlane_tests::requirements::is_root;

use crate::ends::{Ends, Way, far_ends};
use crate::peers::Peer;
use crate::peers::hand_on::Smallest;
use crate::peers::rtpengine::Rtpengine;
use crate::peers::sockets::{Sockets, allow_sockets};
use crate::peers::voxlane::Voxlane;
use crate::search::{Load, most};
use crate::site::Site;

/// Calls at which relays are compared at an equal load.
const EQUAL: u32 = 500;

/// Most calls that can be offered here.
const LIMIT: u32 = 16_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A relay's figures.
struct Figures {
    /// At the equal load.
    equal: Load,
    /// With as many calls as it holds.
    most: Load,
    /// CPU a packet beyond what the same load costs without a relay, ns.
    equal_cost: f64,
    most_cost: f64,
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    ensure!(is_root(), "relays can be measured as root only: namespaces are made, and programs loaded");
    allow_sockets()?;
    let site = Site::new()?;
    let direct = |calls: u32| -> Result<Load> {
        let ends = Ends::new(&site, Intake::Xdp)?;
        site.keep_to_cores()?;
        let calls: Vec<_> = (0..calls).map(far_ends).collect::<Result<_>>()?;
        let load = Load::offered(&site, &ends, &calls, Way::Direct)?;
        println!("  {}", load.line("direct"));
        Ok(load)
    };
    let measure = |peer: &dyn Peer, from| -> Result<Figures> {
        println!("{}", peer.name());
        let equal = Load::on(peer, &site, EQUAL)?;
        println!("  {}", equal.line(peer.name()));
        let straight = direct(EQUAL)?.used_a_packet();
        let most = most(peer, &site, from, LIMIT)?;
        let flat = direct(most.calls)?.used_a_packet();
        Ok(Figures {
            equal_cost: equal.used_a_packet() - straight,
            most_cost: most.used_a_packet() - flat,
            equal,
            most,
        })
    };
    let without = direct(EQUAL)?;
    let smallest = measure(&Smallest, 4_000)?;
    let ours = measure(&Voxlane, 4_000)?;
    let sockets = measure(&Sockets, 400)?;
    let rtpengine = measure(&Rtpengine, 400)?;

    let measured = Measured {
        without,
        smallest,
        ours,
        sockets,
        rtpengine,
    };
    let report = measured.report();
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        let written = report.write_json(&file);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// All that has been measured.
struct Measured {
    /// The equal load, from end to end.
    without: Load,
    smallest: Figures,
    ours: Figures,
    sockets: Figures,
    rtpengine: Figures,
}

impl Measured {
    fn report(&self) -> Report {
        let Self { ours, rtpengine, sockets, smallest, without } = self;
        let held = |figures: &Figures| f64::from(figures.most.calls);
        let equal = format!("CPU a packet at {EQUAL} calls");
        let most = "CPU a packet with as many calls as each holds";
        let mut report = Report::default();
        for row in [
            Row::new(format!("{most}: rtpengine against voxlane"), rtpengine.most_cost, "ns")
                .against(ours.most_cost)
                .goal(Goal::AtLeast(20.0)),
            Row::new(format!("{most}: sockets against voxlane"), sockets.most_cost, "ns").against(ours.most_cost),
            Row::new(format!("{most}: voxlane against smallest XDP"), ours.most_cost, "ns")
                .against(smallest.most_cost)
                .goal(Goal::AtMost(1.25)),
            Row::new(format!("{equal}: rtpengine against voxlane"), rtpengine.equal_cost, "ns")
                .against(ours.equal_cost)
                .goal(Goal::AtLeast(4.0)),
            Row::new(format!("{equal}: sockets against voxlane"), sockets.equal_cost, "ns").against(ours.equal_cost),
            Row::new("calls held on one core: voxlane against rtpengine", held(ours), "")
                .against(held(rtpengine))
                .goal(Goal::AtLeast(15.0)),
            Row::new("calls held on one core: voxlane", held(ours), "").goal(Goal::AtLeast(10_000.0)),
            Row::new("calls held on one core: smallest XDP", held(smallest), ""),
            Row::new("calls held on one core: sockets", held(sockets), ""),
        ] {
            report.add(row);
        }
        for (percentile, name, goal) in [(50.0, "p50", 20.0), (99.9, "p99.9", 200.0)] {
            let us = |load: &Load| load.time(percentile).as_nanos() as f64 / 1e3;
            let added = us(&ours.equal) - us(without);
            report.add(Row::new(format!("added latency at {EQUAL} calls, {name}"), added, "us").goal(Goal::AtMost(goal)));
        }
        for (name, figures) in [("voxlane", ours), ("sockets", sockets), ("rtpengine", rtpengine)] {
            let used = 100.0 * figures.most.relay_core();
            report.add(Row::new(format!("of the relay's core, in use with all those calls: {name}"), used, "%"));
        }
        report
    }
}
